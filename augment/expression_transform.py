"""What RandomExpression and ExpressionBatch have in common: what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from torchvision.transforms import v2

from augment.devices import Precision
from augment.expression_targets import ExpressionTargets, Targets
from augment.shared_translator import SharedTranslator
from augment.systems.base import Translator
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
        if precision not in get_args(Precision):
            raise EmoaugError(f"precision is {precision!r}; it is one of {', '.join(get_args(Precision))}")
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
