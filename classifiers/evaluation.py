"""How good a classifier is on one set of faces."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emoaug import EmoaugError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Scores:
    """What one classifier reached on one set of faces. All shares are in [0, 1]."""

    count: int
    """Faces."""
    accuracy: float
    """Share of faces whose most probable class is the right one."""
    macro_f1: float
    """Mean F1 of the classes that occur in the truth."""
    balanced_accuracy: float
    """Mean recall of the classes that occur in the truth."""
    recall: tuple[float, ...]
    """Share of each class's faces that are found; NaN for a class without faces."""
    confusion: tuple[tuple[int, ...], ...]
    """Faces by true class (rows) and predicted class (columns)."""
    calibration_error: float
    """Expected calibration error with 15 bins: how far the confidence is from the accuracy, on average."""

    def to_dict(self) -> dict[str, Any]:
        """As plain lists and numbers for JSON; NaN becomes None."""
        return {
            "count": self.count,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "balanced_accuracy": self.balanced_accuracy,
            "recall": [None if math.isnan(value) else value for value in self.recall],
            "confusion": [list(row) for row in self.confusion],
            "calibration_error": self.calibration_error,
        }


@dataclass(frozen=True)
class Interval:
    """A number and the range that holds the true one with the given confidence."""

    estimate: float
    """The number itself."""
    low: float
    """Lower end; minus infinity where there is too little to go on."""
    high: float
    """Upper end; infinity where there is too little to go on."""
    level: float
    """Confidence, in (0, 1)."""

    def to_dict(self) -> dict[str, float | None]:
        """As numbers for JSON; an infinite end becomes None."""
        ends = {"low": self.low, "high": self.high}
        return {
            "estimate": self.estimate,
            **{name: value if math.isfinite(value) else None for name, value in ends.items()},
            "level": self.level,
        }


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, classes: int) -> Integers:
    """Faces by true class (rows) and predicted class (columns), (classes, classes); inputs (N,) integers."""
    flat = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Share of faces whose most probable class is the right one; probabilities (N, K), labels (N,)."""
    return float(np.mean(np.argmax(probabilities, axis=1) == np.asarray(labels)))


def balanced_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean recall of the classes that occur in the truth; probabilities (N, K), labels (N,)."""
    probabilities = np.asarray(probabilities)
    matrix = confusion_matrix(np.argmax(probabilities, axis=1), labels, probabilities.shape[1])
    return float(np.nanmean(f1_and_recall(np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))[1]))


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> float:
    """Expected calibration error: mean over the faces of |accuracy - confidence| of their bin.

    Args:
        probabilities: (N, K), rows sum to 1.
        labels: (N,).
        bins: equal parts of [0, 1] by which the faces are grouped by the confidence in their most probable class.

    Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, eq. 3.
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    confidence = probabilities.max(axis=1)
    right = np.argmax(probabilities, axis=1) == np.asarray(labels)
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, right, bins) - np.bincount(place, confidence, bins)
    return float(np.abs(gap).sum() / len(confidence))


def evaluate(probabilities: ArrayLike, labels: ArrayLike, classes: int) -> Scores:
    """All scores of one set of predictions.

    Args:
        probabilities: (N, classes), rows sum to 1, of at least one face.
        labels: true classes, integers in [0, classes), (N,).
        classes: number of expressions.

    Raises:
        EmoaugError: when shapes or values do not fit.
    """
    given, truth = _check(probabilities, labels, classes)
    matrix = confusion_matrix(np.argmax(given, axis=1), truth, classes)
    f1, recall = f1_and_recall(np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1))
    return Scores(
        count=len(truth),
        accuracy=accuracy(given, truth),
        macro_f1=float(np.nanmean(f1)),
        balanced_accuracy=float(np.nanmean(recall)),
        recall=tuple(recall.tolist()),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        calibration_error=calibration_error(given, truth),
    )


def f1_and_recall(right: NDArray[Any], said: NDArray[Any], truth: NDArray[Any]) -> tuple[Floats, Floats]:
    """F1 and recall of every class, NaN where no face has it in truth, (..., K) each.

    A mean over classes leaves those out: they have no recall, and 0 would punish a small test set. Faces wrongly given
    to them still cost their own class.

    Args:
        right, said, truth: faces that were classified right, that were given the class, that have it; (..., K) each.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(truth > 0, 2 * right / (truth + said), np.nan), np.where(truth > 0, right / truth, np.nan)


def _check(probabilities: ArrayLike, labels: ArrayLike, classes: int) -> tuple[Floats, Integers]:
    given, truth = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if given.ndim != 2 or given.shape[1] != classes or truth.shape != (len(given),) or len(truth) == 0:
        raise EmoaugError(
            f"probabilities {given.shape} and labels {truth.shape} do not fit: (N, {classes}) and (N,), N > 0"
        )
    if not np.isfinite(given).all():
        raise EmoaugError("the probabilities hold numbers that are not finite; look at the classifier's training")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= classes:
        raise EmoaugError(f"labels must be integers from 0 to {classes - 1}; found {truth.dtype} up to {truth.max()}")
    return given, truth.astype(np.int64)
