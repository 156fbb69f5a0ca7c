"""What RandomExpression and ExpressionBatch have in common: what they are told, and how a picture is changed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torchvision.transforms import v2

from augment.devices import Precision
from augment.expression_targets import ExpressionTargets, Targets
from augment.face_frames import Aligned, Square
from augment.shared_translator import SharedTranslator
from augment.systems.base import LARGEST_DETAIL, Translator
from emoaug import EmoaugError


class ExpressionTransform(v2.Transform):
    """What both transforms are told."""

    def __init__(
        self,
        system: Path | str | Translator,
        p: float,
        targets: Targets,
        strength: tuple[float, float],
        keep_label: bool,
        classes: Sequence[str | None] | None,
        new_person: bool,
        precision: Precision,
    ) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise EmoaugError(f"p is {p}; it is the share of pictures to change, 0 to 1")
        self._system = SharedTranslator(system)
        if new_person:
            self._system.needs("sample", "new_person=True")
        else:
            self._system.needs("translate", "a change of expression")
        names, vectors = self._system.expressions()
        self._targets = ExpressionTargets(
            names, names if classes is None else classes, targets, strength, keep_label, vectors
        )
        self.p, self.targets, self.strength, self.keep_label = p, targets, strength, keep_label
        self.classes, self.new_person, self.precision = classes and tuple(classes), new_person, precision

    def _changed(self, pictures: Tensor, frame: Square | Aligned, conditions: Tensor, seed: int | None) -> Tensor:
        """Change pictures (N, 1 or 3, H, W) float32 in [0, 1]; the network's NaN stay NaN."""
        colour = pictures.expand(-1, 3, -1, -1)
        size = self._system.size
        if self._system.keeps_detail and not self.new_person:
            size = max(size, min(frame.side, LARGEST_DETAIL))
        seen = frame.cut(colour, size)
        made = self._system.make(seen, conditions, self.precision, seed)
        # A grey picture stays grey, whatever colours a system paints; what undoing a normalisation rounds is no colour.
        grey = ((colour - colour[:, :1]).abs() < 1e-3).flatten(1).all(1).view(-1, 1, 1, 1)
        made = torch.where(grey, made.mean(1, keepdim=True), made)
        return frame.put_back(colour, seen, made)[:, : pictures.shape[1]]
