"""How training faces are varied: mirrored, moved, framed, lit and photographed anew."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from augment.networks import smoothed
from augment.ranks import drawn

GREY, SOFT = 0.3, 0.4
"""Shares of the faces that lose their colours, and that lose their sharpness."""
BEND = 0.5
"""The most that the power to which brightness is raised is doubled or halved, as a power of two."""
CONTRAST = (-0.25, 1.5)
"""The least and the most that contrast is multiplied by, as powers of two. Luma's standard deviation inside the face,
pictures from -1 to 1, has a median of 0.21 in the Face Research Lab London Set, 0.33 in FER2013 and 0.60 in CMU Face
Images. Where a training had shown 0.1 to 0.33 only, changes were faint on faces of more contrast."""

FRAMED = 0.4
"""Share of the faces that are framed as nobody who aligned them would."""
LARGER = (-0.2, 0.5)
"""How much smaller and larger these are, as powers of two. FER2013's faces, cropped by others, are 0.82 to 1.54 times
as large as aligned ones, the middle half of them 1.03 to 1.28 times (by the distance between eyes and mouth; 5th and
95th percentile)."""
ASIDE, TILT = 0.2, math.radians(15)
"""How far to a side these are, the picture being 2 wide, and how far tilted; there 0.25 and 20 degrees (likewise)."""

_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Variation:
    """How strongly training faces are varied, beside being mirrored."""

    jitter: float = 1.0
    """Strength of everything; small turns, shifts, and changes of size and light of faces that are aligned; 0 is none.
    """
    cameras: float = 1.0
    """Strength of what cameras do, as a share of jitter; 0 is none, and draws nothing."""
    framing: float = 1.0
    """Strength of other frames, as a share of jitter; 0 is none, and draws nothing."""


def vary(faces: Tensor, points: Tensor, variation: Variation, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Flip, rotate, scale, shift, light and photograph faces anew, and take their landmarks along.

    Args:
        faces: (N, 3, S, S) in [-1, 1].
        points: landmarks, (N, L, 2), in [-1, 1] of the picture.
        variation: how strongly.
        generator: source of every draw; the same draws vary another set of as many faces alike.

    Returns:
        Faces and landmarks of the same shapes.
    """
    n, jitter = len(faces), variation.jitter

    def draw(spread: float) -> Tensor:
        return (drawn(torch.rand, (n,), generator=generator) * 2 - 1) * spread * jitter

    mirror = torch.where(drawn(torch.rand, (n,), generator=generator) < 0.5, -1.0, 1.0)
    angle, zoom = draw(math.radians(6)), 1 + draw(0.06)
    move = torch.stack([draw(0.05), draw(0.05)], 1)
    if variation.framing > 0:
        framed = variation.framing * (drawn(torch.rand, (n,), generator=generator) < FRAMED)
        low, high = LARGER
        zoom = zoom * 2 ** -(framed * ((low + high) / 2 * jitter + draw((high - low) / 2)))
        angle, move = angle + framed * draw(TILT), move + framed[:, None] * torch.stack([draw(ASIDE), draw(ASIDE)], 1)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # The grid asks where an output pixel comes from: p_in = A p_out + t; landmarks go the other way.
    a = torch.stack([torch.stack([mirror * cos, -mirror * sin], 1), torch.stack([sin, cos], 1)], 1)
    theta = torch.cat([a, move.unsqueeze(2)], 2)
    grid = F.affine_grid(theta, list(faces.shape), align_corners=False)
    # What is in the middle is skin before faces are moved.
    taken = _photographed(faces, jitter * variation.cameras, generator)
    moved = F.grid_sample(taken, grid, padding_mode="reflection", align_corners=False)
    contrast, brightness = (1 + draw(0.15)).view(n, 1, 1, 1), draw(0.15).view(n, 1, 1, 1)
    moved = (moved * contrast + brightness).clamp(-1, 1)
    # A mirrored face keeps the numbers of its landmarks: maps drawn from them do not ask which side is the left.
    return moved, torch.einsum("nij,nlj->nli", torch.linalg.inv(a), points - move.unsqueeze(1))


def _photographed(faces: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Faces (N, 3, S, S) in [-1, 1] as other cameras have them: some grey, some less sharp, darker, paler or harsher.

    A few hundred faces often come from one studio, and the faces that a system is to change from anywhere.
    """
    if strength == 0:
        return faces

    def draw() -> Tensor:
        return drawn(torch.rand, (len(faces), 1, 1, 1), generator=generator)

    def some(share: float) -> Tensor:
        return (draw() < min(1.0, share * strength)).float()

    luma = (faces * faces.new_tensor(_LUMA).view(1, 3, 1, 1)).sum(1, keepdim=True)
    faces = torch.lerp(faces, luma.expand_as(faces), some(GREY))
    power = 2 ** ((draw() * 2 - 1) * BEND * strength)
    faces = ((faces + 1) / 2).clamp_min(0).pow(power) * 2 - 1
    low, high = (exponent * strength for exponent in CONTRAST)
    skin = _skin(faces)
    faces = (skin + (faces - skin) * 2 ** (low + (high - low) * draw())).clamp(-1, 1)
    return torch.lerp(faces, smoothed(smoothed(faces)), some(SOFT) * draw())


def _skin(faces: Tensor) -> Tensor:
    """The median of nose and inner cheeks, (N, 1, 1, 1): what cameras expose for, and expressions hardly change.

    Two pictures of a person are to be varied alike; around their mean, that a mouth opened would shift all the rest.
    """
    side = faces.shape[-1]
    middle = faces[:, :, 7 * side // 16 : 10 * side // 16, 5 * side // 16 : 11 * side // 16]
    return middle.flatten(1).median(1).values.view(-1, 1, 1, 1)
