"""The square of a picture that a system changes, and how what it made goes back into the picture.

Pictures are (N, C, H, W) float32 in [0, 1].
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import get_worker_info

from augment.faces import align_matrix, align_picture
from augment.networks import scaled
from emoaug import EmoaugError

FEATHER = 0.15
"""Width of the border in which a changed face fades into its picture, as a share of the square's side."""
DETAIL_FADES = 0.08
"""Change of a pixel, the full range being 1, at which the source's fine detail is given up."""


class Square(NamedTuple):
    """The largest square in the middle of a picture: the face, in a dataset of faces."""

    top: int
    left: int
    side: int

    def cut(self, pictures: Tensor, size: int) -> Tensor:
        """The faces, (N, C, size, size)."""
        return scaled(pictures[..., self.top : self.top + self.side, self.left : self.left + self.side], size)

    def put_back(self, pictures: Tensor, seen: Tensor, made: Tensor) -> Tensor:
        """The pictures with `made` (N, C, size, size) where `seen` was cut out."""
        rows, columns = slice(self.top, self.top + self.side), slice(self.left, self.left + self.side)
        face = pictures[..., rows, columns]
        new = scaled(made, self.side)
        if self.side != made.shape[-1]:
            new = new + _kept_share(seen, made, lambda x: scaled(x, self.side)) * (face - scaled(seen, self.side))
        height, width = pictures.shape[-2:]
        if height == width:
            return new.clamp(0, 1)
        # Only the sides that were cut fade: the others end with the picture.
        centres = (torch.arange(self.side, device=made.device) + 0.5) * (2 / self.side) - 1
        weight = _faded(centres.abs())
        weight = weight.view(-1, 1) if height > width else weight.view(1, -1)
        out = pictures.clone()
        out[..., rows, columns] = (face + weight * (new - face)).clamp(0, 1)
        return out


class Aligned(NamedTuple):
    """A face that was found: upright, with its eyes and mouth where `emoaug align` puts them."""

    landmarks: np.ndarray
    """Mesh, (478, 2 or 3), pixels of the picture."""

    @property
    def side(self) -> int:
        """How many pixels of the picture it is wide."""
        return max(1, round(1 / float(np.sqrt(abs(np.linalg.det(align_matrix(self.landmarks, 1)[:, :2]))))))

    def cut(self, pictures: Tensor, size: int) -> Tensor:
        """The face, (1, C, size, size), drawn as `emoaug align` draws the training faces of systems."""
        picture = as_array(pictures)
        aligned = align_picture(picture, align_matrix(self.landmarks, size), size)
        return torch.from_numpy(aligned).to(pictures.device).permute(2, 0, 1)[None].float() / 255

    def put_back(self, pictures: Tensor, seen: Tensor, made: Tensor) -> Tensor:
        """The picture (1, C, H, W) with `made` (1, C, size, size) where the face was."""
        height, width = pictures.shape[-2:]
        size = made.shape[-1]
        # Where the face is smaller than the frame, the frame's pixels are averaged: sampling alone would skip some.
        side = min(size, self.side)
        matrix = torch.from_numpy(align_matrix(self.landmarks, size)).float().to(made.device)
        x = torch.arange(width, device=made.device) + 0.5
        y = torch.arange(height, device=made.device) + 0.5
        pixels = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
        grid = ((pixels @ matrix[:, :2].T + matrix[:, 2]) * (2 / size) - 1)[None]

        def spread(frame: Tensor) -> Tensor:
            frame = F.interpolate(frame, size=(side, side), mode="area") if side < size else frame
            return F.grid_sample(frame, grid, padding_mode="border", align_corners=False)

        new = spread(made) + _kept_share(seen, made, spread) * (pictures - spread(seen))
        weight = _faded(grid.abs().amax(-1)).unsqueeze(1)
        return (pictures + weight * (new - pictures)).clamp(0, 1)


def middle_square(height: int, width: int) -> Square:
    """The largest square in the middle of a picture."""
    side = min(height, width)
    return Square((height - side) // 2, (width - side) // 2, side)


def find_face(picture: Tensor) -> Aligned | None:
    """The largest face of a picture (1, 3, H, W), or None.

    Raises:
        EmoaugError: the model is missing, or another process loaded it and was forked to make this one.
    """
    global _searching_process
    if _searching_process not in (None, os.getpid()):
        # MediaPipe's threads do not survive a fork: its first call here would wait for ever.
        raise EmoaugError(
            "find_face was used before the DataLoader forked its workers; give the DataLoader "
            'multiprocessing_context="spawn", or begin with the DataLoader'
        )
    from augment.landmarker import FaceLandmarker

    if get_worker_info() is not None:
        cv2.setNumThreads(1)
    landmarker = FaceLandmarker()
    _searching_process = os.getpid()
    found = landmarker.detect(as_array(picture))
    return None if found is None else Aligned(found.landmarks)


_searching_process: int | None = None
"""Which process has loaded MediaPipe's model."""


def as_array(picture: Tensor) -> np.ndarray:
    """A picture (1, 3, H, W) as uint8 RGB, (H, W, 3)."""
    pixels = picture[0].mul(255).round().to(torch.uint8).permute(1, 2, 0)
    return np.ascontiguousarray(pixels.cpu().numpy())


def _kept_share(seen: Tensor, made: Tensor, enlarge: Callable[[Tensor], Tensor]) -> Tensor:
    """How much of the fine detail that the system did not see stays: all where nothing changed, none where much did."""
    change = (made - seen).abs().amax(1, keepdim=True)
    change = F.avg_pool2d(change, 3, 1, 1, count_include_pad=False)
    return 1 - enlarge((change / DETAIL_FADES).clamp_max(1))


def _faded(distance: Tensor) -> Tensor:
    """Weight of the changed face, 0 to 1, by the distance from its middle; 1 is the square's edge."""
    return ((1 - distance) / (2 * FEATHER)).clamp(0, 1)
