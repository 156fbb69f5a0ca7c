"""Training faces in memory, and the batches drawn from them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from shlex import quote

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from augment.faces import read_measures
from augment.folders import HELD_OUT_SPLITS, ORIGINS, FaceTable, load_faces
from augment.intensities import IntensityScale
from augment.measured_conditions import measured_conditions
from augment.pairs import Company, Pairs
from augment.ranks import mine
from augment.systems import Batch
from augment.systems.base import Partners
from augment.variation import Variation, vary
from emoaug import EmoaugError, few


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory, on the CPU.

    Shapes: faces (N, 3, S, S) uint8; labels (N,) int64 into the condition names; landmarks (N, 478, 2) float32, NaN
    where none are known; attributes (N, A) float32 in [0, 1], what is known of the faces besides their class, a row of
    zeros where nothing is; subjects (N,) int64 into subject_names, -1 where unknown; intensities (N, classes) float32
    in [0, 1], what was measured on each face, None where its class is the condition. Where they are given, labels do
    not matter. groups (N,) int64 are drawn alike within their class, and their faces are asked for what their group
    shows; None to draw all faces of a class alike.
    """

    faces: Tensor
    labels: Tensor
    landmarks: Tensor
    classes: int
    attributes: Tensor | None = None
    subjects: Tensor | None = None
    subject_names: tuple[str, ...] = ()
    intensities: Tensor | None = None
    groups: Tensor | None = None
    part: bool = False
    """Whether these are part of what is trained on, and may show one expression."""
    rows_by_class: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        rows = [(self.labels == c).nonzero().flatten() for c in range(self.classes)]
        if self.groups is not None:
            rows = [evened_out(r, self.groups[r]) for r in rows]
        object.__setattr__(self, "rows_by_class", [r for r in rows if len(r)])
        if self.intensities is not None and len(self.faces) < 2:
            raise EmoaugError("training needs two measured faces or more; add faces")
        if self.intensities is None and len(self.rows_by_class) < 2 and not self.part:
            raise EmoaugError(
                "training needs faces of at least two expressions; this dataset has one. Add another class"
            )

    @cached_property
    def pairs(self) -> Pairs:
        """Who has pictures of two or more expressions."""
        found = Pairs.among(self.labels, self.subjects, self.faces)
        if self.groups is None:
            return found
        rows = [evened_out(torch.tensor(r), self.groups[r]).tolist() for r in found.rows_by_class]
        return replace(found, rows_by_class=rows)

    @cached_property
    def shown_by_group(self) -> dict[int, Tensor]:
        """The classes that each group shows."""
        assert self.groups is not None
        return {
            int(group): self.labels[(self.groups == group) & (self.labels >= 0)].unique()
            for group in self.groups.unique()
        }

    @cached_property
    def company(self) -> Company:
        """Who has two pictures or more."""
        return Company.among(self._subjects(torch.arange(len(self.faces))))

    def check_partners(self, partners: Partners) -> None:
        """Raise EmoaugError unless these faces have the partners that a system asks for."""
        if partners == "same subject":
            (self.pairs if self.intensities is None else self.company).check(len(self.faces))

    def batch(
        self,
        generator: torch.Generator,
        size: int,
        variation: Variation,
        partners: Partners = "none",
        own_share: float = 0.0,
    ) -> Batch:
        """Draw faces of all classes alike, each with a target that it does not show, and vary them.

        Of measured faces all are drawn alike, and the target is what another one shows, so that targets are
        distributed as faces are.

        Face and landmarks are flipped and moved as one. Partners are, for `same subject`, another picture of the person
        with another expression, which is the target; of that person's expressions all are drawn alike (of measured
        faces, all other pictures of the person), people who have but one are not drawn, and face and partner are
        flipped and varied alike, as they are to be compared pixel by pixel. For `same subject if any`, faces and
        targets are drawn as without partners, and the partner is a picture of the person that shows the target, varied
        alike; the same picture where there is none. For `anyone`, a share of the partners are the person's picture with
        another expression, where there is one; of the rest half are the same picture, as IP-GAN's training alternates;
        both are varied as the face is. Else it is any other, labelled or not, varied apart.

        Args:
            generator: source of every draw.
            size: faces to draw; of several processes that share batches, all together, and each gets its own.
            variation: how faces are varied.
            partners: the second face that comes with each.
            own_share: probability of the person's picture with another expression, for `anyone`.
        """
        self.check_partners(partners)
        if partners == "same subject":
            pairs = self.pairs if self.intensities is None else self.company
            whole, others = pairs.draw(generator, size)
            wanted = self.conditions(others)
        else:
            whole, wanted = self._draw(generator, size)
            others = whole
        if partners == "same subject if any":
            found = self._showing(wanted, whole, generator)
            others = torch.where(found < 0, whole, found)
        rows, targets = mine(whole), mine(wanted)
        before = generator.get_state()
        faces, points = self._varied(rows, variation, generator)
        batch = self._batch(rows, targets, faces, points)
        if partners == "none":
            return batch
        alone = None
        if partners == "anyone":
            others, alone = self._anyone(whole, own_share, generator)
        others = mine(others)
        second, points = self._varied(others, variation, torch.Generator().set_state(before))
        if alone is not None:
            apart, points_apart = self._varied(others, variation, generator)
            second = torch.where(alone.view(-1, 1, 1, 1), apart, second)
            points = torch.where(alone.view(-1, 1, 1), points_apart, points)
        return replace(
            batch,
            partners=second,
            partner_conditions=self.conditions(others),
            partner_subjects=self._subjects(others),
            partner_landmarks=points,
            same_picture=rows == others,
        )

    def _anyone(self, rows: Tensor, own_share: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Partners for `anyone`, and which of mine are varied apart."""
        n = len(rows)
        draws = torch.rand(n, generator=generator)
        step = torch.randint(1, len(self.faces), (n,), generator=generator)
        same = draws < (1 - own_share) / 2
        others = torch.where(same, rows, (rows + step) % len(self.faces))
        of_person = self.pairs.partners(rows, generator)
        own = (draws >= 1 - own_share) & (of_person >= 0)
        return torch.where(own, of_person, others), mine(~same & ~own)

    def _showing(self, wanted: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
        """For each of these faces a picture of the person with the class wanted (N, K), -1 where there is none.

        Measured faces have none: no two pictures show the same.
        """
        if self.intensities is not None:
            return torch.full_like(rows, -1)
        return self.pairs.showing(rows, wanted.argmax(1), generator)

    def _draw(self, generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
        """Rows of faces of all classes alike, and for each the condition (n, K) of what it does not show."""
        if self.intensities is not None:
            rows = torch.randint(len(self.faces), (n,), generator=generator)
            step = torch.randint(1, len(self.faces), (n,), generator=generator)
            return rows, self.conditions((rows + step) % len(self.faces))
        which_class = torch.randint(len(self.rows_by_class), (n,), generator=generator)
        draws = torch.rand(n, generator=generator).tolist()
        rows = torch.stack(
            [
                self.rows_by_class[c][int(u * len(self.rows_by_class[c]))]
                for c, u in zip(which_class.tolist(), draws, strict=True)
            ]
        )
        return rows, self._one_hot(self._targets(rows, which_class, generator))

    def _targets(self, rows: Tensor, shown: Tensor, generator: torch.Generator) -> Tensor:
        """For faces of these rows (n,), which show these of `rows_by_class`, another class, (n,)."""
        # Only what some face shows: the critic knows nothing of the rest, and a system cannot learn it.
        step = torch.randint(1, len(self.rows_by_class), (len(rows),), generator=generator)
        present = torch.tensor([int(self.labels[rows_of[0]]) for rows_of in self.rows_by_class])
        targets = present[(shown + step) % len(present)]
        if self.groups is None:
            return targets
        # Of a class that one group alone shows, the critic would take all that tells the groups apart for signs.
        draws = torch.rand(len(rows), generator=generator)
        for place, row in enumerate(rows.tolist()):
            others = self.shown_by_group[int(self.groups[row])]
            others = others[others != self.labels[row]]
            if len(others):
                targets[place] = others[int(draws[place] * len(others))]
        return targets

    def _floats(self, rows: Tensor) -> Tensor:
        return self.faces[rows].float().div_(127.5).sub_(1)

    def _varied(self, rows: Tensor, variation: Variation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        return vary(self._floats(rows), self.landmarks[rows], variation, generator)

    def pictures_of(
        self, rows: Tensor, others: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Two sets of faces (N, 3, S, S) in [-1, 1], as they are, or each two of them varied alike, in their frame."""
        if generator is None:
            return self._floats(rows), self._floats(others)
        before, variation = generator.get_state(), Variation(framing=0.0)
        faces, _ = self._varied(rows, variation, generator)
        return faces, self._varied(others, variation, torch.Generator().set_state(before))[0]

    def conditions(self, rows: Tensor) -> Tensor:
        """What faces show, (n, K) float32 in [0, 1]; zeros for a face without a label."""
        return self._one_hot(self.labels[rows]) if self.intensities is None else self.intensities[rows]

    def _one_hot(self, labels: Tensor) -> Tensor:
        return nn.functional.one_hot(labels.clamp_min(0), self.classes).float() * (labels >= 0)[:, None]

    def _batch(self, rows: Tensor, targets: Tensor, faces: Tensor, points: Tensor) -> Batch:
        attributes = None if self.attributes is None else self.attributes[rows]
        known = bool(points.isfinite().all())
        return Batch(
            faces, self.conditions(rows), targets, points, attributes, self._subjects(rows), all_landmarks=known
        )

    def _subjects(self, rows: Tensor) -> Tensor:
        return torch.full((len(rows),), -1) if self.subjects is None else self.subjects[rows]


def evened_out(rows: Tensor, groups: Tensor) -> Tensor:
    """Repeat rows (N,) until each of their groups (N,) is as large as the largest."""
    parts = [rows[groups == group] for group in groups.unique()]
    largest = max(map(len, parts), default=0)
    return torch.cat([part[torch.arange(largest) % len(part)] for part in parts] or [rows])


def load_training_faces(
    faces: FaceTable,
    condition_names: tuple[str, ...],
    size: int,
    scale: IntensityScale | None = None,
    part: bool = False,
) -> TrainingFaces:
    """Read a dataset into memory.

    Args:
        faces: the training faces; labels, where there are any, must be among the condition names, or, with a scale,
            all faces be measured.
        condition_names: order of the classes, or the names of the scale.
        size: side to which the pictures are resized, pixels.
        scale: turns what was measured on the faces into conditions; None where conditions are classes.
        part: whether others are put `side_by_side` with them.

    Raises:
        EmoaugError: no faces, a label outside the names, or a picture that cannot be read.
    """
    if not len(faces):
        raise EmoaugError(f"{faces.root}: no faces to train on; are they all in the test split?")
    outside = sorted(set(faces.table.label.dropna()) - set(condition_names)) if scale is None else []
    if outside:
        raise EmoaugError(f"labels {', '.join(outside)} are not among {', '.join(condition_names)}")
    points = measured_landmarks(faces)
    if scale is None:
        places = {name: i for i, name in enumerate(condition_names)}
        labels = torch.tensor([-1 if pd.isna(label) else places[label] for label in faces.table.label])
        intensities = None
    else:
        labels, intensities = torch.full((len(faces),), -1), torch.from_numpy(measured_conditions(faces, scale))
    subjects, subject_names = subjects_of(faces)
    pixels = torch.from_numpy(load_faces(faces, size))
    return TrainingFaces(
        *(pixels, labels, points, len(condition_names)),
        subjects=subjects,
        subject_names=subject_names,
        intensities=intensities,
        part=part,
    )


def measured_landmarks(faces: FaceTable) -> Tensor:
    """The landmarks that systems learn with, (N, L, 2); EmoaugError where they were measured on none of the faces."""
    points = landmarks_of(faces)
    if not points.isfinite().all((1, 2)).any():
        raise EmoaugError(
            f"{faces.root}: no landmarks (faces.npz) beside the pictures; "
            f"run: emoaug align {quote(str(faces.root))} OUT"
        )
    return points


def side_by_side(own: TrainingFaces, also: TrainingFaces) -> TrainingFaces:
    """Put the faces of two datasets together, whose classes are the same.

    Of each class both are drawn as often, and faces are asked for classes of their own dataset.

    Args:
        own: faces whose conditions are classes.
        also: likewise; whoever is in both is taken for two people.

    Raises:
        EmoaugError: both together show one expression only.
    """
    assert own.attributes is also.attributes is own.intensities is also.intensities is own.groups is None
    assert own.subjects is not None
    assert also.subjects is not None
    strangers = torch.where(also.subjects < 0, -1, also.subjects + len(own.subject_names))
    return TrainingFaces(
        torch.cat([own.faces, also.faces]),
        torch.cat([own.labels, also.labels]),
        torch.cat([own.landmarks, also.landmarks]),
        own.classes,
        subjects=torch.cat([own.subjects, strangers]),
        subject_names=own.subject_names + also.subject_names,
        groups=torch.cat([torch.zeros_like(own.labels), torch.ones_like(also.labels)]),
    )


def check_apart(also: FaceTable, faces: FaceTable) -> None:
    """Raise EmoaugError if faces to learn from have to do with those that a dataset holds out.

    Args:
        also: to learn from.
        faces: the dataset, of which the `val` and `test` splits are held out.
    """
    held_out = faces.select(faces.table.split.isin(HELD_OUT_SPLITS).to_numpy())
    people = set(held_out.table.subject.dropna()) & set(also.table.subject.dropna())
    if people:
        raise EmoaugError(f"{also.root}: it shows {few(people)}, whom {faces.root} holds out")
    if not len(held_out):
        return
    pictures = {held_out.sha256(i) for i in range(len(held_out))}
    origins = [also.table[column].dropna() for *_, column in ORIGINS if column in also.table]
    found = {also.sha256(i) for i in range(len(also))}.union(*origins) & pictures
    if found:
        raise EmoaugError(
            f"{also.root}: {len(found)} of its pictures are, or come from, ones that {faces.root} holds out"
        )


def data_hash(faces: FaceTable) -> str:
    """A hash of what is trained on: each picture's content with its label, who it shows, what was measured on it."""
    known = zip(faces.table.label, faces.table.subject, strict=True)
    rows = (f"{faces.sha256(i)} {json.dumps([str(value) for value in row])}" for i, row in enumerate(known))
    digest = hashlib.sha256("\n".join(rows).encode())
    measures = read_measures(faces.root, list(faces.table.file_name))
    if measures is not None:
        digest.update(measures.landmarks.tobytes())
        digest.update(measures.blendshapes.tobytes())
    return digest.hexdigest()


def check_partners(faces: FaceTable, partners: Partners, measured: bool = False) -> None:
    """Raise EmoaugError, before a picture is read, unless a dataset has the partners that a system asks for.

    Args:
        faces: the training faces.
        partners: what the system asks for.
        measured: whether its conditions are measured, and labels do not matter.
    """
    if partners == "same subject":
        subjects = subjects_of(faces)[0]
        among = Company.among(subjects) if measured else Pairs.among(torch.from_numpy(faces.label_indices()), subjects)
        among.check(len(faces))


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
