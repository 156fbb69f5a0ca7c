"""Where in a sample its label is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from numbers import Integral
from typing import Any, Literal

from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from emoaug import EmoaugError

LabelsGetter = Literal["default"] | Callable[[Any], Any]


class _Place:
    """Stands in for an entry of a sample, so that pointing at it tells where it is."""

    def __init__(self, number: int) -> None:
        self.number = number


def find_label(entries: list[Any], structure: TreeSpec, getter: LabelsGetter) -> int:
    """Find the entry that a getter points at.

    Small numbers are one and the same object wherever they stand in a sample, so places are put in the sample instead
    of its entries, and the getter shows one of them.

    Args:
        entries: the flattened sample.
        structure: how it was nested.
        getter: "default", which finds the label as `v2.MixUp` does, or a function from a sample to its label.

    Returns:
        The label's place in `entries`.

    Raises:
        EmoaugError: there is no label, or it is neither a whole number nor a name.
    """
    sample = tree_unflatten([_Place(i) for i in range(len(entries))], structure)
    if getter == "default":
        found = _default(sample)
    elif callable(getter):
        try:
            found = getter(sample)
        except Exception as error:
            raise EmoaugError(
                f"labels=... failed ({type(error).__name__}: {error}); it takes the sample and gives the entry that is "
                "the label, unchanged, as in lambda sample: sample[1]['emotion']"
            ) from error
    else:
        raise EmoaugError(f'labels is {getter!r}; it is "default" or a function from the sample to its label')
    if not isinstance(found, _Place):
        raise EmoaugError(
            "no label in the sample, and the picture changes its label. Show the transform both "
            "(AugmentedDataset(dataset, transform) does), or point at the label with labels=lambda sample: ..."
        )
    label = entries[found.number]
    whole = (
        isinstance(label, Tensor) and label.numel() == 1 and not label.is_floating_point() and not label.is_complex()
    )
    if not whole and (isinstance(label, bool) or not isinstance(label, Integral | str)):
        shown = f"a tensor of shape {tuple(label.shape)}, {label.dtype}" if isinstance(label, Tensor) else repr(label)
        raise EmoaugError(f"the label is {shown}; it must be one whole number or a name. See labels=...")
    return found.number


def _default(sample: Any) -> Any:
    """The second entry of a tuple or list, or in it or the sample itself the entry that is named as the label.

    That is "labels", "label", or the one whose name has "label" in it.
    """
    if isinstance(sample, tuple | list):
        sample = sample[1] if len(sample) > 1 else None
        if isinstance(sample, _Place):
            return sample
    if not isinstance(sample, Mapping):
        return None
    names = [name for name in sample if isinstance(name, str)]
    for exact in ("labels", "label"):
        named = [name for name in names if name.lower() == exact]
        if named:
            return sample[named[0]]
    similar = [name for name in names if "label" in name.lower()]
    if len(similar) > 1:
        raise EmoaugError(
            f"the sample has {' and '.join(similar)}; point at the label with labels=lambda sample: sample[...], and "
            "leave out what would contradict it"
        )
    return sample[similar[0]] if similar else None
