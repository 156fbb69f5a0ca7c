"""Heat maps and region maps of faces, drawn from landmarks in batches, on any device.

Landmark numbers are those of MediaPipe's 478-point face mesh.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

FACE_49 = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 98, 97, 2, 326, 327),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 321, 314, 17, 84, 91),  # outer lips
    *(82, 13, 312, 317, 14, 87),  # inner lips without their corners
)
"""The mesh points nearest to the 49 that LSSL keeps of the 68-point mark-up: no jaw, no inner mouth corners."""

REGIONS: dict[str, tuple[tuple[int, ...], ...]] = {
    "skin": (
        (
            *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
            *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
        ),
    ),
    "nose": ((168, 122, 174, 198, 129, 98, 97, 2, 326, 327, 358, 420, 399, 351),),
    "brows": (
        (70, 63, 105, 66, 107, 55, 65, 52, 53, 46),
        (300, 293, 334, 296, 336, 285, 295, 282, 283, 276),
    ),
    "eyes": (
        (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
        (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
    ),
    "lips": ((61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),),
    "mouth": ((78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),),
}
"""Outlines of the parts of a face, painted in this order; what no outline holds is background."""


def chosen(landmarks: Tensor, numbers: tuple[int, ...]) -> Tensor:
    """Some points of the mesh, by number: (N, L, 2) to (N, P, 2)."""
    return landmarks[:, _index(numbers, landmarks.device)]


@cache
def _index(numbers: tuple[int, ...], device: torch.device) -> Tensor:
    """Numbers on a device, copied there once: a list in an index is copied every time, and a GPU waited for."""
    with torch.inference_mode(False):
        return torch.tensor(numbers, device=device)


def _pixel_centres(size: int, like: Tensor) -> Tensor:
    return (torch.arange(size, device=like.device, dtype=like.dtype) + 0.5) * (2 / size) - 1


def heat_maps(points: Tensor, size: int, sigma: float, clamped: bool) -> Tensor:
    """Draw one Gaussian a point, and their sum.

    Args:
        points: x, y of each point, (N, P, 2), the picture's edges at -1 and 1.
        size: side of the square map, pixels.
        sigma: standard deviation, as a share of the picture's side.
        clamped: cut the sum off at the height of one Gaussian, so that every point counts alike; else stretch it to the
            full range, in which the crowded mouth outshines the rest.

    Returns:
        (N, 1, size, size) in [-1, 1].

    Source: LSSL's authors' release draws σ = 10 px on pictures of about 256 px and stretches the sum to 0 to 255.
    """
    axis = _pixel_centres(size, points)
    # A Gaussian in the plane is a product of two on the axes: (N, P, size) each, far less than (N, P, size, size).
    x = torch.exp(-0.5 * ((axis - points[..., :1]) / (2 * sigma)) ** 2)
    y = torch.exp(-0.5 * ((axis - points[..., 1:2]) / (2 * sigma)) ** 2)
    # In bf16, to which autocast would take the product, real maps would be coarser than made ones: a cue for a critic.
    with torch.autocast(points.device.type, enabled=False):
        maps = torch.einsum("npy,npx->nyx", y, x)
    if clamped:
        return (2 * maps.clamp_max(1) - 1).unsqueeze(1)
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (2 * (maps - low) / (high - low).clamp_min(1e-6) - 1).unsqueeze(1)


def inside_polygon(polygon: Tensor, size: int) -> Tensor:
    """Which pixel centres lie inside closed polygons, by the even-odd rule.

    Args:
        polygon: corners in order, (N, P, 2), the picture's edges at -1 and 1.
        size: side of the square mask, pixels.

    Returns:
        (N, size, size) bool.
    """
    axis = _pixel_centres(size, polygon)
    x0, y0 = polygon[..., 0], polygon[..., 1]
    x1, y1 = x0.roll(-1, 1), y0.roll(-1, 1)
    row = axis.view(1, size, 1)
    # One crossing place for each (row, edge); a pixel is inside when an odd number of crossings lies to its right.
    spans = (y0.unsqueeze(1) > row) != (y1.unsqueeze(1) > row)
    rise = (y1 - y0).unsqueeze(1)
    crossing = x0.unsqueeze(1) + (row - y0.unsqueeze(1)) * (x1 - x0).unsqueeze(1) / torch.where(rise == 0, 1, rise)
    right = (crossing.unsqueeze(2) > axis.view(1, 1, size, 1)) & spans.unsqueeze(2)
    return right.sum(-1) % 2 == 1


def region_maps(landmarks: Tensor, size: int) -> Tensor:
    """Number the part of the face that each pixel shows.

    Args:
        landmarks: x, y of the mesh, (N, 478, 2), the picture's edges at -1 and 1.
        size: side of the square map, pixels.

    Returns:
        (N, size, size) int64: 0 background, then the parts in the order of `REGIONS`.
    """
    maps = torch.zeros(len(landmarks), size, size, dtype=torch.long, device=landmarks.device)
    for number, outlines in enumerate(REGIONS.values(), start=1):
        for outline in outlines:
            maps[inside_polygon(chosen(landmarks, outline), size)] = number
    return maps
