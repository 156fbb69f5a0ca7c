"""Training faces in memory, and the batches drawn from them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from augment.faces import read_measures
from augment.folders import FaceTable, load_faces
from augment.systems import Batch
from emoaug import EmoaugError


@dataclass(frozen=True)
class TrainingFaces:
    """Faces in memory, on the CPU.

    Shapes: faces (N, 3, S, S) uint8; labels (N,) int64 into the condition names; landmarks (N, 478, 2) float32, NaN
    where none are known; attributes (N, A) float32 in [0, 1], what is known of the faces besides their class, a row of
    zeros where nothing is.
    """

    faces: Tensor
    labels: Tensor
    landmarks: Tensor
    classes: int
    attributes: Tensor | None = None
    rows_by_class: list[Tensor] = field(init=False)

    def __post_init__(self) -> None:
        rows = [(self.labels == c).nonzero().flatten() for c in range(self.classes)]
        object.__setattr__(self, "rows_by_class", [r for r in rows if len(r)])
        if len(self.rows_by_class) < 2:
            raise EmoaugError(
                "training needs faces of at least two expressions; this dataset has one. Add another class"
            )

    def batch(self, generator: torch.Generator, size: int, jitter: float) -> Batch:
        """Draw faces of all classes alike, each with a target that it does not show, and vary them.

        Face and landmarks are flipped and moved as one.

        Args:
            generator: source of every draw.
            size: faces to draw.
            jitter: strength of the variation beside the flip; 0 is none.
        """
        n, classes = size, self.classes
        which_class = torch.randint(len(self.rows_by_class), (n,), generator=generator)
        draws = torch.rand(n, generator=generator).tolist()
        rows = torch.stack(
            [
                self.rows_by_class[c][int(u * len(self.rows_by_class[c]))]
                for c, u in zip(which_class.tolist(), draws, strict=True)
            ]
        )
        labels = self.labels[rows]
        # Only what some face shows: the critic knows nothing of the rest, and a system cannot learn it.
        step = torch.randint(1, len(self.rows_by_class), (n,), generator=generator)
        present = torch.tensor([int(self.labels[rows_of[0]]) for rows_of in self.rows_by_class])
        targets = present[(which_class + step) % len(present)]
        faces = self.faces[rows].float().div_(127.5).sub_(1)
        faces, points = vary(faces, self.landmarks[rows], jitter, generator)
        one_hot = nn.functional.one_hot
        attributes = None if self.attributes is None else self.attributes[rows]
        return Batch(faces, one_hot(labels, classes).float(), one_hot(targets, classes).float(), points, attributes)


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
    return TrainingFaces(torch.from_numpy(load_faces(faces, size)), labels, points, len(condition_names))


def landmarks_of(faces: FaceTable) -> Tensor:
    """Landmarks (N, 478, 2) float32 in [-1, 1] that lie beside a dataset's pictures; NaN where none are known."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    points = np.full((len(faces), 478, 2), np.nan, np.float32) if measures is None else measures.landmarks[..., :2]
    return torch.from_numpy(np.ascontiguousarray(points, np.float32))
