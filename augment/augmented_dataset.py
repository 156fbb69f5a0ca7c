"""A dataset whose transform sees picture and label, and whose pictures do not depend on the number of workers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from augment.devices import seed_from
from emoaug import EmoaugError


class AugmentedDataset(Dataset[Any]):
    """Apply a transform to whole samples of another dataset.

    Without a seed the transform draws as any does: from the generators that torch seeds in every worker, so that epochs
    differ, and `torch.manual_seed` repeats them with the same number of workers. With a seed, what an item looks like
    depends on (seed, epoch, index) and on nothing else: not on the number of workers, the order, or a restart. Say the
    epoch with `set_epoch` before each, as for torch's `DistributedSampler`; workers that persist hear of it:

        data = AugmentedDataset(ImageFolder("faces"), transform, seed=0)
        for epoch in range(epochs):
            data.set_epoch(epoch)
            for pictures, labels in loader: ...

    Args:
        dataset: gives samples by number; its own transforms draw from the same seeds.
        transform: takes a sample's parts, as v2 transforms do: `transform(picture, label)`.
        seed: 0 or more, or None.
    """

    def __init__(self, dataset: Any, transform: Callable[..., Any], seed: int | None = None) -> None:
        if seed is not None and seed < 0:
            raise EmoaugError(f"seed is {seed}; it is a whole number from 0, or None")
        for part in _parts(transform):
            if type(part).__module__ in ("torchvision.transforms.transforms", "torchvision.transforms.autoaugment"):
                raise EmoaugError(
                    f"{type(part).__name__} of torchvision.transforms takes a picture alone, and here labels change "
                    f"with pictures; take torchvision.transforms.v2.{type(part).__name__}"
                )
        self.dataset, self.transform, self.seed = dataset, transform, seed
        self.classes: Any = getattr(dataset, "classes", None)
        # In shared memory, so that workers that were started before see it change.
        self._epoch = torch.tensor(-1).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next, 0 or more."""
        if epoch < 0:
            raise EmoaugError(f"epoch is {epoch}; it is a whole number from 0")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if self.seed is None:
            return self._sample(index)
        epoch = int(self._epoch)
        if epoch < 0:
            raise EmoaugError(
                "with a seed every epoch would be the same; call set_epoch(epoch) before each, or leave the seed out"
            )
        with seeded(seed_from(self.seed, epoch, range(len(self))[index])):
            return self._sample(index)

    def _sample(self, index: int) -> Any:
        sample = self.dataset[index]
        return self.transform(*sample) if isinstance(sample, tuple) else self.transform(sample)


def _parts(transform: Any) -> Iterator[Any]:
    """A transform and all that it is composed of."""
    yield transform
    parts = getattr(transform, "transforms", None)
    for part in parts if isinstance(parts, list | tuple | torch.nn.ModuleList) else ():
        yield from _parts(part)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from this seed, 0 to 2^63 - 1, for a while: on the CPU with torch, Python and NumPy."""
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002 - others' transforms use it
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    try:
        yield
    finally:
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])  # noqa: NPY002
