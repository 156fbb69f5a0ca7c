"""Pictures of one person: who has several, and which two make a pair for training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from emoaug import EmoaugError

Choice = TypeVar("Choice")


_ALIKE = 1.5
"""How much farther than the nearest a partner may be."""


@dataclass(frozen=True)
class Pairs:
    """Pictures of one person with different expressions.

    Of several pictures of the person that show a class, partners are those that are most alike: of a person who was
    taken from the left and from the front, a pair should differ in the expression and not in the pose.
    """

    rows_by_class: list[list[int]]
    """For each class that has any, the faces whose person also shows another class."""
    others: dict[int, dict[int, list[int]]]
    """For each such face, by row, the rows of the person's pictures of each other class."""
    thumbnails: Tensor | None = None
    """All faces, small, (N, D); None where nobody asks which are alike."""

    @classmethod
    def among(cls, labels: Tensor, subjects: Tensor | None, faces: Tensor | None = None) -> Pairs:
        """Find the pairs among faces (N, 3, S, S) of labels (N,) and subjects (N,), either -1 where unknown."""
        shows: dict[int, dict[int, list[int]]] = {}
        people = [-1] * len(labels) if subjects is None else subjects.tolist()
        for row, (label, who) in enumerate(zip(labels.tolist(), people, strict=True)):
            if label >= 0 and who >= 0:
                shows.setdefault(who, {}).setdefault(label, []).append(row)
        by_class: dict[int, list[int]] = {}
        others: dict[int, dict[int, list[int]]] = {}
        for classes in shows.values():
            for label, rows in classes.items():
                if len(classes) > 1:
                    by_class.setdefault(label, []).extend(rows)
                    rest = {c: classes[c] for c in sorted(classes) if c != label}
                    others.update(dict.fromkeys(rows, rest))
        small = None if faces is None or not others else thumbnails(faces)
        return cls([by_class[c] for c in sorted(by_class)], others, small)

    def _alike(self, row: int, partners: list[int]) -> list[int]:
        """Of these partners of a face those that are most alike."""
        if self.thumbnails is None or len(partners) == 1:
            return partners
        apart = (self.thumbnails[partners] - self.thumbnails[row]).abs().mean(1)
        near = (apart <= _ALIKE * apart.min()).tolist()
        return [partner for partner, chosen in zip(partners, near, strict=True) if chosen]

    def check(self, faces: int) -> None:
        """Raise EmoaugError if there are none among so many faces."""
        if not self.rows_by_class:
            raise _nobody_twice(faces)

    def draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Rows of faces, of all classes alike, and of a partner for each, of the person's other classes alike."""
        rows, partners = [], []
        for which in torch.rand(n, 4, generator=generator, dtype=torch.float64).tolist():
            row = _pick(_pick(self.rows_by_class, which[0]), which[1])
            rows.append(row)
            partners.append(_pick(self._alike(row, _pick(list(self.others[row].values()), which[2])), which[3]))
        return torch.tensor(rows), torch.tensor(partners)

    def partners(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """A partner (N,) for each of these faces (N,), of the person's other classes alike; -1 where there is none."""
        found = [-1] * len(rows)
        draws = torch.rand(len(rows), 2, generator=generator, dtype=torch.float64).tolist()
        for i, (row, which) in enumerate(zip(rows.tolist(), draws, strict=True)):
            if row in self.others:
                found[i] = _pick(self._alike(row, _pick(list(self.others[row].values()), which[0])), which[1])
        return torch.tensor(found)

    def showing(self, rows: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
        """For each of these faces (N,) a picture of the person with the label (N,), of several alike; -1 for none."""
        found = [-1] * len(rows)
        draws = torch.rand(len(rows), generator=generator, dtype=torch.float64).tolist()
        for i, (row, label, which) in enumerate(zip(rows.tolist(), labels.tolist(), draws, strict=True)):
            choices = self.others.get(row, {}).get(label)
            if choices:
                found[i] = _pick(self._alike(row, choices), which)
        return torch.tensor(found)

    def towards(self, label: int, most: int) -> tuple[Tensor, Tensor]:
        """Rows of every face with every partner of one class, or of `most` of these pairs, evenly spread."""
        faces = [(row, self._alike(row, rest[label])) for row, rest in sorted(self.others.items()) if label in rest]
        ends = np.cumsum([len(partners) for _, partners in faces], dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        places = np.arange(total) if total <= most else np.linspace(0, total - 1, most).round().astype(np.int64)
        which = np.searchsorted(ends, places, side="right")
        rows = [faces[i][0] for i in which]
        others = [faces[i][1][place - ends[i]] for i, place in zip(which, places, strict=True)]
        return torch.tensor(rows, dtype=torch.long), torch.tensor(others, dtype=torch.long)


@dataclass(frozen=True)
class Company:
    """Pictures of people who have several, whatever these show.

    Shapes: rows (R,) int64, person by person; first and count (R,) int64, for each place in `rows` the place of the
    person's first picture there and the number of the person's pictures.
    """

    rows: Tensor
    first: Tensor
    count: Tensor

    @classmethod
    def among(cls, subjects: Tensor) -> Company:
        """Find them among faces of subjects (N,), -1 where unknown."""
        rows = subjects.argsort(stable=True)
        _, person, count = subjects[rows].unique_consecutive(return_inverse=True, return_counts=True)
        known = (subjects[rows] >= 0) & (count[person] > 1)
        rows, person = rows[known], person[known]
        _, person, count = person.unique_consecutive(return_inverse=True, return_counts=True)
        return cls(rows, (count.cumsum(0) - count)[person], count[person])

    def check(self, faces: int) -> None:
        """Raise EmoaugError if there are none among so many faces."""
        if not len(self.rows):
            raise _nobody_twice(faces)

    def draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Rows of faces, all alike, and of another picture of the person for each, of all these alike."""
        places = torch.randint(len(self.rows), (n,), generator=generator)
        first, count = self.first[places], self.count[places]
        step = 1 + (torch.rand(n, generator=generator, dtype=torch.float64) * (count - 1)).long()
        return self.rows[places], self.rows[first + (places - first + step) % count]


def thumbnails(faces: Tensor) -> Tensor:
    """Faces (N, 3, S, S) uint8 as 8×8 squares of mean colour, (N, 192) in [-1, 1]."""
    small = [F.adaptive_avg_pool2d(part.float(), 8).flatten(1) for part in faces.split(1024)]
    return torch.cat(small).div_(127.5).sub_(1)


def _nobody_twice(faces: int) -> EmoaugError:
    return EmoaugError(
        f"this system learns from pictures of one person with different expressions; of {faces} faces here, "
        "none has such a partner. Name the people in a subject column of metadata.csv or with "
        "--subject-pattern, or make such faces: emoaug simulate --per-subject K"
    )


def _pick(choices: Sequence[Choice], share: float) -> Choice:
    return choices[int(share * len(choices))]
