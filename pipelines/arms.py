"""The training recipes that a gain trial compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from augment.systems import SYSTEMS
from emoaug import EmoaugError

RECIPES = {
    "real": "none",
    "classical": "classical",
    "randaugment": "randaugment",
    "trivialaugment": "trivialaugment",
}
"""Parts of an arm's name that choose the picture augmentation; without one of these it is classical."""

MIXINGS = ("mixup", "cutmix")
"""Parts that mix the faces of a batch."""

OVERSAMPLE = "oversample"
"""The part that draws every class equally often, where the others draw every face equally often."""

SIMULATED, REFINED = "simulated", "refined"
"""Parts that add rendered faces, as they are or made to look real."""

PRETRAINED = "pretrained"
"""The part that adds faces made by weights that were trained elsewhere, of training faces, labelled or not."""

MEASURED = "-measured"
"""Ending of a system that learns from what was measured on training faces, labelled or not, and gives the expressions
of the labelled ones to other people."""

GEOMETRY, SHUFFLED = "geometry", "shuffled"
"""Arms that stand alone: blendshapes in the place of pixels, and labels in random order."""

Kind = Literal["plain", "synthetic", "reference", "sanity"]
"""What an arm is for: `plain` ones have no synthetic faces, `reference` no pixels, `sanity` no information."""


@dataclass(frozen=True)
class Arm:
    """One training recipe. All arms take the same number of steps of the same batch size."""

    name: str
    recipe: str = "classical"
    """Picture augmentation, of real and synthetic faces alike."""
    mixing: str = "none"
    """Mixing of the faces of a batch, real and synthetic."""
    oversample: bool = False
    """Draws every class equally often, whatever the classifier's settings say."""
    sources: tuple[str, ...] = ()
    """Where the added faces come from: systems, also with the ending `MEASURED`, `pretrained`, `simulated`,
    `refined`."""
    kind: Kind = "plain"


def get_arm(name: str) -> Arm:
    """The arm of a name: parts joined by +, such as mixup+lssl; a part that is not named stays as in classical.

    Raises:
        EmoaugError: an unknown part, one that is named twice, or parts that exclude one another.
    """
    if name == GEOMETRY:
        return Arm(name, "none", kind="reference")
    if name == SHUFFLED:
        return Arm(name, kind="sanity")
    parts = name.split("+")
    measured = [system + MEASURED for system, kind in SYSTEMS.items() if kind.learns_intensities]
    makers = [*SYSTEMS, *measured, PRETRAINED, SIMULATED, REFINED]
    sources = [part for part in parts if part in makers]
    recipes = [part for part in parts if part in RECIPES]
    mixings = [part for part in parts if part in MIXINGS]
    known = [*RECIPES, *MIXINGS, OVERSAMPLE, *makers]
    for part in parts:
        if part in (GEOMETRY, SHUFFLED):
            raise EmoaugError(f'arm "{name}": {part} stands alone, without +')
        if part not in known:
            raise EmoaugError(
                f'unknown arm "{part}"; there are {", ".join([*known, GEOMETRY, SHUFFLED])}, and combinations of all '
                "but the last two, such as mixup+lssl"
            )
    if len(set(parts)) != len(parts) or len(recipes) > 1 or len(mixings) > 1:
        raise EmoaugError(
            f'arm "{name}": name each part once, at most one of {", ".join(RECIPES)}, and one of {", ".join(MIXINGS)}'
        )
    return Arm(
        name,
        RECIPES[recipes[0]] if recipes else "classical",
        mixings[0] if mixings else "none",
        OVERSAMPLE in parts,
        tuple(sources),
        "synthetic" if sources else "plain",
    )


def uses_unlabelled(source: str) -> bool:
    """Whether a source of synthetic faces can use faces without labels too."""
    return source in (REFINED, PRETRAINED) or source.endswith(MEASURED)
