"""What one person does whatever the expression: how lively, how lopsided, with which resting face and which habits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from augment.action_units import BLENDSHAPE_NAMES, PROTOTYPES

_UPPER = ("brow", "eye", "nose", "cheek")

RESTING = (
    *("browDown", "browInnerUp", "browOuterUp", "eyeSquint", "eyeBlink", "mouthSmile", "mouthFrown", "mouthPress"),
    *("mouthPucker", "mouthShrugLower", "mouthDimple", "mouthRollLower"),
)
"""Movements in which faces at rest differ, without their sides. Lips at rest are closed."""


@dataclass(frozen=True)
class Mannerisms:
    """What one person does whatever the expression."""

    liveliness: float = 1.0
    """Factor on the strength of every expression."""
    lean_upper: float = 0.0
    """How much more the left half does around the eyes, and the right half less, as a share."""
    lean_lower: float = 0.0
    """The same around the mouth."""
    resting: Mapping[str, float] | None = None
    """Blendshapes of the face at rest, added to everything; at most about 0.15."""
    habits: Mapping[str, float] | None = None
    """For each optional unit, by its text, a number in [0, 1]: whoever has 0.1 shows all that one in ten shows."""
    preference: float = 0.5
    """Which of an expression's prototypes this person prefers, in [0, 1)."""


class Draw:
    """Scalars from a generator."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Between two values, evenly."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def normal(self, deviation: float = 1.0) -> float:
        """Around 0."""
        return deviation * float(torch.randn((), generator=self.generator))

    def pick(self, count: int) -> int:
        """A whole number from 0 to below `count`."""
        return min(int(self.uniform() * count), count - 1)


def draw_mannerisms(generator: torch.Generator, spread: float = 1.0) -> Mannerisms:
    """Draw one person's.

    Args:
        generator: source of every draw.
        spread: 1 for people as they are, 0 for an average person, more for a wider variety.
    """
    draw = Draw(generator)
    return Mannerisms(
        liveliness=math.exp(draw.normal(0.12 * spread)),
        lean_upper=max(-0.6, min(0.6, draw.normal(0.08 * spread))),
        lean_lower=max(-0.6, min(0.6, draw.normal(0.10 * spread))),
        resting=both_sides({name: max(0.0, draw.normal(0.05 * spread)) for name in RESTING}),
        habits={str(unit): draw.uniform() for unit in _OPTIONAL},
        preference=draw.uniform(),
    )


_OPTIONAL = sorted(
    {unit for prototypes in PROTOTYPES.values() for prototype in prototypes for unit in prototype.optional}, key=str
)


def both_sides(shapes: Mapping[str, float]) -> dict[str, float]:
    """Give each side the value that a name without side has."""
    sided: dict[str, float] = {}
    for name, value in shapes.items():
        sided |= {name: value} if name in BLENDSHAPE_NAMES else {f"{name}Left": value, f"{name}Right": value}
    return sided


def lean(name: str, upper: float, lower: float) -> float:
    """Factor on a blendshape for a face whose left half does more, by `upper` around the eyes and `lower` elsewhere."""
    share = upper if name.startswith(_UPPER) else lower
    return 1 + share * (name.endswith("Left") - name.endswith("Right"))
