"""The benchmark of alignment: its plain loop draws what the fast one draws."""

import math

import numpy as np
import pytest

from augment.faces import align_picture
from benchmarks.alignment import plain_align


@pytest.mark.parametrize("scale", [0.3, 0.8, 1.7])
def test_one_pixel_after_another_gives_the_same_picture(scale):
    picture = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    turned = [[scale * math.cos(0.3), -scale * math.sin(0.3)], [scale * math.sin(0.3), scale * math.cos(0.3)]]
    matrix = np.concatenate([turned, np.array([[12.0], [-3.0]])], 1)
    plain = plain_align(picture, matrix, 24)
    seen = np.isfinite(plain)
    assert seen.mean() > 0.2
    assert np.abs(plain - align_picture(picture, matrix, 24))[seen].mean() < 0.6
