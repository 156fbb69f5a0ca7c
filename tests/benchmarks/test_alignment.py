"""The benchmark of alignment: its plain loop draws what the fast one draws."""

import math

import numpy as np
import pytest

from augment.faces import align_picture
from benchmarks.alignment import plain_align


@pytest.mark.parametrize("scale", [0.3, 0.8, 1.7])
def test_one_pixel_after_another_gives_the_same_picture(scale):
    ramp = np.add.outer(np.arange(80), 2 * np.arange(90))[..., None] + np.array([0, 10, 20])
    picture = (ramp % 256).astype(np.uint8)
    picture[20:40, 30:50] = 250
    turned = [[scale * math.cos(0.3), -scale * math.sin(0.3)], [scale * math.sin(0.3), scale * math.cos(0.3)]]
    matrix = np.concatenate([turned, np.array([[12.0], [-3.0]])], 1)
    plain = plain_align(picture, matrix, 24)
    seen = np.isfinite(plain)
    assert seen.mean() > 0.2
    assert np.abs(plain - align_picture(picture, matrix, 24))[seen].mean() < 1
