"""Distances between sets of faces, against independent implementations."""

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch_fidelity.metric_kid import kernel_mmd
from torch_fidelity.metric_prc import prc_features_to_metric

from augment import quality
from augment.quality import FIGURES, compare_sets, kernel_distance, neighbourhoods
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


def test_precision_and_recall_are_those_of_another_implementation():
    made, real = features(60, 0.2, 4), features(45, 0, 5)
    theirs = prc_features_to_metric(
        made, real, prc_neighborhood=3, prc_batch_size=100, save_cpu_ram=False, verbose=False
    )
    ours = neighbourhoods(made, real)
    assert 0 < theirs["recall"] < 1
    assert float(ours.precision.mean()) == pytest.approx(theirs["precision"], abs=1e-4)
    assert float(ours.recall.mean()) == pytest.approx(theirs["recall"], abs=1e-4)


def test_density_and_coverage_are_their_definitions_written_out():
    made, real, k = features(31, 0.3, 6).numpy(), features(24, 0, 7).numpy(), 5

    def apart(a, b):
        return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5

    reach = [sorted(apart(a, b) for j, b in enumerate(real) if j != i)[k - 1] for i, a in enumerate(real)]
    inside = [[apart(m, r) <= reach[j] for j, r in enumerate(real)] for m in made]
    density = sum(map(sum, inside)) / (k * len(made))
    coverage = sum(any(row[j] for row in inside) for j in range(len(real))) / len(real)
    ours = neighbourhoods(torch.from_numpy(made), torch.from_numpy(real))
    assert 0 < coverage < 1
    assert float(ours.density.mean()) == pytest.approx(density, abs=1e-4)
    assert float(ours.coverage.mean()) == pytest.approx(coverage, abs=1e-4)


def test_the_figures_come_first_and_their_draws_scatter_about_them():
    made, real = features(80, 0.2, 8), features(90, 0, 9)
    figures = compare_sets(made, real, repeats=100)
    assert tuple(figures) == FIGURES
    assert figures["kernel_distance"][0] == pytest.approx(kernel_distance(made, real), abs=1e-12)
    for name in ("precision", "recall", "density", "coverage"):
        draws = figures[name][1:]
        assert draws.std() > 0
        assert abs(draws.mean() - figures[name][0]) < 4 * draws.std() / 10 + 1e-9


def test_a_weight_counts_like_so_many_more_faces_but_never_against_themselves():
    one, other = features(9, 0, 10), features(8, 0.5, 11)
    kernels = quality._Kernels(one, other)
    weights = torch.tensor([1.0, 1, 0, 1, 1, 0, 1, 1, 1])
    left = one[weights > 0]
    assert kernels.distance(weights, torch.ones(8)) == pytest.approx(kernel_distance(left, other), abs=1e-9)


def test_faces_of_few_people_are_less_certain_than_as_many_of_many():
    real = features(80, 0, 13)
    people = torch.arange(4).repeat_interleave(20)
    made = features(4, 0.2, 12)[people] + 0.01 * features(80, 0, 14)
    as_people = compare_sets(made, real, people.tolist())["density"][1:].std()
    as_faces = compare_sets(made, real)["density"][1:].std()
    assert as_people > 2 * as_faces


def test_too_few_faces_have_no_neighbourhoods():
    with pytest.raises(EmoaugError, match="more than 5"):
        neighbourhoods(features(5, 0, 0), features(20, 0, 1))
