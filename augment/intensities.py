"""Conditions that are measured: how strong each movement of a face is, in place of the class that it is labelled with.

MediaPipe scores 52 blendshapes on every face that it finds, labelled or not. Left and right become their mean: at 48 px
the two are one score with noise (they correlate by 0.8 to 0.98 on FER2013), what they differ by is mostly the turn of
the head, and training mirrors faces. Left out is what passes without being an expression (gaze, blinks) and what has a
direction (a jaw or a mouth drawn to one side, which a mirror would exchange).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from augment.action_units import ACTION_UNITS, BLENDSHAPE_NAMES
from emoaug import EmoaugError

Measure = Literal["blendshapes", "action-units"]
"""What is measured: movements as MediaPipe scores them, or the action units that these add up from."""

_LEFT_OUT = re.compile(r"_neutral|eyeLook.*|eyeBlink.*|(jaw|mouth)(Left|Right)")

MOVEMENTS = tuple(
    dict.fromkeys(re.sub("(Left|Right)$", "", name) for name in BLENDSHAPE_NAMES if not _LEFT_OUT.fullmatch(name))
)
"""Blendshapes that a condition may ask for, without their side."""

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 22, 23, 24, 25, 26)
"""Action units that can be told apart by `MOVEMENTS`: 16 moves nothing that 25 does not, 27 nothing that 26 does not,
and 11, 13 and 28 are sums of others."""

STILL = 0.1
"""A movement whose 99th percentile over a dataset is below this hardly occurs there, or is not measured: MediaPipe
always scores cheekSquint, noseSneer and cheekPuff near 0."""


def are_intensities(names: Sequence[str]) -> bool:
    """Whether the entries of a condition are intensities, each on its own, and not classes that share a face.

    Args:
        names: what each entry asks for; intensities are named as in `MOVEMENTS`, or "AU12".
    """
    return all(name in _KNOWN for name in names)


_KNOWN = {*MOVEMENTS, *(f"AU{unit}" for unit in UNITS)}


def movements(blendshapes: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Merge left and right, and leave out what no condition asks for.

    Args:
        blendshapes: scores, (N, B) in [0, 1], NaN where no face was found.
        names: the blendshapes, (B,).

    Returns:
        The mean over the sides of each of `MOVEMENTS`, (N, M) float32.

    Raises:
        EmoaugError: one of them was not measured.
    """
    place = {str(name): i for i, name in enumerate(names)}
    columns = []
    for movement in MOVEMENTS:
        sides = [place[n] for n in (movement, movement + "Left", movement + "Right") if n in place]
        if not sides:
            raise EmoaugError(f"{movement} was not measured, only {', '.join(place)}; run emoaug align again")
        columns.append(blendshapes[:, sides].mean(1))
    return np.stack(columns, 1).astype(np.float32)


def action_units(moved: np.ndarray) -> np.ndarray:
    """Find the action units that show certain movements: the inverse of `augment.action_units.from_action_units`.

    Where the inner brows rise, the lowering of the brows that they hide is put back; the rest is the least-squares fit
    of `ACTION_UNITS` without negative units.

    Args:
        moved: (N, M) in the order of `MOVEMENTS`, NaN where no face was found.

    Returns:
        Intensities in the order of `UNITS`, (N, U) float32 in [0, 1], NaN where the movements are.
    """
    from scipy.optimize import nnls

    shapes = np.array([[ACTION_UNITS[unit].shapes.get(name, 0.0) for unit in UNITS] for name in MOVEMENTS])
    full = np.array(moved, np.float64)
    down, inner = MOVEMENTS.index("browDown"), MOVEMENTS.index("browInnerUp")
    full[:, down] = np.minimum(1, full[:, down] / (1 - 0.7 * full[:, inner]))
    units = np.full((len(full), len(UNITS)), np.nan, np.float32)
    for row in np.flatnonzero(np.isfinite(full).all(1)):
        units[row] = nnls(shapes, full[row])[0].clip(0, 1)
    return units


@dataclass(frozen=True)
class IntensityScale:
    """From blendshape scores to conditions: which entries there are, and which score counts as 1."""

    measure: Measure
    names: tuple[str, ...]
    """What each entry of a condition asks for."""
    full: tuple[float, ...]
    """The score of each entry that is a condition of 1, above 0; anything above counts as 1 too."""

    @classmethod
    def fit(cls, measure: Measure, blendshapes: np.ndarray, names: Sequence[str]) -> IntensityScale:
        """Take the 99th percentile over a dataset as 1, and leave out what hardly moves in it.

        Args:
            measure: what the entries are.
            blendshapes: scores, (N, B) in [0, 1], NaN where no face was found.
            names: the blendshapes, (B,).

        Raises:
            EmoaugError: an unknown measure, no measured face, or fewer than two entries that move.
        """
        if measure not in get_args(Measure):
            raise EmoaugError(f'unknown conditions "{measure}"; there are labels, {", ".join(get_args(Measure))}')
        entries, raw = _raw(measure, blendshapes, names)
        known = raw[np.isfinite(raw).all(1)]
        if not len(known):
            raise EmoaugError("no face has blendshape scores; run emoaug align, which measures them")
        high = np.quantile(known, 0.99, axis=0)
        kept = np.flatnonzero(high >= STILL)
        if len(kept) < 2:
            raise EmoaugError(
                f"of {len(entries)} measured movements {len(kept)} reach {STILL} in these {len(known)} faces; two are "
                "needed. Add faces with more expression"
            )
        return cls(measure, tuple(entries[i] for i in kept), tuple(round(float(high[i]), 4) for i in kept))

    def conditions(self, blendshapes: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Turn blendshape scores (N, B), NaN where no face was found, into conditions (N, K) float32 in [0, 1]."""
        entries, raw = _raw(self.measure, blendshapes, names)
        chosen = raw[:, [entries.index(name) for name in self.names]]
        return (chosen / np.array(self.full, np.float32)).clip(0, 1)

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        return {"measure": self.measure, "full": dict(zip(self.names, self.full, strict=True))}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> IntensityScale | None:
        """What the `config.json` of a checkpoint keeps of it; None for a system whose conditions are classes.

        Raises:
            EmoaugError: the system's conditions are intensities, and the scale is not there or does not fit.
        """
        names = tuple(config["condition_names"])
        if not are_intensities(names):
            return None
        saved = config.get("extra", {}).get("conditions", {})
        measure, full = saved.get("measure"), saved.get("full", {})
        usable = isinstance(full, dict) and all(isinstance(full.get(n), float | int) and full[n] > 0 for n in names)
        if measure not in get_args(Measure) or not usable:
            raise EmoaugError("the checkpoint does not say how its conditions were measured; copy or train it again")
        return cls(measure, names, tuple(float(full[name]) for name in names))


def _raw(measure: Measure, blendshapes: np.ndarray, names: Sequence[str]) -> tuple[tuple[str, ...], np.ndarray]:
    moved = movements(blendshapes, names)
    if measure == "blendshapes":
        return MOVEMENTS, moved
    return tuple(f"AU{unit}" for unit in UNITS), action_units(moved)
