"""Eyeballs: where they turn, how far, and how their surface is laid out flat for an iris to be painted on."""

import math

import torch
from torch import Tensor

EYE_TEXTURE_EXTENT = 7.54
"""cm along the eyeball's surface for one unit of its texture coordinates: the girth of an eyeball 24 mm wide."""

GAZE_DEGREES = {"In": 30.0, "Out": 30.0, "Up": 25.0, "Down": 30.0}
"""How far an eye turns for `eyeLookIn` and the like at full intensity; people turn the head for more."""


def eye_centre(eyeball: Tensor) -> tuple[Tensor, float]:
    """Find the sphere that an eyeball is, of which the hinder half may be missing.

    Args:
        eyeball: vertices of one eyeball that looks along +z, cm, (V, 3).

    Returns:
        Centre (3,) and radius, cm.
    """
    low, high = eyeball.amin(0), eyeball.amax(0)
    radius = float((high - low)[:2].mean()) / 2
    middle = (low + high) / 2
    middle[2] = high[2] - radius
    return middle, radius


def eye_coordinates(eyeball: Tensor) -> Tensor:
    """Lay an eyeball's surface out flat around its pupil, distances along the surface kept.

    Args:
        eyeball: vertices of one eyeball that looks along +z, cm, (V, 3).

    Returns:
        (V, 2) in [0, 1]: the pupil's centre at (0.5, 0.5), u to the viewer's right, v downwards, `EYE_TEXTURE_EXTENT`
        cm to the unit: an iris of 12 mm (11.7 mm from edge to edge is the human mean: Rüfer et al., Cornea 2005)
        is a disc of radius 0.08.
    """
    centre, radius = eye_centre(eyeball)
    x, y, z = (eyeball - centre).unbind(-1)
    across = torch.hypot(x, y)
    arc = torch.atan2(across, z) * radius / EYE_TEXTURE_EXTENT
    direction = torch.stack([x, -y], -1) / across.clamp_min(1e-9)[:, None]
    return (0.5 + arc[:, None] * direction).clamp(0, 1)


def gaze_displacement(eyeball: Tensor, name: str) -> Tensor:
    """Turn an eyeball about its centre.

    Args:
        eyeball: vertices of one eyeball that looks along +z, cm, (V, 3); x > 0 is the person's left eye.
        name: such as "eyeLookOutLeft".

    Returns:
        (V, 3), cm; zeros when the name is the other eye's.
    """
    centre, _ = eye_centre(eyeball)
    left = bool(centre[0] > 0)
    if name.endswith("Left") != left:
        return torch.zeros_like(eyeball)
    way = name.removeprefix("eyeLook").removesuffix("Left").removesuffix("Right")
    angle = math.radians(GAZE_DEGREES[way])
    cosine, sine = math.cos(angle), math.sin(angle)
    if way in ("Up", "Down"):
        sine = sine if way == "Up" else -sine
        rotation = torch.tensor([[1, 0, 0], [0, cosine, sine], [0, -sine, cosine]])
    else:
        sine = sine if (way == "Out") == left else -sine
        rotation = torch.tensor([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    away = eyeball - centre
    return away @ rotation.to(away).T - away
