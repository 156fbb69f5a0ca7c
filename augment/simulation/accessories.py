"""Glasses: frames of thin tubes that rest on the nose and the ears."""

import math

import torch
from torch import Tensor

from augment.simulation.morphable import FaceModel
from augment.simulation.people import Person

GLASSES_SHAPES = ("round", "square", "browline", "rimless")
"""Frames."""
_RIM = 40
"""Points around a lens."""
_TUBE = 5
"""Points around a frame's tube."""
_TEMPLE = 6
"""Points along a temple, from the hinge to behind the ear."""
_BRIDGE = 7
"""Points along the bridge."""

# Exponents of the superellipse, half width and half height in cm, and thickness of the tube in cm.
_SHAPES = {
    "round": (2.2, 2.35, 2.15, 0.13),
    "square": (4.5, 2.6, 1.95, 0.17),
    "browline": (3.2, 2.6, 2.0, 0.12),
    "rimless": (3.0, 2.5, 1.8, 0.05),
}


def glasses_numbers(person: Person) -> list[float]:
    """Put a person's glasses into numbers: 1 or 0 for none, shape, size, and the frame's colour in linear RGB; six."""
    if person.glasses == "none":
        return [0.0] * 6
    return [1.0, float(GLASSES_SHAPES.index(person.glasses)), person.glasses_size, *person.glasses_colour]


def _tube_triangles(first: int, rings: int, closed: bool) -> Tensor:
    """Connect rings of `_TUBE` points to a tube, (T, 3), from vertex `first` on."""
    steps = torch.arange(rings if closed else rings - 1)
    around = torch.arange(_TUBE)
    here = steps[:, None] * _TUBE + around
    along = ((steps[:, None] + 1) % rings) * _TUBE + around
    beside = steps[:, None] * _TUBE + (around + 1) % _TUBE
    across = ((steps[:, None] + 1) % rings) * _TUBE + (around + 1) % _TUBE
    quads = torch.stack([torch.stack([here, beside, along], -1), torch.stack([beside, across, along], -1)])
    return quads.reshape(-1, 3) + first


def _tube(path: Tensor, radii: Tensor, closed: bool) -> Tensor:
    """Wrap paths, (N, K, 3), into tubes of these radii, (N, K); vertices, (N, K * `_TUBE`, 3)."""
    if closed:
        tangent = path.roll(-1, 1) - path.roll(1, 1)
    else:
        padded = torch.cat([path[:, :1], path, path[:, -1:]], 1)
        tangent = padded[:, 2:] - padded[:, :-2]
    tangent = torch.nn.functional.normalize(tangent, dim=-1)
    # No part of a frame runs along this direction.
    reference = tangent.new_tensor([0.05, 0.35, 0.15]).expand_as(tangent)
    first = torch.nn.functional.normalize(torch.linalg.cross(tangent, reference), dim=-1)
    second = torch.linalg.cross(tangent, first)
    angle = torch.arange(_TUBE, device=path.device) * (2 * math.pi / _TUBE)
    around = first[:, :, None] * angle.cos()[:, None] + second[:, :, None] * angle.sin()[:, None]
    return (path[:, :, None] + around * radii[:, :, None, None]).flatten(1, 2)


def glasses_triangles(first: int) -> Tensor:
    """Give the triangles of a pair of glasses, (T, 3) int64, whose vertices start at number `first`."""
    parts, start = [], first
    for rings, closed in ((_RIM, True), (_RIM, True), (_BRIDGE, False), (_TEMPLE, False), (_TEMPLE, False)):
        parts.append(_tube_triangles(start, rings, closed))
        start += rings * _TUBE
    return torch.cat(parts)


def glasses_vertices(model: FaceModel, vertices: Tensor, numbers: Tensor) -> Tensor:
    """Put glasses on faces.

    Args:
        model: the face model.
        vertices: the faces, cm, (N, V, 3).
        numbers: (N, 6), see `glasses_numbers`.

    Returns:
        Vertices of the glasses, cm, (N, G, 3). Who wears none has them in a single point inside the head.
    """
    marks = vertices[:, model.landmarks.to(vertices.device)]
    wearing, shape, size = numbers[:, 0], numbers[:, 1].long(), numbers[:, 2]
    table = vertices.new_tensor([_SHAPES[name] for name in GLASSES_SHAPES])[shape]
    power, half_width, half_height, thick = table.unbind(1)
    half_width, half_height = half_width * size, half_height * size
    # The lids move; the corners of the eyes and the bridge of the nose stay.
    corners = marks[:, [36, 39, 42, 45]]
    eyes = corners.mean(1)
    apart = (corners[:, 2:].mean(1) - corners[:, :2].mean(1))[:, 0] / 2
    nose = marks[:, 27:29].mean(1)
    depth = torch.maximum(corners[:, :, 2].amax(1) + 1.3, nose[:, 2] + 0.35)
    centre_x = torch.maximum(apart, half_width + 0.65)
    centre_y = eyes[:, 1] - 0.35
    angle = torch.arange(_RIM, device=vertices.device) * (2 * math.pi / _RIM)
    cosine, sine = angle.cos(), angle.sin()
    x = half_width[:, None] * cosine.sign() * cosine.abs() ** (2 / power[:, None])
    y = half_height[:, None] * sine.sign() * sine.abs() ** (2 / power[:, None])
    # Towards the nose's wings lenses are narrower, as these are wider than the bridge.
    x = torch.where(x < 0, x * (1 - 0.22 * (-y / half_height[:, None]).clamp(0, 1)), x)
    # Faces curve back at the sides, and lenses lean in at the bottom.
    back = -0.035 * (x + 0.4 * centre_x[:, None]).clamp_min(0) ** 2
    rims = []
    radii = thick[:, None].expand(-1, _RIM)
    browline = (shape == GLASSES_SHAPES.index("browline"))[:, None]
    radii = torch.where(browline, radii * (0.5 + 1.3 * (sine > 0.3)), radii)
    for side in (1, -1):
        path = torch.stack(
            [side * (centre_x[:, None] + x), centre_y[:, None] + y, depth[:, None] + back + 0.04 * y], -1
        )
        path[..., 0] += eyes[:, None, 0]
        # Winding stays outward on the mirrored side, because the path runs the other way round there.
        rims.append(_tube(path if side == 1 else path.flip(1), radii if side == 1 else radii.flip(1), closed=True))
    t = torch.linspace(-1, 1, _BRIDGE, device=vertices.device)
    inner = (centre_x - half_width)[:, None]
    bridge = torch.stack(
        [
            inner * t + eyes[:, None, 0],
            (centre_y + 0.25 * half_height)[:, None] + 0.25 * (1 - t**2),
            depth[:, None] + 0.15 * (1 - t**2),
        ],
        -1,
    )
    pieces = [*rims, _tube(bridge, thick.clamp_min(0.08)[:, None].expand(-1, _BRIDGE), closed=False)]
    s = torch.linspace(0, 1, _TEMPLE, device=vertices.device)[None]
    for side, jaw in ((1, 16), (-1, 0)):
        hinge = centre_x + half_width - 0.02
        hinge_z = depth - 0.035 * (half_width + 0.4 * centre_x) ** 2
        ear = marks[:, jaw]
        end_x = side * (ear[:, 0] - eyes[:, 0]) + 0.35
        out = hinge[:, None] + (end_x - hinge)[:, None] * s**0.6
        height = (centre_y + 0.45 * half_height)[:, None] * (1 - s) + (ear[:, 1] + 0.4)[:, None] * s
        along = hinge_z[:, None] * (1 - s) + (ear[:, 2] - 2.5)[:, None] * s
        temple = torch.stack([side * out + eyes[:, None, 0], height, along], -1)
        pieces.append(_tube(temple, thick.clamp_min(0.09)[:, None].expand(-1, _TEMPLE), closed=False))
    worn = torch.cat(pieces, 1)
    hidden = marks[:, [0, 16]].mean(1, keepdim=True)
    return torch.where(wearing[:, None, None] > 0.5, worn, hidden)
