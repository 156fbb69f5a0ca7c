"""Is one classifier better than another? Differences over paired trials, and the chance that they come from nothing.

Two things are left to chance. Which people were tested: whole people are drawn, or exchanged, because faces of one
person are no independent evidence. And how the training fell out: this shows in how much more the trials differ than
their people explain. The two are added: an interval, and a probability, suppose that other people and another training
could have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from classifiers.evaluation import Interval, f1_and_recall
from emoaug import EmoaugError

Floats = NDArray[np.float64]

REPEATS = 2000
"""Draws behind an interval or a probability: a probability of 0.05 is then known to 0.01."""
_CHUNK = 250  # draws at a time: with 30,000 pictures 60 MB of weights
# Streams of random numbers: everything that is compared draws the same people and trainings.
_PEOPLE, _TRAINING, _FEW = 1, 2, 3


@dataclass(frozen=True)
class Tally:
    """What one classifier said of its test faces, counted by person; K classes, P people of this trial."""

    people: NDArray[np.int64]
    """Numbers of the people, (P,), from 0 on, the same in all trials."""
    counts: Floats
    """Faces that were classified right, faces that were given the class, faces that have it: (P, 3, K)."""

    @classmethod
    def of(cls, predicted: ArrayLike, labels: ArrayLike, people: ArrayLike, classes: int) -> Tally:
        """Count predictions (N,) of labels (N,), integers in [0, classes), on faces of people (N,), integers from 0."""
        said, truth, who = (np.asarray(values, dtype=np.int64) for values in (predicted, labels, people))
        if not len(truth) or not said.shape == truth.shape == who.shape:
            shapes = f"predictions {said.shape}, labels {truth.shape} and people {who.shape}"
            raise EmoaugError(f"{shapes}; (N,) each needed, N > 0")
        names, place = np.unique(who, return_inverse=True)
        counts = np.zeros((len(names), 3, classes))
        right = said == truth
        np.add.at(counts[:, 0], (place[right], truth[right]), 1)
        np.add.at(counts[:, 1], (place, said), 1)
        np.add.at(counts[:, 2], (place, truth), 1)
        return cls(names, counts)


def score_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of the M = 3 + 2K scores of `scores`, in order: macro_f1, accuracy, chance, recall and F1 of each class."""
    return ("macro_f1", "accuracy", "chance", *(f"{score}_{name}" for score in ("recall", "f1") for name in classes))


def scores(counts: Floats) -> Floats:
    """Scores (..., M) in per cent from counts (..., 3, K) of faces; those of a class without faces are NaN.

    chance is the accuracy that so many predictions of each class would have if they knew nothing of the faces.
    """
    right, said, truth = counts[..., 0, :], counts[..., 1, :], counts[..., 2, :]
    faces = truth.sum(-1, keepdims=True)
    f1, recall = f1_and_recall(right, said, truth)
    with np.errstate(divide="ignore", invalid="ignore"):
        macro = np.nansum(f1, -1, keepdims=True) / (truth > 0).sum(-1, keepdims=True)
        accuracy, chance = right.sum(-1, keepdims=True) / faces, (said * truth).sum(-1, keepdims=True) / faces**2
    return 100 * np.concatenate([macro, accuracy, chance, recall, f1], -1)


@dataclass(frozen=True)
class Estimate:
    """M scores, or differences of scores, and how they might have come out by chance."""

    trials: Floats
    """One row a trial, (n, M)."""
    value: Floats
    """Their mean, (M,); NaN where no trial knows the score."""
    error: Floats
    """Standard error for other people and another training, (M,); infinite for a single trial."""
    spread: Floats
    """How far the mean may be from the truth, (REPEATS, M)."""
    draws: Floats
    """For differences, what the mean may be if there were none, (REPEATS, M); else as `spread`."""

    def interval(self, score: int, level: float = 0.95) -> Interval:
        """The interval of one score, by its place."""
        return corrected([self], score, level)[0][0]


def estimate(tallies: Sequence[Tally], seed: int = 0) -> Estimate:
    """The scores of one arm over its trials; people are drawn with replacement (bootstrap)."""
    trials = np.stack([scores(tally.counts.sum(0)) for tally in tallies])
    return _estimate(trials, _bootstrap(tallies, None, seed), None, len(_names(tallies)), seed)


def compare(ours: Sequence[Tally], theirs: Sequence[Tally], seed: int = 0) -> Estimate:
    """Differences of two arms over paired trials: trial i of either has the same test faces and the same seed.

    Standard error and interval come from a bootstrap over the people. What would be seen without any difference comes
    from sign-flips: each person's predictions by the two arms are exchanged or not, in all trials at once. Exchanging
    people, not trials, because there are more of them, and because trials that test the same people are no independent
    evidence. The chance in training is added to both from the spread of the trials, as in Student's t, less what the
    bootstrap says that people make of this spread.

    Args:
        ours: tallies of the arm in question.
        theirs: tallies of the arm that it is compared with.
        seed: of the draws; arms that are compared by `corrected` need the same.
    """
    gains = [scores(a.counts.sum(0)) - scores(b.counts.sum(0)) for a, b in zip(ours, theirs, strict=True)]
    # Rounding errors of equal scores must not look like a tiny effect that is certain.
    trials = np.stack(gains).round(9)
    return _estimate(trials, _bootstrap(ours, theirs, seed), _exchange(ours, theirs, seed), len(_names(ours)), seed)


def corrected(estimates: Sequence[Estimate], score: int = 0, level: float = 0.95) -> tuple[list[Interval], list[float]]:
    """Intervals and probabilities that hold for all estimates together, however many there are.

    The largest of all draws, each in units of its standard error, is what the largest estimate is held against
    (Westfall & Young's single-step maximum, "Resampling-Based Multiple Testing", 1993).

    Returns:
        For each estimate the interval of one score, and the probability that chance alone brings any of the estimates
        as far from 0. Without ends, and 1, for a single trial.
    """
    values = np.array([e.value[score] for e in estimates])
    errors = np.array([e.error[score] for e in estimates])
    known = np.isfinite(errors)

    def largest(draws: Sequence[Floats]) -> Floats:
        own = [np.abs(d[:, score]) / error for d, error in zip(draws, errors, strict=True) if np.isfinite(error)]
        return np.sort(np.max(own, axis=0)) if own else np.full(1, np.inf)

    reach = float(np.quantile(largest([e.spread for e in estimates]), level, method="higher"))
    reaches = reach * np.where(known, errors, np.inf)
    intervals = [Interval(float(v), float(v - r), float(v + r), level) for v, r in zip(values, reaches, strict=True)]
    chance = largest([e.draws for e in estimates])
    # Equal draws are as far as each other, whatever the last bit says.
    beyond = len(chance) - np.searchsorted(chance, np.abs(values) / errors * (1 - 1e-9))
    return intervals, np.where(known, (beyond + 1) / (len(chance) + 1), 1.0).tolist()


def _estimate(trials: Floats, drawn: Floats, exchanged: Floats | None, people: int, seed: int) -> Estimate:
    """Add both chances; `drawn` has every trial's scores, (REPEATS, n, M), over drawn people."""
    means = _mean(drawn)
    apart = drawn - means[:, None]
    explained = np.nansum(_over_draws((apart - _over_draws(apart)) ** 2), 0)
    training, variance = _training(trials, explained, seed)
    # As everywhere, people drawn from few vary by (people - 1) / people too little, and by how much is not well known.
    few, freedom = people / max(people - 1, 1), max(people - 1, 1)
    variance = variance + few * _mean((means - _mean(means)) ** 2)
    # Arms that are equal to the last face have no error, by which nothing could be divided.
    error = np.maximum(np.sqrt(variance), 1e-9) if people > 1 else np.full(len(variance), np.inf)
    chance = np.random.default_rng([seed, _FEW]).chisquare(freedom, len(means))[:, None] / freedom
    spread = np.nan_to_num(means - _mean(trials)) * np.sqrt(few / chance)
    draws = spread if exchanged is None else np.nan_to_num(exchanged)
    return Estimate(trials, _mean(trials), error, spread + training, draws + training)


def _over_draws(values: Floats) -> Floats:
    """Mean over the first of three axes of what is known."""
    return _mean(values.reshape(len(values), -1)).reshape(values.shape[1:])


def _mean(values: Floats) -> Floats:
    """Mean over the second but last axis of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(known, values, 0).sum(-2) / known.sum(-2)


def _training(trials: Floats, explained: Floats, seed: int) -> tuple[Floats, Floats]:
    """Draws (REPEATS, M) of the chance in training, distributed as Student's t, and its variance (M,).

    `explained` is what people make of the sum of the trials' squared distances to their mean, (M,).
    """
    known = np.isfinite(trials)
    count = known.sum(0)
    residuals = np.where(known, trials - _mean(trials), 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = (residuals**2).sum(0)
        # The spread of few trials is itself chance: less is taken off it, or too much would be found in simulations.
        left = np.where(total > 0, np.maximum(1 - (count - 1) / (count + 1) * explained / total, 0), 0.0)
        variance = np.where(count > 1, left * total / (count * (count - 1)), np.inf)
        scaled = np.where(count > 1, residuals * np.sqrt(left / (count * (count - 1))), 0.0)
    generator = np.random.default_rng([seed, _TRAINING])
    normal = generator.standard_normal((REPEATS, len(trials)))
    freedom = max(len(trials) - 1, 1)
    return (normal @ scaled) / np.sqrt(generator.chisquare(freedom, REPEATS) / freedom)[:, None], variance


def _names(tallies: Sequence[Tally]) -> NDArray[np.int64]:
    return np.unique(np.concatenate([tally.people for tally in tallies]))


def _bootstrap(ours: Sequence[Tally], theirs: Sequence[Tally] | None, seed: int) -> Floats:
    """Every trial's scores, or differences, (REPEATS, n, M), over people drawn with replacement."""
    generator = np.random.default_rng([seed, _PEOPLE])
    names = _names(ours)
    total = len(names)

    def drawn(weights: Floats, tallies: Sequence[Tally]) -> Floats:
        return np.stack([_weighted(weights[:, np.searchsorted(names, t.people)], t.counts) for t in tallies], 1)

    parts = []
    for start in range(0, REPEATS, _CHUNK):
        size = min(_CHUNK, REPEATS - start)
        picks = generator.integers(total, size=(size, total)) + total * np.arange(size)[:, None]
        weights = np.bincount(picks.ravel(), minlength=size * total).reshape(size, total).astype(np.float64)
        found = scores(drawn(weights, ours))
        parts.append(found if theirs is None else found - scores(drawn(weights, theirs)))
    return np.concatenate(parts)


def _exchange(ours: Sequence[Tally], theirs: Sequence[Tally], seed: int) -> Floats:
    """Mean differences (REPEATS, M) with the predictions of a random half of the people exchanged between the arms."""
    generator, names = np.random.default_rng([seed, _PEOPLE]), _names(ours)
    parts = []
    for start in range(0, REPEATS, _CHUNK):
        size = min(_CHUNK, REPEATS - start)
        kept = generator.integers(2, size=(size, len(names))).astype(np.float64)
        sides = []
        for a, b in zip(ours, theirs, strict=True):
            # What the one keeps, the other gets from it elsewhere: both from the difference of their counts.
            moved = _weighted(kept[:, np.searchsorted(names, a.people)], a.counts - b.counts)
            sides.append(scores(b.counts.sum(0) + moved) - scores(a.counts.sum(0) - moved))
        parts.append(_mean(np.stack(sides, 1)))
    return np.concatenate(parts)


def _weighted(weights: Floats, counts: Floats) -> Floats:
    """Sum counts (P, 3, K) over people with weights (B, P): (B, 3, K)."""
    return (weights @ counts.reshape(len(counts), -1)).reshape(len(weights), *counts.shape[1:])
