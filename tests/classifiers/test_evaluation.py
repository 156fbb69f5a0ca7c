import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics
from torchmetrics.classification import MulticlassCalibrationError

from classifiers.evaluation import (
    STATISTICS,
    balanced_accuracy,
    bootstrap_interval,
    calibration_error,
    confusion_matrix,
    evaluate,
    macro_f1,
    paired_interval,
)
from emoaug import EmoaugError


def predictions(count: int = 400, classes: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(classes, size=count)
    logits = generator.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.0
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


@given(seed=st.integers(0, 10_000), count=st.integers(1, 60), classes=st.integers(2, 8))
def test_scores_agree_with_scikit_learn(seed: int, count: int, classes: int) -> None:
    probabilities, labels = predictions(count, classes, seed)
    predicted, present = probabilities.argmax(axis=1), np.unique(labels)
    scores = evaluate(probabilities, labels, classes)
    assert scores.accuracy == pytest.approx(metrics.accuracy_score(labels, predicted))
    assert scores.macro_f1 == pytest.approx(
        metrics.f1_score(labels, predicted, labels=present, average="macro", zero_division=0)
    )
    assert scores.balanced_accuracy == pytest.approx(
        metrics.recall_score(labels, predicted, labels=present, average="macro", zero_division=0)
    )
    np.testing.assert_array_equal(
        scores.confusion, metrics.confusion_matrix(labels, predicted, labels=np.arange(classes))
    )
    recall = metrics.recall_score(labels, predicted, labels=np.arange(classes), average=None, zero_division=np.nan)
    np.testing.assert_allclose(scores.recall, recall)


@given(seed=st.integers(0, 10_000), count=st.integers(1, 300))
def test_calibration_error_agrees_with_torchmetrics(seed: int, count: int) -> None:
    probabilities, labels = predictions(count, 4, seed)
    oracle = MulticlassCalibrationError(4, n_bins=15, norm="l1")
    expected = float(oracle(torch.from_numpy(probabilities), torch.from_numpy(labels)))
    assert calibration_error(probabilities, labels) == pytest.approx(expected, abs=1e-5)


def test_confident_and_always_right_is_perfectly_calibrated() -> None:
    labels = np.array([0, 1, 2, 1])
    scores = evaluate(np.eye(3)[labels], labels, 3)
    assert scores.calibration_error == 0
    assert scores.accuracy == scores.macro_f1 == 1


def test_confident_and_always_wrong_has_the_largest_calibration_error() -> None:
    labels = np.array([0, 1, 0])
    assert calibration_error(np.eye(2)[1 - labels], labels) == 1


def test_a_class_without_faces_is_left_out_of_the_means() -> None:
    probabilities = np.eye(3)[[0, 0, 1, 2]]
    labels = np.array([0, 0, 1, 1])
    scores = evaluate(probabilities, labels, 3)
    assert scores.balanced_accuracy == pytest.approx(0.75)
    assert scores.macro_f1 == pytest.approx((1 + 2 / 3) / 2)
    assert math.isnan(scores.recall[2])
    assert macro_f1(probabilities, labels) == scores.macro_f1
    assert balanced_accuracy(probabilities, labels) == scores.balanced_accuracy


def test_scores_become_strict_json() -> None:
    text = json.dumps(evaluate(np.eye(3)[[0, 1]], np.array([0, 0]), 3).to_dict(), allow_nan=False)
    assert json.loads(text)["recall"] == [0.5, None, None]


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    assert confusion_matrix([1, 1, 0], [0, 0, 0], 2).tolist() == [[1, 2], [0, 0]]


def test_picture_bootstrap_of_accuracy_is_close_to_the_binomial_interval() -> None:
    probabilities, labels = predictions(1000)
    interval = bootstrap_interval("accuracy", probabilities, labels, repeats=4000)
    error = math.sqrt(interval.estimate * (1 - interval.estimate) / 1000)
    assert interval.low == pytest.approx(interval.estimate - 1.96 * error, abs=0.004)
    assert interval.high == pytest.approx(interval.estimate + 1.96 * error, abs=0.004)


def test_drawing_subjects_widens_the_interval_when_a_subjects_faces_agree() -> None:
    probabilities, labels = predictions(50)
    probabilities, labels = np.repeat(probabilities, 20, axis=0), np.repeat(labels, 20)
    subjects = np.repeat(np.arange(50), 20)
    faces = bootstrap_interval("accuracy", probabilities, labels)
    people = bootstrap_interval("accuracy", probabilities, labels, groups=subjects)
    assert people.high - people.low == pytest.approx(math.sqrt(20) * (faces.high - faces.low), rel=0.15)


def test_subjects_that_are_single_faces_give_the_picture_interval() -> None:
    probabilities, labels = predictions(80)
    plain = bootstrap_interval("macro_f1", probabilities, labels, repeats=200)
    # Zero-padded, so that the order of the names is the order of the faces.
    named = bootstrap_interval("macro_f1", probabilities, labels, [f"{i:03}" for i in range(80)], repeats=200)
    assert plain == named


def test_subjects_keep_all_their_faces_in_every_resample() -> None:
    probabilities, labels = predictions(30)
    subjects = np.array([7, "anna", "b"] * 10, dtype=object)
    counts = []

    def count_faces(_: np.ndarray, drawn: np.ndarray) -> float:
        counts.append(len(drawn))
        return 0.0

    bootstrap_interval(count_faces, probabilities, labels, groups=subjects, repeats=20)
    assert counts == [30] * 21


def test_the_same_seed_gives_the_same_interval() -> None:
    probabilities, labels = predictions(60)
    intervals = [bootstrap_interval("accuracy", probabilities, labels, repeats=300, seed=seed) for seed in (1, 1, 2)]
    assert intervals[0] == intervals[1] != intervals[2]


def test_one_subject_gives_an_interval_without_ends() -> None:
    probabilities, labels = predictions(10)
    interval = bootstrap_interval("accuracy", probabilities, labels, groups=["anna"] * 10)
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert interval.to_dict()["low"] is None


def test_every_named_statistic_can_be_resampled() -> None:
    probabilities, labels = predictions(40)
    for name in STATISTICS:
        interval = bootstrap_interval(name, probabilities, labels, repeats=100)
        assert interval.low <= interval.high


def test_t_interval_agrees_with_scipy() -> None:
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    expected = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    student = paired_interval(differences).student
    assert (student.low, student.high) == pytest.approx((expected.low, expected.high))


def test_t_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(1000):
        student = paired_interval(generator.normal(0.03, 0.02, size=6), level=0.9, repeats=1).student
        hits += student.low <= 0.03 <= student.high
    assert hits / 1000 == pytest.approx(0.9, abs=0.03)


def test_bootstrap_of_differences_has_the_spread_of_their_mean() -> None:
    differences = np.random.default_rng(1).normal(0.02, 0.05, size=200)
    interval = paired_interval(differences, repeats=20_000).bootstrap
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * differences.std() / math.sqrt(200), rel=0.05)


def test_overlapping_training_sets_widen_the_t_interval_by_nadeau_and_bengio() -> None:
    differences = np.array([0.02, 0.05, -0.01, 0.03, 0.04])
    plain, corrected = (paired_interval(differences, test_to_train=ratio).student for ratio in (0.0, 0.25))
    widening = (corrected.high - corrected.low) / (plain.high - plain.low)
    assert widening == pytest.approx(math.sqrt((1 / 5 + 0.25) / (1 / 5)))


def test_one_trial_gives_no_ends() -> None:
    interval = paired_interval([0.1])
    assert interval.student.estimate == 0.1
    assert json.loads(json.dumps(interval.to_dict(), allow_nan=False))["student"]["high"] is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, y: evaluate(p, y + 5, 5), "0 to 4"),
        (lambda p, y: evaluate(p, y[:-1], 5), "do not fit"),
        (lambda p, y: evaluate(p[:0], y[:0], 5), "do not fit"),
        (lambda p, y: evaluate(p * np.nan, y, 5), "not finite"),
        (lambda p, y: bootstrap_interval("f1", p, y), "macro_f1"),
        (lambda p, y: bootstrap_interval("accuracy", p, y, groups=[1, 2]), "2 groups"),
        (lambda p, y: bootstrap_interval("accuracy", p, y, level=95), "0.95"),
        (lambda p, y: paired_interval([]), "at least one trial"),
        (lambda p, y: paired_interval([0.1, math.nan]), "finite"),
    ],
)
def test_input_that_does_not_fit_is_a_clear_error(call, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        call(*predictions(20))
