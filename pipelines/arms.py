"""The training recipes that a gain trial compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from augment.systems import SYSTEMS
from emoaug import EmoaugError

PICTURE_RECIPES = {"real": "none", "classical": "classical"}
"""Arms without synthetic faces, and the picture augmentation of each."""

SIMULATED, REFINED = "simulated", "refined"
"""Arms with rendered faces, as they are or made to look real."""


MEASURED = "-measured"
"""Ending of arms whose system learns from what was measured on all training faces, labelled or not, and gives the
expressions of the labelled ones to other people."""


@dataclass(frozen=True)
class Arm:
    """One training recipe. All arms take the same number of steps of the same batch size."""

    name: str
    recipe: str
    """Picture augmentation, of real and synthetic faces alike."""
    source: str | None = None
    """Where the added faces come from: a system, `simulated` or `refined`; None adds none."""


def get_arm(name: str) -> Arm:
    """The arm of that name; a source of synthetic faces stands for classical with its faces added."""
    if name in PICTURE_RECIPES:
        return Arm(name, PICTURE_RECIPES[name])
    measured = [name + MEASURED for name, system in SYSTEMS.items() if system.learns_intensities]
    sources = [*SYSTEMS, *measured, SIMULATED, REFINED]
    if name in sources:
        return Arm(name, PICTURE_RECIPES["classical"], name)
    raise EmoaugError(f'unknown arm "{name}"; there are {", ".join([*PICTURE_RECIPES, *sources])}')


def words(texts: Iterable[str]) -> list[str]:
    """Names given as `a b`, as `a,b`, or as both."""
    return [word for text in texts for word in text.split(",") if word]
