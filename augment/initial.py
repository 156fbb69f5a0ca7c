"""Begin a training with what another one learnt, even where that was asked for other expressions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from augment.checkpoints import load_translator
from augment.systems import Translator
from emoaug import EmoaugError

LEAST_SHARE = 0.5
"""Share of the weights of every part that must be taken over; with less, the other's networks are of another kind."""

_NEAR = 0.85
"""Ratio of two widths from which on the narrower one's channels are taken for the same as the wider one's first."""


def check_initial(initial: Path, settings: Any, condition_names: Sequence[str]) -> None:
    """Raise EmoaugError unless a checkpoint can begin a training, before anything else is done.

    Args:
        initial: the checkpoint.
        settings: those of the training, of the checkpoint's own system.
        condition_names: what is to be learnt.
    """
    other = load_translator(initial)
    other.speak(condition_names)
    begin_with(type(other)(tuple(condition_names), settings), other)


def suits(initial: Path, settings: Any, condition_names: Sequence[str]) -> bool:
    """Whether a training would go on where a checkpoint ended: with the same networks, but for what they are asked for.

    Args:
        initial: the checkpoint.
        settings: those of the training, of the checkpoint's own system.
        condition_names: what is to be learnt.
    """
    other = load_translator(initial)
    other.speak(condition_names)
    kind = type(other)
    if _shapes(kind(other.condition_names, settings)) != _shapes(other):
        return False
    try:
        begin_with(kind(tuple(condition_names), settings), other)
    except EmoaugError:
        return False
    return True


def _shapes(translator: Translator) -> dict[str, torch.Size]:
    """Shapes of what makes faces."""
    parts = translator.averaged_modules().items()
    return {f"{part}.{key}": value.shape for part, module in parts for key, value in module.state_dict().items()}


@torch.no_grad()
def begin_with(translator: Translator, other: Translator) -> float:
    """Copy the weights of a trained translator into a new one of the same system.

    Weights that belong to one expression go to the expression of the same name (see `Translator.speak`); those of
    expressions that the other does not know stay as they are, and so do weights whose shape follows from another size
    of the faces. Where widths follow from the number of expressions, the channels that both have are copied.

    Args:
        translator: the new one; changed in place.
        other: the trained one.

    Returns:
        The share of the weights that were copied in the part of what makes faces where it is the least, in
        [`LEAST_SHARE`, 1].

    Raises:
        EmoaugError: another system, or other networks.
    """
    if type(translator) is not type(other):
        raise EmoaugError(
            f"--initial holds weights of {other.name}, and {translator.name} is to be trained; give weights of its own"
        )
    new, old = translator.state_dict(), other.state_dict()
    dims, other_dims = _condition_dimensions(translator), _condition_dimensions(other)
    copied: dict[str, int] = {}
    for key, value in new.items():
        given = old.get(key)
        if given is None or given.ndim != value.ndim or dims[key] != other_dims[key]:
            continue
        places = [
            _by_name(value.shape[dim], translator, given.shape[dim], other)
            if dim in dims[key]
            else _first(value.shape[dim], given.shape[dim])
            for dim in range(value.ndim)
        ]
        if not all(len(place) for place, _ in places):
            continue
        for dim, (_, place) in enumerate(places):
            given = given.index_select(dim, place)
        value[torch.meshgrid([place for place, _ in places], indexing="ij") if places else ...] = given
        copied[key] = given.numel()
    # Counted is what was trained and kept: no checkpoint holds critics, and what is solved for is solved anew.
    names = {id(value): key for key, value in translator.named_parameters()}
    shares = []
    for module in translator.averaged_modules().values():
        keys = [names[id(value)] for value in module.parameters()]
        if keys:
            shares.append(sum(copied.get(key, 0) for key in keys) / sum(new[key].numel() for key in keys))
    share = min(shares)
    if share < LEAST_SHARE:
        raise EmoaugError(
            f"--initial has other networks ({100 * share:.0f} % of their weights fit); train with the configuration, "
            "the widths and the depths of that checkpoint"
        )
    for name in translator.initial_alike:
        one, another = (getattr(each.settings, name) for each in (translator, other))
        if one != another:
            raise EmoaugError(
                f"--initial was trained with {name}={json.dumps(another)}, and this training has {json.dumps(one)}; "
                f"give --set {name}={json.dumps(another)}, or other weights"
            )
    return share


def _condition_dimensions(translator: Translator) -> dict[str, frozenset[int]]:
    """The dimensions of each weight that have an entry for every condition, after what else they may have.

    Found by asking how the shapes would be with more conditions: only these dimensions grow by one for each.
    """
    names = translator.condition_names
    further = tuple(max(names, key=len) + "'" * more for more in (1, 2))
    shapes = [{key: tuple(value.shape) for key, value in translator.state_dict().items()}]
    with torch.device("meta"):
        for more in (1, 2):
            larger = type(translator)((*names, *further[:more]), translator.settings)
            shapes.append({key: tuple(value.shape) for key, value in larger.state_dict().items()})
    return {
        key: frozenset(
            dim for dim, sizes in enumerate(zip(*(s[key] for s in shapes), strict=True)) if sizes[2] - sizes[0] == 2
        )
        for key in shapes[0]
    }


def _by_name(size: int, translator: Translator, other_size: int, other: Translator) -> tuple[Tensor, Tensor]:
    """Places along a dimension of conditions, in both translators, of what they share."""
    before, other_before = size - len(translator.condition_names), other_size - len(other.condition_names)
    if before != other_before or before < 0:
        return torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    shared = [name for name in translator.condition_names if name in other.condition_names]
    return (
        torch.tensor([*range(before), *(before + translator.condition_names.index(name) for name in shared)]).long(),
        torch.tensor([*range(before), *(before + other.condition_names.index(name) for name in shared)]).long(),
    )


def _first(size: int, other_size: int) -> tuple[Tensor, Tensor]:
    """Places along any other dimension that both have; none where one is much longer."""
    common = min(size, other_size)
    place = torch.arange(common if common >= _NEAR * max(size, other_size) else 0)
    return place, place
