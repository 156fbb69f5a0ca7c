"""How good a classifier is, and how sure we are of it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

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


@dataclass(frozen=True)
class PairedInterval:
    """Mean difference over paired trials, with two intervals."""

    student: Interval
    """Student's t; supposes that the differences are about normal."""
    bootstrap: Interval
    """Percentiles of resampled means; supposes nothing of the kind, but is too narrow below about 10 trials."""
    trials: int
    """Number of pairs."""

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers for JSON."""
        return {"student": self.student.to_dict(), "bootstrap": self.bootstrap.to_dict(), "trials": self.trials}


def confusion_matrix(predicted: ArrayLike, labels: ArrayLike, classes: int) -> Integers:
    """Faces by true class (rows) and predicted class (columns), (classes, classes); inputs (N,) integers."""
    flat = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
    return np.bincount(flat, minlength=classes * classes).reshape(classes, classes)


def accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Share of faces whose most probable class is the right one; probabilities (N, K), labels (N,)."""
    return float(np.mean(np.argmax(probabilities, axis=1) == np.asarray(labels)))


def macro_f1(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean F1 of the classes that occur in the truth; probabilities (N, K), labels (N,).

    A class that no face has in truth is left out of the mean: it has no recall, and counting it as 0 would punish a
    small test set. Faces wrongly given to it still cost their own class.
    """
    probabilities = np.asarray(probabilities)
    return _macro_f1(confusion_matrix(np.argmax(probabilities, axis=1), labels, probabilities.shape[1]))


def balanced_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean recall of the classes that occur in the truth; probabilities (N, K), labels (N,)."""
    probabilities = np.asarray(probabilities)
    matrix = confusion_matrix(np.argmax(probabilities, axis=1), labels, probabilities.shape[1])
    return float(np.nanmean(_recall(matrix)))


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


Statistic = Callable[[Floats, Integers], float]

STATISTICS: Mapping[str, Statistic] = MappingProxyType(
    {
        "accuracy": accuracy,
        "macro_f1": macro_f1,
        "balanced_accuracy": balanced_accuracy,
        "calibration_error": calibration_error,
    }
)
"""Numbers that `bootstrap_interval` knows by name, functions of probabilities (N, K) and labels (N,)."""


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
    recall = _recall(matrix)
    return Scores(
        count=len(truth),
        accuracy=accuracy(given, truth),
        macro_f1=_macro_f1(matrix),
        balanced_accuracy=float(np.nanmean(recall)),
        recall=tuple(recall.tolist()),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        calibration_error=calibration_error(given, truth),
    )


def bootstrap_interval(
    statistic: str | Statistic,
    probabilities: ArrayLike,
    labels: ArrayLike,
    groups: Sequence[Any] | NDArray[Any] | None = None,
    repeats: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """Percentile interval of a score by resampling the test faces.

    Args:
        statistic: a name in `STATISTICS`, or a function of probabilities (N, K) and labels (N,).
        probabilities: (N, K).
        labels: (N,).
        groups: the subject of each face, (N,). Then whole subjects are drawn, because faces of one person are no
            independent evidence. None draws single faces.
        repeats: number of resamples.
        seed: of the draws.
        level: confidence, in (0, 1).

    Raises:
        EmoaugError: for an unknown name or input that does not fit.
    """
    if isinstance(statistic, str):
        if statistic not in STATISTICS:
            raise EmoaugError(f"unknown statistic '{statistic}'. Known: {', '.join(STATISTICS)}")
        statistic = STATISTICS[statistic]
    given, truth = _check(probabilities, labels, np.shape(probabilities)[-1])
    _check_level(level, repeats)
    estimate = float(statistic(given, truth))
    members = _members(groups, len(truth))
    if len(members) < 2:
        return Interval(estimate, -math.inf, math.inf, level)
    generator = np.random.default_rng(seed)
    values = np.empty(repeats)
    for repeat in range(repeats):
        drawn = generator.integers(len(members), size=len(members))
        faces = drawn if groups is None else np.concatenate([members[group] for group in drawn])
        values[repeat] = statistic(given[faces], truth[faces])
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate, float(low), float(high), level)


def paired_interval(
    differences: ArrayLike,
    level: float = 0.95,
    repeats: int = 10_000,
    seed: int = 0,
    test_to_train: float = 0.0,
) -> PairedInterval:
    """Intervals of a mean difference between two arms that share their trials (same seed, same fold).

    Args:
        differences: score of one arm minus score of the other, one a trial, (trials,). One trial gives intervals
            without ends.
        level: confidence, in (0, 1).
        repeats: resamples of the bootstrap.
        seed: of the bootstrap.
        test_to_train: test faces per training face. Trials on folds of the same faces share most of their training
            set, so their differences are no independent evidence and the plain t-interval is too narrow; a positive
            value widens it by Nadeau & Bengio's correction. 0 for trials on independent data.

    Raises:
        EmoaugError: when there is no trial, or a difference is not a finite number.

    Source: Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, eq. for the
    corrected resampled t-test: variance times (1 / trials + test / train).
    """
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not np.isfinite(values).all():
        raise EmoaugError(f"differences of shape {values.shape}: at least one trial, all finite numbers, needed")
    _check_level(level, repeats)
    count, mean = len(values), float(values.mean())
    if count == 1:
        unknown = Interval(mean, -math.inf, math.inf, level)
        return PairedInterval(unknown, unknown, count)
    error = float(values.std(ddof=1)) * math.sqrt(1 / count + test_to_train)
    reach = float(stats.t.ppf((1 + level) / 2, count - 1)) * error
    drawn = np.random.default_rng(seed).integers(count, size=(repeats, count))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return PairedInterval(
        Interval(mean, mean - reach, mean + reach, level), Interval(mean, float(low), float(high), level), count
    )


def _recall(matrix: Integers) -> Floats:
    """(K,), NaN where a class has no faces."""
    truth = matrix.sum(axis=1)
    return np.divide(np.diag(matrix), truth, out=np.full(len(matrix), np.nan), where=truth > 0)


def _macro_f1(matrix: Integers) -> float:
    truth, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    present = truth > 0
    return float(np.mean(2 * np.diag(matrix)[present] / (truth + predicted)[present]))


def _members(groups: Sequence[Any] | NDArray[Any] | None, count: int) -> list[Integers]:
    """Indices of the faces of each group; every face on its own without groups."""
    if groups is None:
        return list(np.arange(count)[:, None])
    if len(groups) != count:
        raise EmoaugError(f"{len(groups)} groups for {count} faces; one group a face needed")
    # Through str: subjects may be numbers, names or a mixture, which numpy cannot sort.
    _, place = np.unique([str(group) for group in groups], return_inverse=True)
    return np.split(np.argsort(place, kind="stable"), np.cumsum(np.bincount(place))[:-1])


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


def _check_level(level: float, repeats: int) -> None:
    if not 0 < level < 1:
        raise EmoaugError(f"level is {level}; a confidence lies between 0 and 1, for example 0.95")
    if repeats < 1:
        raise EmoaugError(f"{repeats} repeats; at least 1 needed, 2000 are usual")
