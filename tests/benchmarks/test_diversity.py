"""Whether the figures on new faces see copies, and faces that are all alike."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks.diversity import copies, drawn, spread
from tests.augment.systems.test_registry import build, smallest


def pictures(count: int, seed: int) -> list[np.ndarray]:
    noise = np.random.default_rng(seed).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)
    return [cv2.GaussianBlur(picture, (0, 0), 2) for picture in noise]


def test_copies_are_nearer_than_one_and_strangers_farther():
    training = pictures(20, 0)
    assert copies(training, training) == pytest.approx(0, abs=1e-3)
    mirrored = [np.ascontiguousarray(picture[:, ::-1]) for picture in training]
    assert (copies(mirrored, training) < 1).all()
    assert (copies(pictures(5, 1), training) > 3).all()


def test_spread_is_the_mean_distance_of_two():
    assert spread(torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 0.0]])) == pytest.approx(10 / 3)
    assert spread(torch.zeros(4, 2)) == 0
    assert np.isnan(spread(torch.zeros(1, 2)))


def test_as_many_faces_are_drawn_as_asked_for_and_the_same_again():
    translator = build("cvae-gan", names=("happy", "sad"), settings=smallest("cvae-gan")).eval()
    faces = drawn(translator, "sad", 60, 3)
    assert faces.shape[0] == 60
    assert torch.equal(faces, drawn(translator, "sad", 60, 3))
    assert not torch.equal(faces[0], faces[50])
