"""Groups of people by what a dataset's metadata say of them, and how figures of the groups compare."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import ttest_1samp, ttest_ind

from augment.folders import FaceTable
from classifiers.evaluation import Interval
from emoaug import EmoaugError

MOST_GROUPS = 12
"""More groups than these by one attribute are a mistake: numbers without bounds."""


@dataclass(frozen=True)
class Attribute:
    """Something that people are grouped by."""

    name: str
    """Key of the column `description` of metadata.csv, which is JSON, or a column."""
    bounds: tuple[float, ...] = ()
    """First number of the second group, of the third, and so on; without any, each value is a group."""

    @classmethod
    def parse(cls, text: str) -> Attribute:
        """Read `monk_tone:4,7` or `glasses`."""
        name, _, numbers = text.partition(":")
        try:
            bounds = tuple(float(number) for number in numbers.split(",") if number)
        except ValueError:
            raise EmoaugError(f'"{text}": bounds are numbers, as in monk_tone:4,7') from None
        if list(bounds) != sorted(set(bounds)):
            raise EmoaugError(f'"{text}": bounds rise, as in monk_tone:4,7')
        return cls(name, bounds)

    def of(self, faces: FaceTable) -> pd.Categorical:
        """The group of each face, (N,), missing where nothing is known; the categories are all groups, in order.

        Raises:
            EmoaugError: no such attribute, values that are no numbers between bounds, or too many groups.
        """
        described = [_description(text) for text in faces.table.get("description", [None] * len(faces))]
        column = faces.table.get(self.name, [None] * len(faces))
        values = [d.get(self.name, own) for d, own in zip(described, column, strict=True)]
        values = [None if pd.isna(value) else value for value in values]
        if all(value is None for value in values):
            known = sorted({*faces.table.columns, *(key for d in described for key in d)})
            raise EmoaugError(f'{faces.root}: nothing says "{self.name}" of a face; there are {", ".join(known)}')
        if not self.bounds:
            names = [None if value is None else str(value) for value in values]
            if len(found := sorted({name for name in names if name is not None})) > MOST_GROUPS:
                raise EmoaugError(f'"{self.name}" has {len(found)} values; group numbers as in {self.name}:30,50')
            return pd.Categorical(names, found)
        try:
            numbers = [np.nan if value is None else float(value) for value in values]
        except (ValueError, TypeError):
            raise EmoaugError(f'"{self.name}" has values that are no numbers; leave out the bounds') from None
        middle = [f"{low:g} to below {high:g}" for low, high in pairwise(self.bounds)]
        groups = [f"below {self.bounds[0]:g}", *middle, f"{self.bounds[-1]:g} and more"]
        places = np.where(np.isnan(numbers), -1, np.searchsorted(self.bounds, numbers, side="right"))
        return pd.Categorical.from_codes(places, groups)


def _description(text: object) -> dict[str, Any]:
    try:
        found = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def mean(values: np.ndarray) -> Interval:
    """Mean of one value a person, (N,), NaN left out, with its 95 % interval (Student's t).

    Values that are all the same say nothing of how others would vary: their interval has no ends.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 or np.ptp(known) == 0:
        return Interval(float(known.mean()) if len(known) else np.nan, -np.inf, np.inf, 0.95)
    low, high = ttest_1samp(known, 0).confidence_interval(0.95)
    return Interval(float(known.mean()), float(low), float(high), 0.95)


def difference(some: np.ndarray, rest: np.ndarray, together: int = 1) -> Interval:
    """Difference of two means with its 95 % interval (Welch's), which holds for many comparisons at once (Bonferroni).

    Args:
        some: one value a person, (N,), NaN left out.
        rest: the same of others, (M,).
        together: how many differences are looked at.
    """
    one, other = some[np.isfinite(some)], rest[np.isfinite(rest)]
    level = 1 - 0.05 / together
    if min(len(one), len(other)) < 2 or np.ptp(one) == np.ptp(other) == 0:
        value = float(one.mean() - other.mean()) if min(len(one), len(other)) else np.nan
        return Interval(value, -np.inf, np.inf, level)
    with warnings.catch_warnings():
        # It warns where all of one side are alike, as when every face is found; the other side's spread counts then.
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = ttest_ind(one, other, equal_var=False).confidence_interval(level)
    return Interval(float(one.mean() - other.mean()), float(low), float(high), level)


def person_means(faces: pd.DataFrame, figures: Sequence[str]) -> pd.DataFrame:
    """Mean of each figure over everything that was asked of a person, indexed by person."""
    # First by what was asked, so that each counts the same for a person of several faces.
    return faces.groupby(["person", "target"])[list(figures)].mean().groupby("person").mean()


@dataclass(frozen=True)
class GroupFigure:
    """One figure of one group of people."""

    attribute: str
    group: str
    figure: str
    people: int
    made: Interval
    """Mean over the people, of results."""
    made_apart: Interval
    """How far that is from the mean over all other people; holds for all groups and figures at once."""
    real: Interval
    """Mean over the people, of their own pictures."""
    real_apart: Interval
    """How far that is from the mean over all other people; for itself alone."""

    def to_dict(self) -> dict[str, Any]:
        """As plain numbers and texts for JSON; what is not known is None."""
        given = {name: v.to_dict() if isinstance(v, Interval) else v for name, v in vars(self).items()}
        return {n: None if isinstance(v, dict) and np.isnan(v["estimate"]) else v for n, v in given.items()}


def compare_groups(seen: pd.DataFrame, attributes: Sequence[str], figures: Sequence[str]) -> list[GroupFigure]:
    """Every figure of every group that has people in it.

    Args:
        seen: one row a picture: person, target (what was asked), kind (`made` or `real`), the figures, and the
            attributes as categories.
        attributes: which columns are attributes.
        figures: which columns are figures.
    """
    groups = seen.groupby("person")[list(attributes)].first()
    made, real = (person_means(seen[seen.kind == kind], figures).reindex(groups.index) for kind in ("made", "real"))
    counts = [groups[name].nunique() for name in attributes]
    # Two groups of one attribute have one difference.
    together = max(1, len(figures) * sum(1 if count == 2 else count for count in counts if count > 1))
    rows = []
    for name in attributes:
        for group in groups[name].cat.categories[groups[name].value_counts(sort=False) > 0]:
            inside = (groups[name] == group).to_numpy()
            outside = groups[name].notna().to_numpy() & ~inside
            for figure in figures:
                m, r = made[figure].to_numpy(), real[figure].to_numpy()
                rows.append(
                    GroupFigure(
                        name,
                        str(group),
                        figure,
                        int(inside.sum()),
                        mean(m[inside]),
                        difference(m[inside], m[outside], together),
                        mean(r[inside]),
                        difference(r[inside], r[outside]),
                    )
                )
    return rows
