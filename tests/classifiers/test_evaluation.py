import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.classification import MulticlassCalibrationError

from classifiers.evaluation import balanced_accuracy, calibration_error, confusion_matrix, evaluate
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
    assert balanced_accuracy(probabilities, labels) == scores.balanced_accuracy


def test_scores_become_strict_json() -> None:
    text = json.dumps(evaluate(np.eye(3)[[0, 1]], np.array([0, 0]), 3).to_dict(), allow_nan=False)
    assert json.loads(text)["recall"] == [0.5, None, None]


def test_rows_of_the_confusion_matrix_are_the_truth() -> None:
    assert confusion_matrix([1, 1, 0], [0, 0, 0], 2).tolist() == [[1, 2], [0, 0]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p, y: evaluate(p, y + 5, 5), "0 to 4"),
        (lambda p, y: evaluate(p, y[:-1], 5), "do not fit"),
        (lambda p, y: evaluate(p[:0], y[:0], 5), "do not fit"),
        (lambda p, y: evaluate(p * np.nan, y, 5), "not finite"),
    ],
)
def test_input_that_does_not_fit_is_a_clear_error(call, message) -> None:
    with pytest.raises(EmoaugError, match=message):
        call(*predictions(20))
