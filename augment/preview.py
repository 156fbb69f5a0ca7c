"""A first look: what a system makes of a few photographs, before anything is aligned or trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from augment.expressions import known_as
from augment.face_frames import Aligned, Square, as_array, middle_square
from augment.faces import align_matrix
from augment.landmarker import FaceLandmarker
from augment.pictures import read_picture
from augment.shared_translator import SharedTranslator
from emoaug import EmoaugError

REACH = 0.75
"""Half the side of what is shown around a face, as a share of the face's: an upright square fits in, however turned."""


class Photograph(NamedTuple):
    """A picture with a face."""

    picture: np.ndarray
    """uint8 RGB, (H, W, 3)."""
    rows: slice
    columns: slice
    """The face with its surroundings: all that changes, and what is shown."""
    frame: Aligned | Square
    """Where in there the face is."""

    def shown(self, picture: np.ndarray, side: int) -> np.ndarray:
        """The face with its surroundings in a picture of the same size, its longer side scaled to `side` pixels."""
        cut = picture[self.rows, self.columns]
        scale = side / max(cut.shape[:2])
        size = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
        return cv2.resize(cut, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)

    def changed(self, system: SharedTranslator, condition: Tensor) -> np.ndarray:
        """The photograph with what a system makes of its face, asked for a condition (K,) in [0, 1]."""
        cut = torch.from_numpy(self.picture[self.rows, self.columns]).permute(2, 0, 1)[None].float() / 255
        made = system.change(cut, self.frame, condition[None])
        if not bool(made.isfinite().all()):
            raise EmoaugError(f"{system.name} made a picture with undefined values; train it again")
        picture = self.picture.copy()
        picture[self.rows, self.columns] = as_array(made)
        return picture


def read_photograph(path: Path, landmarker: FaceLandmarker | None, longest: int | None = None) -> Photograph | None:
    """Read a photograph and find its largest face; None where there is no face.

    Args:
        path: the picture.
        landmarker: what finds the face; None takes the largest square in the middle for it, as in a dataset of faces.
        longest: pixels of the longer side that are enough of the face with its surroundings, to which more of them are
            reduced; all is kept by default.

    Raises:
        EmoaugError: the file cannot be read, or is no picture.
    """
    picture = read_picture(path)
    height, width = picture.shape[:2]
    if landmarker is None:
        picture = _reduced(picture, longest)
        height, width = picture.shape[:2]
        return Photograph(picture, slice(0, height), slice(0, width), middle_square(height, width))
    found = landmarker.detect(picture)
    if found is None:
        return None
    side = Aligned(found.landmarks).side
    matrix = align_matrix(found.landmarks, 1)
    centre = np.linalg.solve(matrix[:, :2], 0.5 - matrix[:, 2])
    left, top = np.floor(centre - REACH * side).clip(0).astype(int)
    right, bottom = np.ceil(centre + REACH * side).astype(int)
    landmarks = found.landmarks.copy()
    landmarks[:, :2] -= (left, top)
    rows, columns = slice(top, min(bottom, height)), slice(left, min(right, width))
    if longest is not None:
        cut = picture[rows, columns]
        picture = _reduced(cut, longest)
        rows, columns = (slice(0, side) for side in picture.shape[:2])
        landmarks *= picture.shape[0] / cut.shape[0]
    return Photograph(picture, rows, columns, Aligned(landmarks))


def _reduced(picture: np.ndarray, longest: int | None) -> np.ndarray:
    """A picture with a longer side of at most so many pixels."""
    scale = 1.0 if longest is None else longest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def asked_of(system: SharedTranslator, targets: Sequence[str], strength: float) -> Mapping[str, Tensor]:
    """What to ask a system for, by name: conditions (K,) in [0, 1].

    Args:
        system: the system.
        targets: expressions that it knows, or blends of them in equal parts, such as "happy+surprise"; none are all.
        strength: share of the expression, in (0, 1]; the rest is neutral.

    Raises:
        EmoaugError: an expression that it does not know, or a strength out of range, or no neutral to mix it with.
    """
    system.needs("translate", "a change of expression")
    names, vectors = system.expressions()
    if not 0 < strength <= 1:
        raise EmoaugError(f"strength is {strength}; it is above 0, and at most 1")
    if strength < 1 and "neutral" not in names:
        raise EmoaugError(f"a strength below 1 mixes with neutral, and the system knows {', '.join(names)} only")
    asked = {}
    for target in targets or names:
        places = [names.index(_known(part, names)) for part in target.split("+")]
        asked[target] = strength * vectors[places].mean(0)
        if strength < 1:
            asked[target] = asked[target] + (1 - strength) * vectors[names.index("neutral")]
    return asked


def _known(name: str, names: Sequence[str]) -> str:
    """The system's own name of an expression."""
    known = known_as(name, names)
    if known is None:
        raise EmoaugError(f'targets name "{name}", which the weights do not know; they know {", ".join(names)}')
    return known
