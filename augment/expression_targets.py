"""Which expression a face is asked for: from its label and random numbers to a condition and a new label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from augment.expressions import known_as
from emoaug import EmoaugError

Targets = str | Sequence[str] | Mapping[str, str | Sequence[str]]


class Change(NamedTuple):
    """What becomes of N labelled faces."""

    changed: Tensor
    """Whether there is anything to change, (N,) bool."""
    labels: Tensor
    """The labels afterwards, (N,) int64."""
    conditions: Tensor
    """What to ask the system for, (N, K) float32 in [0, 1], in the order of its condition names."""


class ExpressionTargets:
    """Draws targets and strengths for faces of numbered classes.

    The condition is strength · target + (1 - strength) · source, as in `augment.plans`. With `keep_label` the two
    change places: the face's own expression keeps the share `strength`, and the target takes the rest.

    Args:
        condition_names: the expressions that the system knows.
        classes: what label 0, 1, ... mean; each is one of the condition names or a synonym of one, or None for a class
            whose faces are left as they are.
        targets: "others" for every other class (with `keep_label`: neutral, so that only the intensity varies), the
            classes to choose from, or for each source class the class or classes to choose from; sources that a
            mapping leaves out are left as they are.
        strength: lowest and highest strength, each in [0.001, 1], drawn evenly between.
        keep_label: whether the label stays.
        vectors: what to ask the system for to get each expression, (E, K) float32 in [0, 1]; by default one-hot.

    Raises:
        EmoaugError: a name that the system or the classes do not have, or a strength out of range.
    """

    def __init__(
        self,
        condition_names: Sequence[str],
        classes: Sequence[str | None],
        targets: Targets,
        strength: tuple[float, float],
        keep_label: bool,
        vectors: Tensor | None = None,
    ) -> None:
        if not isinstance(strength, Sequence) or len(strength) != 2:
            raise EmoaugError(f"strength is {strength!r}; give two numbers, the lower one first, such as (0.5, 1.0)")
        low, high = strength
        if not 0.001 <= low <= high <= 1:
            raise EmoaugError(f"strength is {low} to {high}; give two numbers from 0.001 to 1, the lower one first")
        self.classes = tuple(classes)
        self.strength, self.keep_label = (float(low), float(high)), keep_label
        self._conditions = _condition_places(condition_names, self.classes)
        choices = self._choices(targets, condition_names)
        if not any(choices):
            raise EmoaugError(f"targets {targets!r} ask for no change of {_listed(self.classes)}; name another class")
        widest = max(map(len, choices))
        # Rows shorter than the widest are filled up; a draw never reaches the filling.
        table = torch.tensor([[*row, *([0] * (widest - len(row)))] for row in choices])
        asked = torch.eye(len(condition_names)) if vectors is None else vectors
        shown = asked[torch.tensor(self._conditions).clamp_min(0)]
        self._tables = {torch.device("cpu"): (table, torch.tensor([len(row) for row in choices]), shown)}

    @property
    def count(self) -> int:
        """How many classes there are."""
        return len(self.classes)

    def draw(self, labels: Tensor, uniform: Tensor) -> Change:
        """Decide for every face, on the labels' device and without waiting for it.

        Args:
            labels: (N,) int64, 0 to the number of classes - 1.
            uniform: random numbers in [0, 1), (N, 2): one for the target, one for the strength.
        """
        if labels.device not in self._tables:
            # Once a device: a copy to a GPU waits for it.
            self._tables[labels.device] = tuple(  # type: ignore[assignment]
                tensor.to(labels.device) for tensor in self._tables[torch.device("cpu")]
            )
        table, counts, shown = self._tables[labels.device]
        count = counts[labels]
        # In float32 the product of a number just below 1 may round up to the count itself.
        place = (uniform[:, 0] * count).long().minimum(count - 1).clamp_min(0)
        target = table[labels, place]
        low, high = self.strength
        strength = (low + (high - low) * uniform[:, 1:2]).clamp(low, high)
        main, rest = (labels, target) if self.keep_label else (target, labels)
        conditions = strength * shown[main] + (1 - strength) * shown[rest]
        changed = count > 0
        return Change(changed, labels if self.keep_label else torch.where(changed, target, labels), conditions)

    def __getstate__(self) -> dict[str, object]:
        # Workers have no use for copies on another device.
        cpu = torch.device("cpu")
        return self.__dict__ | {"_tables": {cpu: self._tables[cpu]}}

    def _choices(self, targets: Targets, condition_names: Sequence[str]) -> list[list[int]]:
        """Classes to choose from, for each class."""
        known = [place for place, condition in enumerate(self._conditions) if condition >= 0]
        wishes: dict[int, list[int]]
        if isinstance(targets, Mapping):
            wishes = {}
            for source, wanted in targets.items():
                names = [wanted] if isinstance(wanted, str) else list(wanted)
                wishes[self._place(source)] = [self._place(name) for name in names]
        elif isinstance(targets, str) and targets != "others":
            raise EmoaugError(
                f'targets is "{targets}"; it is "others", a list of classes, or a mapping between classes'
            )
        elif isinstance(targets, str) and self.keep_label:
            neutral = [k for k in known if condition_names[self._conditions[k]] == "neutral"]
            if not neutral:
                raise EmoaugError(
                    f"keep_label varies the intensity towards neutral, which {_listed(self.classes)} lack; "
                    "say with targets=[...] which expression may be mixed in"
                )
            wishes = {k: neutral for k in known}
        else:
            places = known if isinstance(targets, str) else [self._place(name) for name in targets]
            wishes = {k: places for k in known}
        return [[t for t in dict.fromkeys(wishes.get(k, [])) if t != k] for k in range(len(self.classes))]

    def _place(self, name: str) -> int:
        able = [
            c for c, condition in zip(self.classes, self._conditions, strict=True) if condition >= 0 and c is not None
        ]
        known = known_as(name, able)
        if known is None:
            raise EmoaugError(
                f'targets name "{name}", which is none of the classes that can be changed: {_listed(able)}'
            )
        return self.classes.index(known)


def _condition_places(condition_names: Sequence[str], classes: Sequence[str | None]) -> list[int]:
    """Place of each class among the condition names, -1 for a class that is left alone."""
    places = []
    for name in classes:
        if name is None:
            places.append(-1)
            continue
        known = known_as(name, condition_names)
        if known is None:
            raise EmoaugError(
                f'the system was not trained on the class "{name}"; it knows {_listed(condition_names)}. Give None in '
                "its place in classes=[...] to leave its faces as they are"
            )
        places.append(list(condition_names).index(known))
    used = [place for place in places if place >= 0]
    if len(set(used)) < len(used):
        twice = next(condition_names[place] for place in used if used.count(place) > 1)
        raise EmoaugError(f"two of the classes {_listed(classes)} mean {twice}; give None in place of one of them")
    return places


def _listed(names: Sequence[str | None]) -> str:
    return ", ".join(str(name) for name in names)
