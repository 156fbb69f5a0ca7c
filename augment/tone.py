"""The tone of a face: how light it is and how much contrast it has, so that faces of any camera can be made alike."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

MEAN, DEVIATION = 0.0, 0.36
"""The common tone: mean and standard deviation of brightness, pictures from -1 to 1. About as much contrast as
FER2013's faces have, whose median is 0.33."""
LEAST = 0.05
"""Least deviation that is told from none: contrast of a blank picture is not stretched."""

_CENTRE, _RADII = (0.53, 0.5), (0.41, 0.31)
"""Ellipse of the face in an aligned picture, shares of its side, down and across."""
_REACH = 1.35
"""How many times as large an ellipse holds every aligned face."""


class Tone(NamedTuple):
    """Mean and standard deviation of brightness inside N aligned faces."""

    mean: Tensor
    """(N, 1, 1, 1), in [-1, 1]."""
    deviation: Tensor
    """(N, 1, 1, 1), `LEAST` or more."""

    @classmethod
    def of(cls, faces: Tensor) -> Tone:
        """Measure faces (N, 3, S, S) in [-1, 1]."""
        brightness, weight = faces.mean(1, keepdim=True), _inside(faces)
        mean = (brightness * weight).sum((2, 3), keepdim=True)
        variance = ((brightness - mean).square() * weight).sum((2, 3), keepdim=True)
        return cls(mean, variance.sqrt().clamp_min(LEAST))

    def taken_from(self, faces: Tensor) -> Tensor:
        """Bring faces (N, 3, S, S) of this tone to the common one; not clamped."""
        return (faces - self.mean) * (DEVIATION / self.deviation) + MEAN

    def given_to(self, faces: Tensor) -> Tensor:
        """Bring faces (N, 3, S, S) of the common tone to this one; not clamped."""
        return (faces - MEAN) * (self.deviation / DEVIATION) + self.mean


def face_window(faces: Tensor) -> Tensor:
    """1 inside an aligned face of (N, C, S, S), 0 well outside, and in between in between: (1, 1, S, S)."""
    return ((_REACH - _outwards(faces).sqrt()) / (_REACH - 1)).clamp(0, 1)


def _inside(faces: Tensor) -> Tensor:
    """Weights of the pixels inside the face, (1, 1, S, S); their sum is 1."""
    inside = (_outwards(faces) < 1).to(faces.dtype)
    return inside / inside.sum()


def _outwards(faces: Tensor) -> Tensor:
    """Squared distances from the middle of the face, 1 on the ellipse, (1, 1, S, S)."""
    side = faces.shape[-1]
    place = (torch.arange(side, device=faces.device, dtype=faces.dtype) + 0.5) / side
    down, across = (((place - c) / r).square() for c, r in zip(_CENTRE, _RADII, strict=True))
    return (down[:, None] + across).view(1, 1, side, side)
