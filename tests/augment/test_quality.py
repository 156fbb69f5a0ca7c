"""Distances between sets of faces, against independent implementations."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch_fidelity.metric_kid import kernel_mmd

from augment.quality import kernel_distance
from emoaug import EmoaugError


def features(count, shift, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(shift, 1, (count, 16)))


def test_the_kernel_distance_is_that_of_another_implementation():
    one, other = features(50, 0, 0), features(50, 0.3, 1)
    options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    theirs = kernel_mmd(one.numpy(), other.numpy(), kid_kernel_poly_coef0=1.0, **options)
    assert kernel_distance(one, other) == pytest.approx(theirs, abs=1e-9)


def test_the_kernel_distance_of_sets_of_different_size_is_the_sum_written_out():
    one, other = features(12, 0, 2), features(7, 0.5, 3)

    def kernel(a, b):
        return polynomial_kernel(a.numpy(), b.numpy(), degree=3, gamma=1 / 16, coef0=1)

    own = sum(kernel(one, one)[i, j] for i in range(12) for j in range(12) if i != j) / (12 * 11)
    theirs = sum(kernel(other, other)[i, j] for i in range(7) for j in range(7) if i != j) / (7 * 6)
    assert kernel_distance(one, other) == pytest.approx(own + theirs - 2 * kernel(one, other).mean(), abs=1e-9)


def test_two_draws_from_one_distribution_are_near_zero_and_others_are_not():
    same = [kernel_distance(features(200, 0, 2 * i), features(200, 0, 2 * i + 1)) for i in range(20)]
    assert abs(np.mean(same)) < 0.02
    assert kernel_distance(features(200, 0, 50), features(200, 1, 51)) > 1


def test_one_face_has_no_distance():
    with pytest.raises(EmoaugError, match="2 or more on each side"):
        kernel_distance(features(1, 0, 0), features(5, 0, 1))
