"""Rules on scores: which made faces are kept."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from augment.scoring.reference import SCORES
from emoaug import EmoaugError

PRESETS: dict[str, tuple[str, ...]] = {
    "lenient": (
        "label_probability >= 0.3%",
        "identity >= 0.9",
        "movement >= 0.3%",
        "nearest_real >= 1",
        "nearest_sibling >= 1",
        "sharpness >= 0.3%",
        "colour_noise <= 99.7%",
        "evenness >= 0.3%",
    ),
    "strict": (
        "label_probability >= 2%",
        "identity >= 0.98",
        "face_found >= 2%",
        "movement >= 0.5%",
        "nearest_real >= 2",
        "nearest_sibling >= 2",
        "sharpness >= 0.5%",
        "colour_noise <= 99.5%",
        "evenness >= 0.5%",
    ),
}
"""Rules by name. A percentage is the share of good faces that the rule costs, as far as real ones tell; the other
numbers have units that come from the real faces too (see docs/scores.md)."""

PER_CLASS = "label_probability"
"""The score whose percentiles are those of the class: judges are surer of some expressions than of others."""

LEAST_IN_CLASS = 20
"""Real faces that a class must have for percentiles of its own; else those of all faces are taken."""

_RULE = re.compile(r"\s*(\w+)\s*(>=|<=)\s*(-?\d+(?:\.\d+)?)\s*(%?)\s*")


@dataclass(frozen=True)
class Rule:
    """A face is kept if its score is at least, or at most, a threshold; a score that is missing does not count."""

    score: str
    at_least: bool
    number: float
    """The threshold, or for `percentile` the percentile of the real faces' scores that is the threshold."""
    percentile: bool

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        return f"{self.score} {sign} {self.number:g}{'%' if self.percentile else ''}"

    def threshold(self, real: pd.DataFrame, label: str) -> float:
        """The threshold for faces of a class, NaN where it cannot be known.

        Args:
            real: scores of real faces, from `Reference.real_scores`.
            label: the class.
        """
        if not self.percentile:
            return self.number
        values = real[self.score].to_numpy(dtype=float)
        if self.score == PER_CLASS:
            own = values[(real["label"] == label).to_numpy()]
            values = own if np.isfinite(own).sum() >= LEAST_IN_CLASS else values
        values = np.sort(values[np.isfinite(values)])
        if not len(values):
            return np.nan
        # An observed score, the nearest beyond: with few real faces, the extreme one.
        place = self.number / 100 * (len(values) - 1)
        return float(values[math.floor(place) if self.at_least else math.ceil(place)])

    def kept(self, scores: pd.DataFrame, labels: Sequence[str], real: pd.DataFrame) -> np.ndarray:
        """Which faces the rule keeps, (N,) bool.

        Args:
            scores: of the faces, N rows.
            labels: what each should show, (N,).
            real: scores of real faces.
        """
        limits = {label: self.threshold(real, label) for label in set(labels)}
        limit = np.array([limits[label] for label in labels], dtype=float)
        values = scores[self.score].to_numpy(dtype=float)
        wrong = values < limit if self.at_least else values > limit
        return ~wrong


def read_rules(given: str | Path | Sequence[str]) -> tuple[Rule, ...]:
    """Read rules: a preset's name, a file with one rule a line (# begins a remark), or the rules themselves.

    Args:
        given: such as "strict", "rules.txt", or ["identity >= 0.95", "sharpness >= 1%"]: a number is a threshold, a
            percentage is that percentile of the same score of real faces.

    Raises:
        EmoaugError: no such preset, file, score or sign.
    """
    texts = [str(given)] if isinstance(given, str | Path) else [str(text) for text in given]
    if len(texts) == 1:
        if texts[0] in PRESETS:
            texts = list(PRESETS[texts[0]])
        elif not _RULE.fullmatch(texts[0]):
            texts = _lines(Path(texts[0]))
    return tuple(_read_rule(text) for text in texts)


def _lines(path: Path) -> list[str]:
    """Rules in a file."""
    try:
        lines = [line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        raise EmoaugError(
            f'"{path}" is no preset ({", ".join(PRESETS)}), no text file of rules, and no rule like "identity >= 0.9" '
            "(>= or <=, one rule an argument)"
        ) from None
    found = [line for line in lines if line]
    if not found:
        raise EmoaugError(f'{path} has no rule; write one a line, such as "identity >= 0.9"')
    return found


def _read_rule(text: str) -> Rule:
    match = _RULE.fullmatch(text)
    if match is None:
        raise EmoaugError(f'rule "{text}": write SCORE >= NUMBER or SCORE <= NUMBER, for a percentile with % behind')
    score, sign, number, percent = match.groups()
    if score not in SCORES:
        raise EmoaugError(f'rule "{text}": unknown score "{score}"; there are {", ".join(SCORES)}')
    if percent and not 0 <= float(number) <= 100:
        raise EmoaugError(f'rule "{text}": a percentile is a number from 0 to 100')
    return Rule(score, sign == ">=", float(number), bool(percent))
