"""The sheet of samples that a training run draws now and then."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from augment.folders import FaceTable, load_faces
from augment.pictures import contact_sheet
from augment.systems import Translator
from augment.training_data import TrainingFaces


def sample_sheet(translator: Translator, data: TrainingFaces, device: torch.device) -> np.ndarray:
    """Draw sources on the left, and what is asked of them to the right.

    Columns are the expressions; for measured conditions, faces whose movements are given to the sources, each a strong
    one of its kind. They stand in the first row.

    Args:
        translator: makes the faces, with the weights that it has.
        data: the training faces.
        device: where the translator is.

    Returns:
        uint8 RGB, (H, W, 3).
    """
    if data.intensities is None:
        names = translator.condition_names
        per_class = max(1, 8 // len(names))
        rows = torch.cat([r[:: max(1, len(r) // per_class)][:per_class] for r in data.rows_by_class])
        captions = [names[int(data.labels[r])] for r in rows]
        headings, conditions, exemplars = list(names), translator.condition(list(names)), None
    else:
        rows = torch.linspace(0, len(data.faces) - 1, min(8, len(data.faces))).long()
        captions = [""] * len(rows)
        headings, exemplars = _strong_faces(translator.condition_names, data.intensities)
        conditions = data.intensities[exemplars]
    faces = data.faces[rows].to(device).float() / 127.5 - 1
    columns = [faces, *(translator.translate(faces, c.to(device).expand(len(faces), -1)) for c in conditions)]
    pictures = [list(row) for row in zip(*map(to_pictures, columns), strict=True)]
    if exemplars is not None:
        shown = to_pictures(data.faces[exemplars].float() / 127.5 - 1)
        pictures.insert(0, [np.full_like(shown[0], 255), *shown])
        captions.insert(0, "shown by")
    return contact_sheet(pictures, captions, ["source", *headings])


def load_floats(faces: FaceTable, size: int | None) -> Tensor:
    """Decode all pictures, (N, 3, size, size) float32 in [-1, 1]; see `augment.folders.load_faces`."""
    return torch.from_numpy(load_faces(faces, size)).float() / 127.5 - 1


def to_pictures(faces: Tensor) -> list[np.ndarray]:
    """Faces (N, 3, H, W) in [-1, 1] to uint8 RGB pictures (H, W, 3)."""
    pixels = ((faces.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return list(pixels.permute(0, 2, 3, 1).cpu().numpy())


def _strong_faces(names: tuple[str, ...], intensities: Tensor, most: int = 8) -> tuple[list[str], Tensor]:
    """The movements that vary most, in order, and for each a face at its 95th percentile."""
    chosen = intensities.std(0).argsort(descending=True)[:most].sort().values
    place = round(0.95 * (len(intensities) - 1))
    return [names[i] for i in chosen], intensities[:, chosen].argsort(0)[place]
