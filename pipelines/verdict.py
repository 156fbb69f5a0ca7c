"""Did the synthetic faces help? Paired comparisons of the arms of a gain trial, in plain words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from classifiers.comparison import Estimate, Tally, compare, corrected, estimate, score_names
from classifiers.evaluation import Interval
from emoaug import EmoaugError
from pipelines.arms import Kind, get_arm
from pipelines.outcomes import Key, keys_of
from pipelines.tables import text_table

Outcome = Literal["helps", "hurts", "cannot tell"]

_F1, _ACCURACY, _CHANCE = (score_names(()).index(name) for name in ("macro_f1", "accuracy", "chance"))


@dataclass(frozen=True)
class ArmScore:
    """One arm with one number of labels. Scores in per cent."""

    labels: str
    """Labelled training faces of each class, or all."""
    arm: str
    kind: Kind
    trials: tuple[tuple[int, int, float, float], ...]
    """Fold, seed, macro F1 and accuracy of each trial."""
    macro_f1: Interval
    accuracy: Interval
    chance: float
    """Accuracy that its predictions would have if they knew nothing of the faces."""


@dataclass(frozen=True)
class Comparison:
    """One arm against another over paired trials. All differences are in points: 1 is 0.01 of a score."""

    labels: str
    """Labelled training faces of each class, or all."""
    arm: str
    """The arm in question."""
    against: str
    """The arm that it is compared with."""
    macro_f1: Interval
    """Mean difference in macro F1, points; this one decides. It holds for all that is compared together."""
    probability: float
    """How often chance alone would bring any of what is compared together as far from zero."""
    together: int
    """How many comparisons interval and probability are corrected for."""
    reach: float
    """Half the width of the interval, before it is cut at what is possible, points."""
    accuracy: Interval
    """Mean difference in accuracy, points; for itself alone."""
    recall: dict[str, Interval | None]
    """Mean difference in the recall of each class, points, each for itself; None for a class that nothing tests."""
    f1: dict[str, Interval | None]
    """The same of its F1, in which faces wrongly given to a class count against it."""
    pairs: tuple[tuple[int, int, float, float], ...]
    """Fold, seed, difference in macro F1 and in accuracy (points) of each pair of trials."""
    bare: int = 0
    """In how many of them an arm with synthetic faces had none: there it is its recipe without."""

    @property
    def trials(self) -> int:
        """Number of pairs of trials."""
        return len(self.pairs)

    @property
    def outcome(self) -> Outcome:
        """What interval and probability of the macro F1 say together: above zero, below zero, or neither.

        Nothing can be told of synthetic faces that no trial had.
        """
        if self.bare == self.trials:
            return "cannot tell"
        if self.probability >= 1 - self.macro_f1.level or self.macro_f1.low <= 0 <= self.macro_f1.high:
            return "cannot tell"
        return "helps" if self.macro_f1.low > 0 else "hurts"

    @property
    def sentence(self) -> str:
        """The comparison in one sentence, and how small a difference could have been seen."""
        if self.bare == self.trials:
            return (
                f"With {_labels(self.labels)} none of the synthetic faces of {self.arm} was fit to learn from in any "
                f"of the {self.trials} trials, so that it is its recipe without them: cannot tell."
            )
        start = f"With {_labels(self.labels)} {self.arm} changes macro F1 by {points(self.macro_f1.estimate)} points"
        if not np.isfinite(self.macro_f1.low):
            return (
                f"{start} against {self.against}, in one trial or on one person, which have no interval: cannot tell."
            )
        if self.macro_f1.low == self.macro_f1.high == 0:
            return (
                f"With {_labels(self.labels)} {self.arm} scored exactly as {self.against} in all {self.trials} trials: "
                "cannot tell."
            )
        low, high = points(self.macro_f1.low), points(self.macro_f1.high)
        among = f", corrected for {self.together} comparisons" if self.together > 1 else ""
        power = ""
        if self.reach >= 0.05:
            power = f" With these trials a difference under {self.reach:.1f} points cannot be seen."
        if self.reach >= 100:
            power = " With these trials no difference can be seen."
        if self.bare:
            power += f" In {self.bare} of the trials it had no synthetic faces and is its recipe without."
        return (
            f"{start} against {self.against} (95 % interval {low} to {high}, p = {self.probability:.2g}{among}; "
            f"{self.trials} paired trials): {self.outcome}.{power}"
        )

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and texts for JSON."""
        return {
            "labels": self.labels,
            "arm": self.arm,
            "against": self.against,
            "outcome": self.outcome,
            "sentence": self.sentence,
            "macro_f1_points": self.macro_f1.to_dict(),
            "probability": self.probability,
            "compared_together": self.together,
            "trials_without_synthetic_faces": self.bare,
            "accuracy_points": self.accuracy.to_dict(),
            **{
                f"{score}_points": {name: None if gain is None else gain.to_dict() for name, gain in gains.items()}
                for score, gains in (("recall", self.recall), ("f1", self.f1))
            },
            "pairs": [
                {"fold": fold, "seed": seed, "macro_f1_points": f1, "accuracy_points": accuracy}
                for fold, seed, f1, accuracy in self.pairs
            ],
        }


@dataclass(frozen=True)
class Verdict:
    """All scores and comparisons of a gain trial."""

    arms: tuple[ArmScore, ...]
    """Every arm with every number of labels."""
    synthetic: tuple[Comparison, ...]
    """Every arm with synthetic faces against the best arm without; together they are corrected for their number."""
    plain: tuple[Comparison, ...]
    """Every other arm without synthetic faces against the simplest one; corrected in the same way."""
    warnings: tuple[str, ...]
    """What must be read before the rest, one sentence each."""
    notes: tuple[str, ...]
    """What a reader of the intervals should know, one sentence each."""

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """All of them."""
        return self.synthetic + self.plain

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found with each number of labels: of the best arm with synthetic faces, or else the best of all."""
        found = self.synthetic or self.plain
        if not found:
            return (*self.warnings, "There are no two arms of classifiers on pictures to compare: cannot tell.")
        best: dict[str, Comparison] = {}
        for comparison in found:
            before = best.get(comparison.labels)
            if before is None or _worth(comparison) > _worth(before):
                best[comparison.labels] = comparison
        return (*self.warnings, *(comparison.sentence for comparison in best.values()))

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and texts for JSON."""
        return {
            "sentences": list(self.sentences),
            "arms": [
                {"labels": a.labels, "arm": a.arm, "macro_f1": a.macro_f1.to_dict(), "accuracy": a.accuracy.to_dict()}
                for a in self.arms
            ],
            "comparisons": [comparison.to_dict() for comparison in self.comparisons],
            "notes": list(self.notes),
        }


def verdict(
    trials: pd.DataFrame, tallies: Mapping[Key, Tally], vocabulary: Sequence[str], units: str = "people"
) -> Verdict:
    """Compare the arms of a gain trial.

    Trials of one fold, seed and number of labels are paired: they share their test faces, their training faces and
    their first weights. See `classifiers.comparison` for intervals and probabilities.

    Args:
        trials: one row a trial, see `pipelines.gain.trial_table`; needs labels, arm, fold, seed and synthetic_faces.
        tallies: what each trial's classifier said.
        vocabulary: the classes.
        units: what the people of the tallies are, for the notes: people, or pictures where nobody is named.

    Raises:
        EmoaugError: no trials, two of one arm, fold, seed and number of labels, or arms that do not share theirs.
    """
    if trials.empty:
        raise EmoaugError("there are no trials to compare; run the trials first")
    keys = keys_of(trials)
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise EmoaugError(f"{twice} has two trials; each counts once")
    cells: dict[tuple[str, str], dict[tuple[int, int], Tally]] = {}
    for key in sorted(keys, key=lambda k: (k.fold, k.seed)):
        cells.setdefault((key.labels, key.arm), {})[key.fold, key.seed] = tallies[key]
    order = list(dict.fromkeys((key.labels, key.arm) for key in keys))
    arms = tuple(_arm_score(labels, arm, cells[labels, arm]) for labels, arm in order)
    duels: dict[Kind, list[tuple[str, str, str]]] = {"synthetic": [], "plain": []}
    for labels in dict.fromkeys(labels for labels, _ in order):
        own = [arm for arm in arms if arm.labels == labels]
        plain = [arm for arm in own if arm.kind == "plain"]
        if not plain:
            continue
        best = max(plain, key=lambda arm: arm.macro_f1.estimate).arm
        simplest = next((arm.arm for name in ("real", "classical") for arm in plain if arm.arm == name), plain[0].arm)
        duels["synthetic"] += [(labels, arm.arm, best) for arm in own if arm.kind == "synthetic"]
        duels["plain"] += [(labels, arm.arm, simplest) for arm in plain if arm.arm != simplest]
    made = trials.assign(labels=trials["labels"].astype(str)).groupby(["labels", "arm"])["synthetic_faces"]
    bare = made.agg(lambda faces: int((faces == 0).sum())).to_dict()
    synthetic = tuple(
        replace(found, bare=bare[found.labels, found.arm]) for found in _compare(duels["synthetic"], cells, vocabulary)
    )
    plainly = _compare(duels["plain"], cells, vocabulary)
    warnings, notes = _sanity(arms)
    notes = [*_method(synthetic or plainly, units), *notes, *_reference(arms)]
    return Verdict(arms, synthetic, plainly, tuple(warnings), tuple(notes))


def _worth(comparison: Comparison) -> tuple[bool, float]:
    """By what the comparison that is told first is chosen: one that has something to tell, with the largest gain."""
    return comparison.bare < comparison.trials, comparison.macro_f1.estimate


def _arm_score(labels: str, arm: str, tallies: Mapping[tuple[int, int], Tally]) -> ArmScore:
    found = estimate(list(tallies.values()))
    trials = tuple(
        (fold, seed, float(row[_F1]), float(row[_ACCURACY]))
        for (fold, seed), row in zip(tallies, found.trials, strict=True)
    )
    macro_f1, accuracy = (_within(found.interval(place), 0, 100) for place in (_F1, _ACCURACY))
    return ArmScore(labels, arm, get_arm(arm).kind, trials, macro_f1, accuracy, float(found.value[_CHANCE]))


def _compare(
    duels: Sequence[tuple[str, str, str]],
    cells: Mapping[tuple[str, str], Mapping[tuple[int, int], Tally]],
    vocabulary: Sequence[str],
) -> tuple[Comparison, ...]:
    """Compare arms two by two, all of them together."""
    if not duels:
        return ()
    estimates = []
    for labels, arm, against in duels:
        ours, theirs = cells[labels, arm], cells[labels, against]
        if list(ours) != list(theirs):
            raise EmoaugError(f"{arm} and {against} have not all trials in common; give the command again to make them")
        estimates.append(compare(list(ours.values()), list(theirs.values())))
    intervals, probabilities = corrected(estimates)
    found = []
    for (labels, arm, against), one, interval, p in zip(duels, estimates, intervals, probabilities, strict=True):
        names = list(cells[labels, arm])
        pairs = tuple(
            (fold, seed, float(row[_F1]), float(row[_ACCURACY]))
            for (fold, seed), row in zip(names, one.trials, strict=True)
        )
        accuracy = _within(one.interval(_ACCURACY), -100, 100)
        places = {name: i for i, name in enumerate(score_names(vocabulary))}
        recall, f1 = (
            {name: _known(one, places[f"{score}_{name}"]) for name in vocabulary} for score in ("recall", "f1")
        )
        macro_f1, reach = _within(interval, -100, 100), interval.high - interval.estimate
        found.append(Comparison(labels, arm, against, macro_f1, p, len(duels), reach, accuracy, recall, f1, pairs))
    return tuple(found)


def _known(found: Estimate, place: int) -> Interval | None:
    return _within(found.interval(place), -100, 100) if np.isfinite(found.value[place]) else None


def _within(interval: Interval, low: float, high: float) -> Interval:
    """Cut an interval at the ends of what is possible; one without ends stays without."""
    if not np.isfinite(interval.low):
        return interval
    return Interval(interval.estimate, max(interval.low, low), min(interval.high, high), interval.level)


def _sanity(arms: Sequence[ArmScore]) -> tuple[list[str], list[str]]:
    """What the arm with shuffled labels says: warnings if it does better than chance, else notes."""
    warnings, notes = [], []
    for arm in arms:
        if arm.kind != "sanity":
            continue
        text = (
            f"With {_labels(arm.labels)} in random order ({arm.arm}) {arm.accuracy.estimate:.1f} % are right, "
            f"and chance has {arm.chance:.1f} %"
        )
        if not np.isfinite(arm.accuracy.low):
            notes.append(f"{text}; one trial alone cannot be judged.")
        elif arm.accuracy.low > arm.chance:
            warnings.append(f"{text}: better than chance. Look for a leak before you believe anything here.")
        else:
            notes.append(f"{text}, as it should be.")
    return warnings, notes


def _reference(arms: Sequence[ArmScore]) -> list[str]:
    """Where a linear model on blendshapes does better than all that sees pixels."""
    notes = []
    for geometry in (arm for arm in arms if arm.kind == "reference"):
        seeing = [arm for arm in arms if arm.labels == geometry.labels and arm.kind in ("plain", "synthetic")]
        best = max(seeing, key=lambda arm: arm.macro_f1.estimate, default=None)
        if best is not None and best.macro_f1.estimate < geometry.macro_f1.estimate:
            notes.append(
                f"With {_labels(geometry.labels)} a linear model on blendshapes has a macro F1 of "
                f"{geometry.macro_f1.estimate:.1f} %, the best arm that sees pixels ({best.arm}) "
                f"{best.macro_f1.estimate:.1f} %: the network does not see all that is there."
            )
    return notes


def _method(comparisons: Sequence[Comparison], units: str) -> list[str]:
    """How the intervals came about, and what the arms were held against."""
    if not comparisons:
        return []
    notes = [
        f"Intervals are for other {units} and another training on these training faces: {units} are drawn "
        f"(bootstrap) and, for the probability, exchanged between the arms (sign-flip test); the chance in training "
        "comes from how much more the trials differ than that explains. A verdict needs both."
    ]
    held = {comparison.against for comparison in comparisons}
    if all(get_arm(comparison.arm).kind == "synthetic" for comparison in comparisons):
        notes.append(
            "The arm that each is held against has the best macro F1 of those without synthetic faces, on the test "
            "faces themselves, which favours it."
        )
        if held == {"real"}:
            notes.append("That is real here: a gain may come from the classical part of the other arms' recipe.")
    return notes


def _labels(labels: str) -> str:
    return "all labels" if labels == "all" else f"{labels} labels a class"


def points(value: float) -> str:
    """Write a difference in points with its sign: +1.2, -0.03, 0.0, unlimited where it is infinite."""
    if np.isinf(value):
        return "unlimited"
    if abs(value) < 0.005:
        return "0.0"
    # Two digits where one would hide on which side of zero the number lies.
    return f"{value:+.2f}" if abs(value) < 0.1 else f"{value:+.1f}"


def arm_table(found: Verdict, trials: pd.DataFrame) -> str:
    """The arms as a table for the terminal: mean scores (per cent) over the trials, with their intervals."""
    rows = [
        {
            "labels": row["labels"],
            "arm": row["arm"],
            "trials": f"{row['trials']}",
            "accuracy": percent(row["accuracy"]),
            "macro F1": percent(row["macro_f1"]),
            "training faces": f"{row['train_faces']:,.0f}",
            "synthetic faces": f"{row['synthetic_faces']:,.0f}",
            "minutes": f"{row['minutes']:,.1f}",
        }
        for row in arm_rows(found, trials)
    ]
    return text_table(rows, left=2)


def arm_rows(found: Verdict, trials: pd.DataFrame) -> list[dict[str, Any]]:
    """Summarise each arm with each number of labels.

    Returns:
        One dict each: labels, arm, trials, accuracy and macro_f1 (`Interval`, per cent), means of train_faces and
        synthetic_faces, minutes (of all its trials, with what made its synthetic faces), and chosen: how often which
        settings were taken.
    """
    rows = []
    for score in found.arms:
        own = trials[(trials["labels"].astype(str) == score.labels) & (trials["arm"] == score.arm)]
        spent = own["seconds"] + own["tuning_seconds"] + own["system_seconds"]
        rows.append(
            {"labels": score.labels, "arm": score.arm, "trials": len(own)}
            | {"accuracy": score.accuracy, "macro_f1": score.macro_f1}
            | {name: float(own[name].mean()) for name in ("train_faces", "synthetic_faces")}
            | {"minutes": float(spent.sum()) / 60, "chosen": own["settings"].value_counts(sort=False).to_dict()}
        )
    return rows


def percent(interval: Interval) -> str:
    """Write a score in per cent with its interval, "61.2 (58.0 to 64.4)"; alone where it has no ends."""
    ends = f" ({interval.low:.1f} to {interval.high:.1f})" if np.isfinite(interval.low) else ""
    return f"{interval.estimate:.1f}{ends}"
