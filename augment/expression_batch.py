"""ExpressionBatch: a whole batch at once, on its device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchvision import tv_tensors

from augment.checkpoints import DEFAULT
from augment.devices import Precision
from augment.expression_targets import Targets
from augment.expression_transform import ExpressionTransform
from augment.face_frames import middle_square
from augment.systems.base import Translator
from emoaug import EmoaugError


class ExpressionBatch(ExpressionTransform):
    """Change the expressions in a batch, on its device, without ever waiting for the device.

    Takes pictures (B, 1 or 3, H, W), uint8 or float, and labels (B,) int64, and gives both back, new tensors of the
    same shapes and types. Each batch has a share `p` of its pictures changed, chosen anew and each with its own target
    and strength: `p * B` of them, rounded up or down at random, so that the rest costs nothing. Use it after the
    DataLoader, or on its side of the workers as a `collate_fn`, as v2's guide shows for CutMix:

        change = ExpressionBatch("runs/lssl", classes=data.classes)
        DataLoader(data, collate_fn=lambda samples: change(*default_collate(samples)))

    Draws come from torch's generators, of the device and of the CPU, and depend on the batch that a sample is in; for
    draws by (seed, epoch, index) take `RandomExpression` in an `AugmentedDataset`.

    Floats outside [0, 1] are an error, on a GPU of the first batch only, since a check is waited for. A picture of
    which the network made no numbers stays as it is. Labels that no class has are an error; on a GPU, where the check
    would be waited for, their pictures stay as they are.

    Args:
        system: a run folder, a checkpoint folder, a loaded system, or "default" for the weights of the package.
        p: share of the pictures to change.
        targets: as for `RandomExpression`; so are `strength`, `keep_label`, `new_person` and `precision`.
        classes: the name of each label, such as `ImageFolder.classes`; it must be said.
        normalized: the mean and standard deviation that `Normalize` was given, where the pictures went through it.
    """

    _transformed_types = (Tensor,)
    _identity: ClassVar = ((0.0,), (1.0,))

    def __init__(
        self,
        system: Path | str | Translator = DEFAULT,
        p: float = 0.5,
        targets: Targets = "others",
        strength: tuple[float, float] = (0.5, 1.0),
        keep_label: bool = False,
        classes: Sequence[str | None] | None = None,
        normalized: tuple[Sequence[float], Sequence[float]] | None = None,
        new_person: bool = False,
        precision: Precision = "auto",
    ) -> None:
        if classes is None:
            raise EmoaugError("ExpressionBatch needs the name of each label, such as classes=dataset.classes")
        super().__init__(system, p, targets, strength, keep_label, classes, new_person, precision)
        if normalized is not None and not (
            len(normalized) == 2 and all(len(part) in (1, 3) for part in normalized) and min(normalized[1]) > 0
        ):
            raise EmoaugError(
                f"normalized is {normalized}; give a mean and a standard deviation for each of 1 or 3 channels, these "
                "above 0"
            )
        self.normalized = normalized
        mean, deviation = (torch.tensor(values).view(-1, 1, 1) for values in normalized or self._identity)
        self._statistics = {torch.device("cpu"): (mean, deviation)}
        self._seen_on_gpu = False

    def forward(self, *inputs: Any) -> Any:
        """Change a batch: pictures and labels in, pictures and labels out."""
        batch = inputs if len(inputs) > 1 else inputs[0] if inputs else ()
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            got = type(batch).__name__ if not isinstance(batch, tuple | list) else f"{len(batch)} things"
            raise EmoaugError(f"ExpressionBatch takes pictures and their labels, change(pictures, labels), not {got}")
        pictures, labels = batch
        self._check(pictures, labels)
        device, size = pictures.device, len(pictures)
        # Drawn on the host: a number of faces that only the device knows would have to be waited for.
        count = min(size, math.floor(self.p * size + float(torch.rand((), device="cpu"))))
        seed = int(torch.randint(2**31, (), device="cpu")) if self.new_person else None
        if count == 0:
            return pictures, labels
        with torch.no_grad():
            chosen = torch.rand(size, device=device).argsort()[:count]
            known = labels[chosen].long()
            in_range = (known >= 0) & (known < self._targets.count)
            change = self._targets.draw(known.clamp(0, self._targets.count - 1), torch.rand(count, 2, device=device))
            source = pictures[chosen]
            mean, deviation = self._statistics_on(device)
            unit = source.float() / 255 if source.dtype == torch.uint8 else source.float() * deviation + mean
            self._check_range(unit)
            frame = middle_square(*unit.shape[-2:])
            made = self._system.change(unit, frame, change.conditions, self.precision, seed)
            usable = change.changed & in_range & made.isfinite().flatten(1).all(1)
            made = made.mul(255).round() if source.dtype == torch.uint8 else (made - mean) / deviation
            made = torch.where(usable.view(-1, 1, 1, 1), made.nan_to_num().to(source.dtype), source)
            new_labels = torch.where(usable, change.labels.to(labels.dtype), labels[chosen])
            changed = pictures.index_copy(0, chosen, made)
            if isinstance(pictures, tv_tensors.TVTensor):
                changed = tv_tensors.wrap(changed, like=pictures)
            return changed, labels.index_copy(0, chosen, new_labels)

    def _check(self, pictures: Any, labels: Any) -> None:
        if not isinstance(pictures, Tensor) or pictures.ndim != 4 or pictures.shape[1] not in (1, 3):
            got = tuple(pictures.shape) if isinstance(pictures, Tensor) else type(pictures).__name__
            raise EmoaugError(f"ExpressionBatch takes pictures (B, 1 or 3, H, W), not {got}; collate them first")
        if pictures.dtype != torch.uint8 and not pictures.is_floating_point():
            raise EmoaugError(f"pictures are {pictures.dtype}; give uint8, or floats in [0, 1]")
        if self.normalized is not None and max(map(len, self.normalized)) > pictures.shape[1]:
            raise EmoaugError("pictures are grey, and normalized has a number for each of three channels; give one")
        if pictures.dtype == torch.uint8 and self.normalized is not None:
            raise EmoaugError("pictures are uint8, which Normalize cannot have made; leave normalized=... out")
        whole = isinstance(labels, Tensor) and not labels.is_floating_point() and labels.dtype != torch.bool
        if not whole or labels.shape != pictures.shape[:1]:
            got = f"{tuple(labels.shape)} {labels.dtype}" if isinstance(labels, Tensor) else type(labels).__name__
            raise EmoaugError(
                f"labels are {got}; give whole numbers, ({len(pictures)},), and mix them (MixUp, CutMix) afterwards"
            )
        if labels.device != pictures.device:
            raise EmoaugError(
                f"pictures are on {pictures.device} and labels on {labels.device}; move both to one device"
            )
        if labels.device.type == "cpu" and len(labels):
            low, high = (int(value) for value in labels.aminmax())
            if low < 0 or high >= self._targets.count:
                raise EmoaugError(
                    f"labels go from {low} to {high}, and classes=[...] names 0 to {self._targets.count - 1}; name "
                    "every class, and leave out pictures without a label"
                )

    def _check_range(self, unit: Tensor) -> None:
        """Raise EmoaugError for floats that are not in [0, 1]; on a GPU of the first batch, which is waited for anyway.

        Pixels that are no numbers are not looked at.
        """
        if unit.is_meta or (unit.is_cuda and self._seen_on_gpu):
            return
        self._seen_on_gpu = unit.is_cuda
        low, high = (float(value) for value in unit.aminmax())
        # Some resizing overshoots a little.
        if low < -0.1 or high > 1.1:
            after = "" if self.normalized is None else "after undoing Normalize "
            raise EmoaugError(
                f"the pictures have values from {low:.3g} to {high:.3g} {after}where floats are in [0, 1]; "
                "put v2.ToDtype(torch.float32, scale=True) before, and say normalized=(mean, std) after Normalize"
            )

    def __getstate__(self) -> dict[str, Any]:
        # Workers have no use for copies on another device.
        cpu = torch.device("cpu")
        return super().__getstate__() | {"_statistics": {cpu: self._statistics[cpu]}}

    def _statistics_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        if device not in self._statistics:
            mean, deviation = self._statistics[torch.device("cpu")]
            self._statistics[device] = (mean.to(device), deviation.to(device))
        return self._statistics[device]
