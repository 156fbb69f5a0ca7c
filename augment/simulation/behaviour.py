"""How people show expressions: never twice the same, some strongly, some faintly, some with one half of the face.

Everything is drawn from a `torch.Generator` on the CPU, in a fixed order, so that the same seed gives the same face on
every machine.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Protocol

import torch

from augment.action_units import PROTOTYPES, TYPICAL, Prototype, feasible, from_action_units
from augment.expressions import UnknownExpressionError, canonical
from augment.simulation.mannerisms import (
    RESTING,
    Draw,
    Mannerisms,
    both_sides,
    lean,
)
from emoaug import EmoaugError

INTENSITY = (0.4, 1.05)
"""Strength of the faintest and the strongest expressions, where 1 is a full one; below the first, people tell few apart
from neutral faces."""


class ExpressionSource(Protocol):
    """Whatever gives blendshapes for a label."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that it knows."""

    def fingerprint(self) -> str:
        """A text that differs between sources that draw differently."""

    def draw(self, label: str, generator: torch.Generator, spread: float, mannerisms: Mannerisms) -> dict[str, float]:
        """Draw the blendshapes of one face; see `draw_expression`."""


def draw_expression(
    label: str,
    generator: torch.Generator,
    spread: float = 1.0,
    mannerisms: Mannerisms | None = None,
    intensity: tuple[float, float] = INTENSITY,
    typical: float = 0.0,
) -> dict[str, float]:
    """Draw a way of showing an expression.

    One of the expression's prototypes, with some of its optional units, at a strength between faint and full; on it
    the person's mannerisms, a gaze, and now and then a blink.

    Args:
        label: canonical name of an expression.
        generator: source of every draw.
        spread: how far faces vary: 1 as people do, 0 not at all except for the choice of prototype and units, more
            for a wider variety.
        mannerisms: the person's; by default nobody's in particular.
        intensity: strength of the faintest and the strongest faces, 1 for a full expression.
        typical: share of faces, 0 to 1, that show it in the one way of `TYPICAL`, where there is one.

    Returns:
        Blendshape to value in (0, 1], steps of 0.0001.

    Raises:
        EmoaugError: there is no prototype of the expression.
    """
    if label not in PROTOTYPES:
        raise EmoaugError(f'no action units are known for "{label}"; there are {", ".join(PROTOTYPES)}')
    mannerisms = mannerisms or Mannerisms()
    draw = Draw(generator)
    prototypes = PROTOTYPES[label]
    if label in TYPICAL and (typical >= 1 or (typical > 0 and draw.uniform() < typical)):
        prototypes = (TYPICAL[label],)
    # Half the time the prototype that this person prefers, else any.
    pick, habitual = draw.pick(len(prototypes)), draw.uniform() < 0.5
    prototype = prototypes[int(mannerisms.preference * len(prototypes)) if habitual else pick]
    # More full expressions than faint ones: that is what people label.
    faintest, strongest = intensity[0] / max(1.0, spread), intensity[1]
    strength = faintest + (strongest - faintest) * draw.uniform() ** 0.6
    usual = intensity[0] + 0.7 * (strongest - intensity[0])
    strength = usual + (strength - usual) * min(spread, 1.0)
    units = {
        unit: min(1.0, value * strength * mannerisms.liveliness * math.exp(draw.normal(0.2 * spread)))
        for unit, value in _units(prototype, mannerisms, draw).items()
    }
    return _on_a_person(from_action_units(units), generator, spread, mannerisms)


def _units(prototype: Prototype, mannerisms: Mannerisms, draw: Draw) -> dict[int | str, float]:
    """The units of a prototype with some of the optional ones, at the values of the full expression."""
    units = dict(prototype.units)
    for unit, share in prototype.optional.items():
        fresh, any_day = draw.uniform(), draw.uniform() < 0.5
        habit = (mannerisms.habits or {}).get(str(unit), fresh)
        # Over people and days, the share of faces with the unit is `share`.
        if (fresh if any_day else habit) < share and unit not in units:
            units[unit] = draw.uniform(0.45, 0.8)
    return units


def _on_a_person(
    shapes: Mapping[str, float], generator: torch.Generator, spread: float, mannerisms: Mannerisms
) -> dict[str, float]:
    """Add what has nothing to do with the expression: asymmetry, the resting face, unintended movements, the eyes."""
    draw = Draw(generator)
    upper = mannerisms.lean_upper + draw.normal(0.04 * spread)
    lower = mannerisms.lean_lower + draw.normal(0.05 * spread)
    values = {name: value * lean(name, upper, lower) for name, value in shapes.items()}
    unintended = both_sides({name: max(0.0, draw.normal(0.025 * spread)) for name in RESTING})
    for added in (mannerisms.resting or {}, unintended):
        for name, value in added.items():
            values[name] = values.get(name, 0.0) + value
    for name, value in _eyes(draw, spread).items():
        values[name] = max(values.get(name, 0.0), value)
    return feasible(values)


def _eyes(draw: Draw, spread: float) -> dict[str, float]:
    """Where the eyes look, with the lids that follow, and whether they blink."""
    across, up = draw.normal(0.14 * spread), draw.normal(0.10 * spread)
    blink, closed, asleep = draw.uniform(), draw.uniform(0.6, 1.0), draw.uniform(0.2, 0.6)
    eyes = {
        ("eyeLookOutLeft" if across > 0 else "eyeLookInLeft"): abs(across),
        ("eyeLookInRight" if across > 0 else "eyeLookOutRight"): abs(across),
    }
    vertical = "eyeLookUp" if up > 0 else "eyeLookDown"
    eyes |= {f"{vertical}Left": abs(up), f"{vertical}Right": abs(up)}
    lids = max(0.0, -up) * 0.4
    # Photographs are chosen: people blink in 5 % of the time and in 3 % of the pictures that are kept.
    if blink < 0.03 * min(spread, 2.0):
        lids = closed
    elif blink < 0.06 * min(spread, 2.0):
        lids = asleep
    return eyes | {"eyeBlinkLeft": lids, "eyeBlinkRight": lids}


def known_labels(names: Sequence[str], source: ExpressionSource) -> tuple[str, ...]:
    """Find expressions among those that a source knows.

    Args:
        names: in any spelling that `augment.expressions.canonical` knows, or as the source has them.
        source: where the expressions are to come from.

    Raises:
        EmoaugError: a name that the source does not know, or that comes twice.
    """
    found = []
    for name in names:
        try:
            known = name if name in source.labels else canonical(name)
        except UnknownExpressionError:
            known = name
        if known not in source.labels:
            near = get_close_matches(name.lower(), source.labels, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            raise EmoaugError(f'expressions: "{name}" cannot be drawn{hint}; there are {", ".join(source.labels)}')
        if known in found:
            raise EmoaugError(f'expressions: "{name}" comes twice; name each once')
        found.append(known)
    return tuple(found)


@dataclass(frozen=True)
class Prototypes:
    """Expressions drawn from their action-unit prototypes."""

    intensity: tuple[float, float] = INTENSITY
    """See `draw_expression`."""
    typical: float = 0.0
    """See `draw_expression`."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Every canonical expression."""
        return tuple(PROTOTYPES)

    def fingerprint(self) -> str:
        """The same for all."""
        return "prototypes"

    def draw(self, label: str, generator: torch.Generator, spread: float, mannerisms: Mannerisms) -> dict[str, float]:
        """See `draw_expression`."""
        return draw_expression(label, generator, spread, mannerisms, self.intensity, self.typical)


def expression_array(shapes: Sequence[Mapping[str, float]], names: Sequence[str]) -> torch.Tensor:
    """Put blendshapes in the order of a face model.

    Args:
        shapes: blendshape to value, one mapping a face; what is left out is 0.
        names: the model's `expression_names`; what the model lacks is left out.

    Returns:
        (N, len(names)) float32 in [0, 1].
    """
    return torch.tensor([[face.get(name, 0.0) for name in names] for face in shapes], dtype=torch.float32).reshape(
        len(shapes), len(names)
    )
