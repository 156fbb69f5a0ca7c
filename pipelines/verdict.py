"""Did the synthetic faces help? Paired comparisons of the arms of a gain trial, in plain words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from classifiers.evaluation import Interval, paired_interval
from emoaug import EmoaugError
from pipelines.arms import PICTURE_RECIPES
from pipelines.tables import text_table

Outcome = Literal["helps", "hurts", "cannot tell"]

RECALL = "recall_"
"""Columns of a table of trials that hold the recall of a class begin like this."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another over the trials that they share. All differences are in points: 1 is 0.01 of a score."""

    arm: str
    """The arm in question."""
    against: str
    """The arm that it is compared with."""
    macro_f1: Interval
    """Mean difference in macro F1, points; this one decides."""
    accuracy: Interval
    """Mean difference in accuracy, points."""
    recall: dict[str, Interval | None]
    """Mean difference in the recall of each class, points; None for a class that no shared test fold contains."""
    pairs: tuple[tuple[int, int, float, float], ...]
    """Fold, seed, difference in macro F1 and in accuracy (points) of each pair of trials."""

    @property
    def trials(self) -> int:
        """Number of pairs of trials."""
        return len(self.pairs)

    @property
    def outcome(self) -> Outcome:
        """What the interval of the macro F1 says: it lies above zero, below zero, or contains it."""
        if self.macro_f1.low > 0:
            return "helps"
        return "hurts" if self.macro_f1.high < 0 else "cannot tell"

    @property
    def sentence(self) -> str:
        """The comparison in one sentence."""
        change = f"{self.arm} changes macro F1 by {points(self.macro_f1.estimate)} points"
        if self.trials == 1:
            return f"With 1 paired trial {change} against {self.against}, and one trial has no interval: cannot tell."
        low, high = points(self.macro_f1.low), points(self.macro_f1.high)
        return (
            f"With {self.trials} paired trials {change} ({100 * self.macro_f1.level:g} % interval {low} to {high}) "
            f"against {self.against}: {self.outcome}."
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and texts for JSON."""
        return {
            "arm": self.arm,
            "against": self.against,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "macro_f1_points": self.macro_f1.to_dict(),
            "accuracy_points": self.accuracy.to_dict(),
            "recall_points": {name: None if gain is None else gain.to_dict() for name, gain in self.recall.items()},
            "pairs": [
                {"fold": fold, "seed": seed, "macro_f1_points": f1, "accuracy_points": accuracy}
                for fold, seed, f1, accuracy in self.pairs
            ],
        }


@dataclass(frozen=True)
class Verdict:
    """All comparisons of a gain trial."""

    comparisons: tuple[Comparison, ...]
    """Every synthetic arm against the best arm without synthetic faces, then classical against real."""
    reference: str | None
    """The arm without synthetic faces that has the best mean macro F1; None if there is none."""
    test_to_train: float
    """Test faces per training face, by which the intervals are widened; 0 for a single fold."""
    notes: tuple[str, ...]
    """What a reader of the intervals should know, one sentence each."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found about the synthetic arms, or about classical augmentation where there is no synthetic arm."""
        if not self.comparisons:
            return ("There are no two arms to compare: cannot tell.",)
        synthetic = [c.sentence for c in self.comparisons if c.arm not in PICTURE_RECIPES]
        return tuple(synthetic or [c.sentence for c in self.comparisons])

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and texts for JSON."""
        return {
            "sentences": list(self.sentences),
            "reference": self.reference,
            "test_to_train": self.test_to_train,
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "notes": list(self.notes),
        }


def verdict(trials: pd.DataFrame, level: float = 0.95) -> Verdict:
    """Compare the arms of a gain trial.

    Trials of one fold and one seed are a pair: they share their test faces, their training faces and their first
    weights. Folds share most of their training faces, so that their differences are no independent evidence; with
    more than one fold the intervals are widened by Nadeau & Bengio's correction, with 1 / (folds - 1) test faces per
    training face.

    Args:
        trials: one row a trial, see `pipelines.gain.run_gain`; needs arm, fold, seed, accuracy, macro_f1, and
            recall_CLASS for each class. Scores in [0, 1]; a recall is NaN where the class has no test faces.
        level: confidence of every single interval, in (0, 1).

    Raises:
        EmoaugError: no trials, two trials of one arm, fold and seed, or arms without a common fold and seed.

    Source: Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003; the ratio for folds
    as in Bouckaert & Frank, "Evaluating the Replicability of Significance Tests", PAKDD 2004.
    """
    if trials.empty:
        raise EmoaugError("there are no trials to compare; run the trials first")
    if trials.duplicated(["arm", "fold", "seed"]).any():
        twice = trials.loc[trials.duplicated(["arm", "fold", "seed"]), ["arm", "fold", "seed"]].iloc[0].tolist()
        raise EmoaugError("arm {}, fold {}, seed {} has two trials; each counts once".format(*twice))
    ratio = fold_ratio(trials)
    arms = list(dict.fromkeys(trials["arm"]))
    plain = [arm for arm in ("classical", "real") if arm in arms]
    mean = trials.groupby("arm")["macro_f1"].mean()
    reference = max(plain, key=lambda arm: float(mean[arm])) if plain else None
    duels = [(arm, reference) for arm in arms if arm not in PICTURE_RECIPES and reference is not None]
    if len(plain) == 2:
        duels.append(("classical", "real"))
    comparisons = tuple(_compare(trials, arm, against, ratio, level) for arm, against in duels)
    return Verdict(comparisons, reference, ratio, _notes(trials, comparisons, reference, ratio, level))


def fold_ratio(trials: pd.DataFrame) -> float:
    """Test faces per training face, 1 / (folds - 1); 0 for a single fold, where the trials differ by their seed."""
    folds = trials["fold"].nunique()
    return 1 / (folds - 1) if folds > 1 else 0.0


def _compare(trials: pd.DataFrame, arm: str, against: str, ratio: float, level: float) -> Comparison:
    sides = [trials[trials["arm"] == name].set_index(["fold", "seed"]).sort_index() for name in (arm, against)]
    shared = sides[0].index.intersection(sides[1].index)
    if shared.empty:
        raise EmoaugError(f"{arm} and {against} have no trial of the same fold and seed; run both with the same folds")

    def gains(column: str) -> np.ndarray:
        ours, theirs = (side.loc[shared, column].to_numpy(dtype=np.float64) for side in sides)
        # Rounding errors of equal scores must not look like a tiny effect that is certain.
        return np.round(100 * (ours - theirs), 9)

    def interval(values: np.ndarray) -> Interval:
        # Student's interval is the one that can be corrected for shared training faces; the bootstrap is not used.
        found = paired_interval(values, level, repeats=1, test_to_train=ratio).student
        if len(values) == 1:
            return found
        # No difference of two scores is larger than 100 points, whatever Student's t thinks possible.
        return replace(found, low=max(found.low, -100.0), high=min(found.high, 100.0))

    recall: dict[str, Interval | None] = {}
    for name in trials.columns[trials.columns.str.startswith(RECALL)]:
        known = gains(name)[~np.isnan(gains(name))]
        recall[name.removeprefix(RECALL)] = interval(known) if len(known) else None
    macro_f1, accuracy = gains("macro_f1"), gains("accuracy")
    return Comparison(
        arm=arm,
        against=against,
        macro_f1=interval(macro_f1),
        accuracy=interval(accuracy),
        recall=recall,
        pairs=tuple(
            (int(fold), int(seed), float(f1), float(gain))
            for (fold, seed), f1, gain in zip(shared, macro_f1, accuracy, strict=True)
        ),
    )


def _notes(
    trials: pd.DataFrame, comparisons: tuple[Comparison, ...], reference: str | None, ratio: float, level: float
) -> tuple[str, ...]:
    notes = []
    if ratio:
        notes.append(
            "The folds share most of their training faces, so the intervals are widened by Nadeau and Bengio's "
            f"correction, with {ratio:.2f} test faces per training face."
        )
    else:
        notes.append(
            "All trials test on the same faces: the intervals cover the chance in training, "
            "not the choice of the people who are tested."
        )
    synthetic = sum(comparison.arm not in PICTURE_RECIPES for comparison in comparisons)
    if synthetic > 1:
        notes.append(
            f"{synthetic} systems are compared, each with its own {100 * level:g} % interval: "
            "the chance that one of them is called wrongly grows with their number."
        )
    if synthetic and reference == "real" and (trials["arm"] == "classical").any():
        notes.append("Classical augmentation did worse than none here, so the systems are compared with none (real).")
    elif synthetic and reference == "real":
        notes.append("There is no classical arm, so a gain may come from the classical part of the systems' recipe.")
    for comparison in comparisons:
        for name in (comparison.arm, comparison.against):
            alone = int((trials["arm"] == name).sum()) - comparison.trials
            if alone:
                notes.append(
                    f"{comparison.arm} against {comparison.against}: {alone} trials of {name} have no partner."
                )
    return tuple(notes)


def points(value: float) -> str:
    """Write a difference in points with its sign: +1.2, -0.03, 0.0, unlimited where it is infinite."""
    if np.isinf(value):
        return "unlimited"
    if abs(value) < 0.005:
        return "0.0"
    # Two digits where one would hide on which side of zero the number lies.
    return f"{value:+.2f}" if abs(value) < 0.1 else f"{value:+.1f}"


def arm_table(trials: pd.DataFrame) -> str:
    """The arms as a table for the terminal: mean and standard deviation of the scores (per cent) over the trials."""
    rows = [
        {
            "arm": row["arm"],
            "trials": f"{row['trials']}",
            "accuracy": spread(row["accuracy"], row["accuracy_sd"]),
            "macro F1": spread(row["macro_f1"], row["macro_f1_sd"]),
            "training faces": f"{row['train_faces']:,.0f}",
            "synthetic faces": f"{row['synthetic_faces']:,.0f}",
            "seconds": f"{row['seconds']:,.0f}",
        }
        for row in arm_rows(trials)
    ]
    return text_table(rows)


def arm_rows(trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise each arm, in the order in which the arms occur.

    Returns:
        One dict an arm: arm, trials, means of accuracy, macro_f1, train_faces and synthetic_faces, accuracy_sd and
        macro_f1_sd (NaN for one trial), seconds (mean of a trial, with its system) and minutes (of all).
    """
    rows = []
    for arm, own in trials.groupby("arm", sort=False):
        spent = own["seconds"] + own["system_seconds"]
        means = {name: float(own[name].mean()) for name in ("accuracy", "macro_f1", "train_faces", "synthetic_faces")}
        deviations = {f"{name}_sd": float(own[name].std(ddof=1)) for name in ("accuracy", "macro_f1")}
        totals = {"seconds": float(spent.mean()), "minutes": float(spent.sum()) / 60}
        rows.append({"arm": str(arm), "trials": len(own)} | means | deviations | totals)
    return rows


def spread(mean: float, deviation: float) -> str:
    """Write a mean score and its standard deviation, both in [0, 1], in per cent: "61.2 ± 3.1"."""
    return f"{100 * mean:.1f}" + ("" if np.isnan(deviation) else f" ± {100 * deviation:.1f}")
