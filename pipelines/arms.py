"""The training recipes that a gain trial compares."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from augment.systems import SYSTEMS
from emoaug import EmoaugError

PICTURE_RECIPES = {"real": "none", "classical": "classical"}
"""Arms without synthetic faces, and the picture augmentation of each."""


@dataclass(frozen=True)
class Arm:
    """One training recipe. All arms take the same number of steps of the same batch size."""

    name: str
    recipe: str
    """Picture augmentation, of real and synthetic faces alike."""
    system: str | None = None
    """The system whose faces are added; None adds none."""


def get_arm(name: str) -> Arm:
    """The arm of that name: `real`, `classical`, or a system, which stands for classical plus its synthetic faces."""
    if name in PICTURE_RECIPES:
        return Arm(name, PICTURE_RECIPES[name])
    if name in SYSTEMS:
        return Arm(name, PICTURE_RECIPES["classical"], name)
    raise EmoaugError(f'unknown arm "{name}"; there are {", ".join([*PICTURE_RECIPES, *SYSTEMS])}')


def words(texts: Iterable[str]) -> list[str]:
    """Names given as `a b`, as `a,b`, or as both."""
    return [word for text in texts for word in text.split(",") if word]
