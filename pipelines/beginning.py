"""What a training begins with where nobody says: the package's weights, if these suit, and faces of which size."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from augment.checkpoints import DEFAULT, read_config, trained_people
from augment.expressions import called_as
from augment.initial import suits
from emoaug import few

AUTO, NOTHING = "auto", "none"
"""What `--initial` is for this choice, and for weights drawn at random."""


def package_weights(
    system: str, settings: Any, names: Sequence[str], held_out: Collection[str]
) -> tuple[Path | None, str]:
    """The package's weights where they know two of the expressions and their networks are those to be trained.

    Args:
        system: what is to be trained, conditioned on labels.
        settings: of this system.
        names: what it is to learn.
        held_out: people who test.

    Returns:
        The weights, or None where they do not suit or have seen who tests; and a sentence on it, "" if there is nothing
        to be said.
    """
    known = read_config(DEFAULT)
    shared = [name for name in called_as(known["condition_names"], names) if name in names]
    if system != known["system"] or len(shared) < 2 or not suits(Path(DEFAULT), settings, names):
        return None, ""
    if seen := trained_people(known) & set(held_out):
        return None, f"{system} begins from nothing: the package's weights saw {few(seen)}, by their names, who test"
    said = f"{system} begins with the package's weights, which know {', '.join(shared)}"
    return Path(DEFAULT), f"{said}; --initial {NOTHING} begins from nothing"


def tell_size(size: int, chosen: int | None, besides: str = "") -> None:
    """Say what faces of 64 pixels would save, where nobody chose a size and theirs is larger.

    Args:
        size: what is worked at, pixels.
        chosen: `--size`, if it was given.
        besides: what else is to be known of it.
    """
    if chosen is None and size > 64:
        saved = round((size / 64) ** 2)
        print(
            f"training at {size} pixels, as the faces are; --size 64 is some {saved} times as quick{besides}",
            file=sys.stderr,
        )
