"""The average of the weights over the steps of a training, with which faces are made in the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from augment.systems import Translator


class WeightAverage:
    """An exponential moving average of the weights of the modules that make faces.

    Args:
        translator: whose `averaged_modules` are followed; the average begins with the weights that these have.
    """

    def __init__(self, translator: Translator) -> None:
        self.translator = translator
        self.begin()

    def begin(self) -> None:
        """Begin with the weights as they are now."""
        self.weights = {
            name: {k: v.detach().clone() for k, v in module.state_dict().items()}
            for name, module in self.translator.averaged_modules().items()
        }

    @torch.no_grad()
    def update(self, step: int, most_decay: float) -> None:
        """Take in the weights after a step, numbered from 0; what has been kept decays by `most_decay`, less at first.

        What is not a floating-point number, such as a count, is taken as it is.
        """
        decay = min(most_decay, (1 + step) / (10 + step))
        for name, module in self.translator.averaged_modules().items():
            kept = self.weights[name]
            for key, value in module.state_dict().items():
                if value.is_floating_point():
                    kept[key].lerp_(value, 1 - decay)
                else:
                    kept[key].copy_(value)

    def tensors(self) -> Iterator[Tensor]:
        """All that is averaged."""
        return (value for kept in self.weights.values() for value in kept.values())

    def is_finite(self) -> bool:
        """Whether no average has run away."""
        return all(bool(v.isfinite().all()) for v in self.tensors() if v.is_floating_point())

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within, the face-making modules have their averaged weights."""
        modules = self.translator.averaged_modules()
        raw = {name: {k: v.clone() for k, v in m.state_dict().items()} for name, m in modules.items()}
        for name, module in modules.items():
            module.load_state_dict(self.weights[name])
        try:
            yield
        finally:
            for name, module in modules.items():
                module.load_state_dict(raw[name])
