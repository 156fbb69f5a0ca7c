"""Training faces in memory, and the batches drawn from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from augment.faces import read_measures
from augment.folders import FaceTable, load_faces
from augment.systems import Batch
from augment.systems.base import Partners
from emoaug import EmoaugError

Choice = TypeVar("Choice")


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory, on the CPU.

    Shapes: faces (N, 3, S, S) uint8; labels (N,) int64 into the condition names; landmarks (N, 478, 2) float32, NaN
    where none are known; attributes (N, A) float32 in [0, 1], what is known of the faces besides their class, a row of
    zeros where nothing is; subjects (N,) int64 into subject_names, -1 where unknown.
    """

    faces: Tensor
    labels: Tensor
    landmarks: Tensor
    classes: int
    attributes: Tensor | None = None
    subjects: Tensor | None = None
    subject_names: tuple[str, ...] = ()
    rows_by_class: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        rows = [(self.labels == c).nonzero().flatten() for c in range(self.classes)]
        object.__setattr__(self, "rows_by_class", [r for r in rows if len(r)])
        if len(self.rows_by_class) < 2:
            raise EmoaugError(
                "training needs faces of at least two expressions; this dataset has one. Add another class"
            )

    @cached_property
    def pairs(self) -> Pairs:
        """Who has pictures of two or more expressions."""
        return Pairs.among(self.labels, self.subjects)

    def check_partners(self, partners: Partners) -> None:
        """Raise EmoaugError unless these faces have the partners that a system asks for."""
        if partners == "same subject":
            self.pairs.check(len(self.faces))

    def batch(self, generator: torch.Generator, size: int, jitter: float, partners: Partners = "none") -> Batch:
        """Draw faces of all classes alike, each with a target that it does not show, and vary them.

        Face and landmarks are flipped and moved as one. Partners are, for `same subject`, another picture of the person
        with another expression, which is the target; of that person's expressions all are drawn alike, people who have
        but one are not drawn, and face and partner are flipped and varied alike, as they are to be compared pixel by
        pixel. For `anyone`, the partner is with probability 1/2 the same picture, as IP-GAN's training alternates, else
        any other, labelled or not; face and partner are varied apart.

        Args:
            generator: source of every draw.
            size: faces to draw.
            jitter: strength of the variation beside the flip; 0 is none.
            partners: the second face that comes with each.
        """
        self.check_partners(partners)
        if partners == "same subject":
            rows, others = self.pairs.draw(generator, size)
            faces, seconds, points = self._varied_alike(rows, others, jitter, generator)
            batch = self._labelled(rows, self.labels[others], faces, points)
            return self._with_partners(batch, seconds, rows, others)
        rows, targets = self._draw(generator, size)
        faces, points = vary(self._floats(rows), self.landmarks[rows], jitter, generator)
        batch = self._labelled(rows, targets, faces, points)
        if partners == "none":
            return batch
        same = torch.rand(size, generator=generator) < 0.5
        step = torch.randint(1, len(self.faces), (size,), generator=generator)
        others = torch.where(same, rows, (rows + step) % len(self.faces))
        second, _ = vary(self._floats(others), self.landmarks[others], jitter, generator)
        return self._with_partners(batch, second, rows, others)

    def _draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Rows of faces of all classes alike, and for each a class that it does not show."""
        which_class = torch.randint(len(self.rows_by_class), (n,), generator=generator)
        draws = torch.rand(n, generator=generator).tolist()
        rows = torch.stack(
            [
                self.rows_by_class[c][int(u * len(self.rows_by_class[c]))]
                for c, u in zip(which_class.tolist(), draws, strict=True)
            ]
        )
        # Only what some face shows: the critic knows nothing of the rest, and a system cannot learn it.
        step = torch.randint(1, len(self.rows_by_class), (n,), generator=generator)
        present = torch.tensor([int(self.labels[rows_of[0]]) for rows_of in self.rows_by_class])
        return rows, present[(which_class + step) % len(present)]

    def _floats(self, rows: Tensor) -> Tensor:
        return self.faces[rows].float().div_(127.5).sub_(1)

    def _varied_alike(
        self, rows: Tensor, others: Tensor, jitter: float, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        # One stack of channels: one variation for both.
        both = torch.cat([self._floats(rows), self._floats(others)], 1)
        both, points = vary(both, self.landmarks[rows], jitter, generator)
        return both[:, :3], both[:, 3:], points

    def pictures_of(
        self, rows: Tensor, others: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Two sets of faces (N, 3, S, S) in [-1, 1], as they are, or each two of them varied alike."""
        if generator is None:
            return self._floats(rows), self._floats(others)
        return self._varied_alike(rows, others, 1.0, generator)[:2]

    def _labelled(self, rows: Tensor, targets: Tensor, faces: Tensor, points: Tensor) -> Batch:
        one_hot = nn.functional.one_hot
        conditions, wanted = one_hot(self.labels[rows], self.classes), one_hot(targets, self.classes)
        attributes = None if self.attributes is None else self.attributes[rows]
        return Batch(faces, conditions.float(), wanted.float(), points, attributes, self._subjects(rows))

    def _subjects(self, rows: Tensor) -> Tensor:
        return torch.full((len(rows),), -1) if self.subjects is None else self.subjects[rows]

    def _with_partners(self, batch: Batch, partners: Tensor, rows: Tensor, others: Tensor) -> Batch:
        labels = self.labels[others]
        shown = nn.functional.one_hot(labels.clamp_min(0), self.classes).float() * (labels >= 0)[:, None]
        return replace(
            batch,
            partners=partners,
            partner_conditions=shown,
            partner_subjects=self._subjects(others),
            same_picture=rows == others,
        )


@dataclass(frozen=True)
class Pairs:
    """Pictures of one person with different expressions."""

    rows_by_class: list[list[int]]
    """For each class that has any, the faces whose person also shows another class."""
    others: dict[int, dict[int, list[int]]]
    """For each such face, by row, the rows of the person's pictures of each other class."""

    @classmethod
    def among(cls, labels: Tensor, subjects: Tensor | None) -> Pairs:
        """Find the pairs among faces of labels (N,) and subjects (N,), either -1 where unknown."""
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
        return cls([by_class[c] for c in sorted(by_class)], others)

    def check(self, faces: int) -> None:
        """Raise EmoaugError if there are none among so many faces."""
        if not self.rows_by_class:
            raise EmoaugError(
                f"this system learns from pictures of one person with different expressions; of {faces} faces here, "
                "none has such a partner. Name the people in a subject column of metadata.csv or with "
                "--subject-pattern, or make such faces: emoaug simulate --per-subject K"
            )

    def draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Rows of faces, of all classes alike, and of a partner for each, of the person's other classes alike."""
        rows, partners = [], []
        for which in torch.rand(n, 4, generator=generator, dtype=torch.float64).tolist():
            row = _pick(_pick(self.rows_by_class, which[0]), which[1])
            rows.append(row)
            partners.append(_pick(_pick(list(self.others[row].values()), which[2]), which[3]))
        return torch.tensor(rows), torch.tensor(partners)

    def towards(self, label: int, most: int) -> tuple[Tensor, Tensor]:
        """Rows of every face with every partner of one class, or of `most` of these pairs, evenly spread."""
        faces = [(row, rest[label]) for row, rest in sorted(self.others.items()) if label in rest]
        ends = np.cumsum([len(partners) for _, partners in faces], dtype=np.int64)
        total = int(ends[-1]) if len(ends) else 0
        places = np.arange(total) if total <= most else np.linspace(0, total - 1, most).round().astype(np.int64)
        which = np.searchsorted(ends, places, side="right")
        rows = [faces[i][0] for i in which]
        others = [faces[i][1][place - ends[i]] for i, place in zip(which, places, strict=True)]
        return torch.tensor(rows, dtype=torch.long), torch.tensor(others, dtype=torch.long)


def _pick(choices: Sequence[Choice], share: float) -> Choice:
    return choices[int(share * len(choices))]


def vary(faces: Tensor, points: Tensor, jitter: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, rotate, scale, shift and light faces (N, 3, S, S) in [-1, 1], and take their landmarks (N, L, 2) along."""
    n = len(faces)

    def draw(spread: float) -> Tensor:
        return (torch.rand(n, generator=generator) * 2 - 1) * spread * jitter

    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    angle, zoom = draw(math.radians(6)), 1 + draw(0.06)
    move = torch.stack([draw(0.05), draw(0.05)], 1)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # The grid asks where an output pixel comes from: p_in = A p_out + t; landmarks go the other way.
    a = torch.stack([torch.stack([mirror * cos, -mirror * sin], 1), torch.stack([sin, cos], 1)], 1)
    theta = torch.cat([a, move.unsqueeze(2)], 2)
    grid = nn.functional.affine_grid(theta, list(faces.shape), align_corners=False)
    moved = nn.functional.grid_sample(faces, grid, padding_mode="reflection", align_corners=False)
    contrast, brightness = (1 + draw(0.15)).view(n, 1, 1, 1), draw(0.15).view(n, 1, 1, 1)
    moved = (moved * contrast + brightness).clamp(-1, 1)
    # A mirrored face keeps the numbers of its landmarks: maps drawn from them do not ask which side is the left.
    return moved, torch.einsum("nij,nlj->nli", torch.linalg.inv(a), points - move.unsqueeze(1))


def load_training_faces(faces: FaceTable, condition_names: tuple[str, ...], size: int) -> TrainingFaces:
    """Read a dataset into memory.

    Args:
        faces: the training faces; labels must be among the condition names.
        condition_names: order of the classes.
        size: side to which the pictures are resized, pixels.

    Raises:
        EmoaugError: no faces, a label outside the names, or a picture that cannot be read.
    """
    if not len(faces):
        raise EmoaugError("no faces to train on; are they all in the test split?")
    outside = sorted(set(faces.table.label) - set(condition_names))
    if outside:
        raise EmoaugError(f"labels {', '.join(outside)} are not among {', '.join(condition_names)}")
    points = landmarks_of(faces)
    if not points.isfinite().all((1, 2)).any():
        raise EmoaugError(
            f"{faces.root}: no landmarks (faces.npz) beside the pictures; run: emoaug align {faces.root} OUT"
        )
    labels = torch.tensor([condition_names.index(label) for label in faces.table.label])
    subjects, subject_names = subjects_of(faces)
    pixels = torch.from_numpy(load_faces(faces, size))
    return TrainingFaces(pixels, labels, points, len(condition_names), subjects=subjects, subject_names=subject_names)


def check_partners(faces: FaceTable, partners: Partners) -> None:
    """Raise EmoaugError, before a picture is read, unless a dataset has the partners that a system asks for."""
    if partners == "same subject":
        Pairs.among(torch.from_numpy(faces.label_indices()), subjects_of(faces)[0]).check(len(faces))


def subjects_of(faces: FaceTable) -> tuple[Tensor, tuple[str, ...]]:
    """Number the people from 0 in the order of their names: (N,) int64, -1 where unknown, and the names."""
    subjects = faces.table.subject
    names = tuple(sorted({str(subject) for subject in subjects.dropna()}))
    places = {name: i for i, name in enumerate(names)}
    numbers = [-1 if pd.isna(subject) else places[str(subject)] for subject in subjects]
    return torch.tensor(numbers, dtype=torch.long), names


def landmarks_of(faces: FaceTable) -> Tensor:
    """Landmarks (N, 478, 2) float32 in [-1, 1] that lie beside a dataset's pictures; NaN where none are known."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    points = np.full((len(faces), 478, 2), np.nan, np.float32) if measures is None else measures.landmarks[..., :2]
    return torch.from_numpy(np.ascontiguousarray(points, np.float32))
