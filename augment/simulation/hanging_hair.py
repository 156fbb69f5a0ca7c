"""Hair that hangs over ears and shoulders: a curtain from temple to temple around the back of the head."""

import math

import numpy as np
import torch
from torch import Tensor

from augment.simulation.hair import HANGING, head_girth
from augment.simulation.layout import focus
from augment.simulation.morphable import AXIS_DEPTH, FaceModel, wrapped_coordinates
from augment.simulation.people import Person

_ROWS = 14
"""Points of the curtain from the top down."""
_COLUMNS = 44
"""Points around the head."""
_TOP = 4.2
"""y, cm, of the curtain's upper edge, inside the hair of the scalp."""
_NUMBERS = 6


def hanging_numbers(person: Person) -> list[float]:
    """Put hanging hair into numbers: 1 or 0 for none, its lower end (y, cm), volume (cm), waviness, and two phases."""
    if person.hair_style not in HANGING:
        return [0.0] * _NUMBERS
    rng = np.random.default_rng([person.seed, 9])
    low = rng.uniform(-11.0, -6.5) if person.hair_style == "bob" else rng.uniform(-19.0, -13.0)
    wavy = 0.12 + 0.3 * person.hair_curl
    return [1.0, low, 0.6 + 0.6 * person.hair_volume, wavy, *rng.uniform(0, 2 * math.pi, 2).tolist()]


def hanging_vertices(model: FaceModel, vertices: Tensor, numbers: Tensor, girth: Tensor) -> Tensor:
    """Hang hair around faces.

    Args:
        model: the face model.
        vertices: the faces, cm, (N, V, 3).
        numbers: (N, 6), see `hanging_numbers`.
        girth: radius of the mean head for each column of the curtain, cm, see `curtain_girth`.

    Returns:
        Vertices of the curtain's outside, then of its inside, cm, (N, 2 * rows * columns, 3). Who has no such hair has
        them in a single point inside the head.
    """
    hangs, low, volume, wavy, phase, second = (value[:, None, None] for value in numbers.unbind(1))
    ears = model.landmarks[[0, 16]]
    wide = (vertices[:, ears[1], 0] - vertices[:, ears[0], 0]) / (
        model.vertices[ears[1], 0] - model.vertices[ears[0], 0]
    )
    down = torch.linspace(0, 1, _ROWS, device=vertices.device)[None, :, None]
    angle = _angles().to(vertices)[None, None, :]
    height = _TOP + (low - _TOP) * down
    # At the front the hair starts behind the temple and comes forward over the cheek and the shoulder.
    forward = 0.16 * torch.sin(math.pi * down.clamp(max=0.75)) + 0.08 * torch.sin(5 * down + phase)
    turn = angle + torch.sign(math.pi - angle) * -forward * torch.cos(angle / 2).abs()
    lock = torch.sin(9 * angle + phase + 2 * down) + 0.6 * torch.sin(23 * angle + second + 3 * torch.sin(4 * down))
    curl = wavy * torch.sin(9 * down * (1 + wavy) + second + 3 * angle)
    body = torch.sin(math.pi / 2 * (down / 0.25).clamp(max=1)) * volume
    radius = girth.to(vertices) - 0.25 + body + (0.12 * lock + curl) * down.clamp(max=0.5) * 2 - 0.9 * down**2
    x = radius * turn.sin() * wide[:, None, None]
    z = AXIS_DEPTH + radius * turn.cos()
    ragged = height + 0.5 * down * lock
    outside = torch.stack([x, ragged.expand_as(x), z], -1).flatten(1, 2)
    # The inside is a little nearer to the neck, but for the front edges, where a gap would show as a dark line.
    thin = 1 - 0.015 * torch.sin(math.pi * torch.linspace(0, 1, _COLUMNS, device=vertices.device)).clamp(min=0)
    thin = thin.repeat(_ROWS)[:, None]
    inside = outside * torch.where(torch.tensor([True, False, False], device=vertices.device), thin, 1.0)
    worn = torch.cat([outside, inside], 1)
    hidden = vertices[:, ears].mean(1, keepdim=True)
    return torch.where(hangs > 0.5, worn, hidden)


def _angles() -> Tensor:
    """Give the curtain's columns, radians from straight ahead around the back, (columns,)."""
    front = math.radians(70)
    return torch.linspace(front, 2 * math.pi - front, _COLUMNS)


def curtain_girth(model: FaceModel) -> Tensor:
    """Measure the mean head for each column of the curtain, cm, (columns,)."""
    angles = _angles().numpy()
    return torch.from_numpy(np.interp(np.minimum(angles, 2 * np.pi - angles), *head_girth(model))).float()


def hanging_triangles(first: int) -> Tensor:
    """Give the curtain's triangles, (T, 3) int64, whose vertices start at number `first`: outside, then inside."""
    row, column = torch.meshgrid(torch.arange(_ROWS - 1), torch.arange(_COLUMNS - 1), indexing="ij")
    corner = (row * _COLUMNS + column).flatten()
    a, b, c, d = corner, corner + 1, corner + _COLUMNS, corner + _COLUMNS + 1
    outside = torch.cat([torch.stack([a, c, b], 1), torch.stack([b, c, d], 1)])
    inside = outside.flip(1) + _ROWS * _COLUMNS
    return torch.cat([outside, inside]) + first


def hanging_coordinates() -> Tensor:
    """Give the curtain's places in the painted texture, (G, 2): on the hair above and behind the ears."""
    angle = _angles()
    height = torch.linspace(_TOP, -6.0, _ROWS)
    turned = torch.where(angle > math.pi, angle - 2 * math.pi, angle)
    # Not closer to the face than where every hanging style is sure to be painted.
    turned = turned.sign() * turned.abs().clamp(min=1.45)
    x, z = turned.sin(), turned.cos() + AXIS_DEPTH
    points = torch.stack([x.expand(_ROWS, -1), height[:, None].expand(-1, _COLUMNS), z.expand(_ROWS, -1)], -1)
    return focus(wrapped_coordinates(points)).flatten(0, 1).repeat(2, 1)
