"""Scores of single pictures, on pictures whose faults are known."""

import cv2
import numpy as np
import pytest

from augment.scoring.picture import colour_noise, describe, evenness, sharpness
from benchmarks import faults
from tests.augment.drawn_face import draw_face

GENERATOR = np.random.default_rng(0)
FACE = cv2.addWeighted(draw_face(64), 0.6, GENERATOR.integers(0, 256, (64, 64, 3), np.uint8) // 2 + 64, 0.4, 0)


def test_sharpness_falls_with_every_blur_and_does_not_see_contrast():
    blurs = [sharpness(cv2.GaussianBlur(FACE, (0, 0), deviation)) for deviation in (0.5, 1, 1.5, 2)]
    assert [sharpness(FACE), *blurs] == sorted([sharpness(FACE), *blurs], reverse=True)
    assert sharpness(FACE // 2) == pytest.approx(sharpness(FACE), abs=0.01)


def test_colour_noise_is_the_deviation_of_noise_in_the_colour_alone():
    grey = np.repeat(cv2.cvtColor(FACE, cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    assert colour_noise(grey) == 0
    # Blue alone, of 8 grey levels: Cb takes 0.564 * (1 - 0.114) of it, Cr -0.713 * 0.114.
    noisy = np.full((128, 128, 3), 128.0)
    noisy[..., 2] += GENERATOR.normal(0, 8, (128, 128))
    expected = 8 * (0.564 * 0.886 + 0.713 * 0.114) / 2
    assert colour_noise(np.rint(noisy).astype(np.uint8)) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("seed", range(12))
def test_half_a_face_has_no_structure_in_the_other_half(seed):
    assert evenness(FACE) > 0.4
    assert evenness(faults.half_a_face(FACE, np.random.default_rng(seed))) < 0.05


def test_a_flat_picture_has_scores_too():
    flat = np.full((64, 64, 3), 90, np.uint8)
    assert np.isfinite([sharpness(flat), colour_noise(flat), evenness(flat)]).all()


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_a_description_has_one_length_and_hardly_depends_on_the_size(size):
    smooth = cv2.GaussianBlur(draw_face(128), (0, 0), 3)
    described = describe(cv2.resize(smooth, (size, size), interpolation=cv2.INTER_AREA))
    assert described.shape == (1956,)
    assert described.dtype == np.float32
    assert np.corrcoef(described, describe(smooth))[0, 1] > 0.9
