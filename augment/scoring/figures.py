"""Figures of a whole set of made faces against real ones, beside those of real faces against other real faces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from augment.quality import DENSITY_NEIGHBOURS, FIGURES, compare_sets
from augment.scoring.reference import Reference

MOST_COMPARED = 1000
"""Faces on each side of a comparison, at most."""


@dataclass(frozen=True)
class Figure:
    """One figure, and how much chance there is in it."""

    value: float
    low: float
    """Lower end of the interval that holds 95 % of bootstrap draws over people."""
    high: float
    """Its upper end."""


@dataclass(frozen=True)
class SetFigures:
    """What `set_figures` found; both sides have the same number of faces, and are compared with the same others."""

    made: dict[str, Figure]
    """Faces made from one half of the people against real faces of the other half; mean of both ways round."""
    real: dict[str, Figure]
    """Real faces of one half of the people against the other half; mean of both ways round."""
    faces: tuple[int, ...]
    """Faces of one half that were compared, made and real alike, in each of the two ways."""


def set_figures(
    reference: Reference, descriptions: np.ndarray, sources: np.ndarray, repeats: int = 200
) -> SetFigures | None:
    """Compare made and real faces by their descriptions.

    Made faces are compared with real faces of other people than they were made from: sharing people, they would come
    out nearer to the real ones than real ones are to each other. The descriptions are fixed (`describe`), so neither
    side has been learned from; each of their entries is scaled to unit variance over the real faces.

    Args:
        reference: the real faces.
        descriptions: of the made faces, (N, D).
        sources: place of each one's source among the real faces, -1 where there is none, (N,).
        repeats: bootstrap draws.

    Returns:
        The figures; None where one of the halves is too small for them.
    """
    generator = np.random.default_rng(0)
    mean, deviation = reference.descriptions.mean(0), reference.descriptions.std(0) + 1e-3
    # One of each picture, as in calibration: copies would be each other's neighbours.
    single = np.unique(reference.alike, return_index=True)[1]
    people = reference.people[single]
    names = generator.permutation(np.unique(people))
    inside = np.isin(people, names[: len(names) // 2])
    made_people = np.where(sources >= 0, reference.people[sources], -1 - np.arange(len(sources)))
    made_inside = np.where(
        sources >= 0, np.isin(made_people, names[: len(names) // 2]), generator.random(len(sources)) < 0.5
    )

    def draw(rows: np.ndarray, count: int) -> np.ndarray:
        return np.sort(generator.permutation(rows)[:count])

    totals: dict[str, list[dict[str, np.ndarray]]] = {"made": [], "real": []}
    counts = []
    for own, made_own in ((inside, made_inside), (~inside, ~made_inside)):
        made, real, others = np.flatnonzero(made_own), np.flatnonzero(own), np.flatnonzero(~own)
        count = min(len(made), len(real), MOST_COMPARED)
        if min(count, len(others)) <= DENSITY_NEIGHBOURS:
            return None
        counts.append(count)
        others = draw(others, MOST_COMPARED)
        against = _scaled(reference.descriptions[single[others]], mean, deviation)
        for name, rows, features, groups in (
            ("made", draw(made, count), descriptions, made_people),
            ("real", draw(real, count), reference.descriptions[single], people),
        ):
            totals[name].append(
                compare_sets(
                    _scaled(features[rows], mean, deviation),
                    against,
                    groups[rows].tolist(),
                    people[others].tolist(),
                    repeats,
                )
            )
    return SetFigures(_mean(totals["made"]), _mean(totals["real"]), tuple(counts))


def _scaled(descriptions: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> torch.Tensor:
    return torch.from_numpy((descriptions - mean) / deviation)


def _mean(parts: list[dict[str, np.ndarray]]) -> dict[str, Figure]:
    """Mean of two ways round, and its interval."""
    figures = {}
    for name in FIGURES:
        value, *draws = np.mean([part[name] for part in parts], axis=0).tolist()
        low, high = np.quantile(draws, [0.025, 0.975])
        if name == "kernel_distance":
            # Whoever is drawn twice is there with pictures that are alike, which makes every set look denser than it
            # is and the distance greater; so the draws say how far it varies, and not where it lies.
            low, high = np.array([low, high]) + value - np.mean(draws)
        figures[name] = Figure(value, float(low), float(high))
    return figures
