"""Triangles to pixels: a batched z-buffer in torch that gives the same picture on every device.

Which samples a triangle covers is decided with whole numbers: corners are snapped to 1/256 px, and a sample on an edge
belongs to the triangle whose top or left edge it is, so that neighbours neither share a sample nor leave one out. What
is nearest is decided by the smallest pair (depth, number of the triangle), which no order of execution can change.

Most triangles of a face are smaller than a pixel. So those that show their back, lie outside the picture or cover no
sample are put aside first; the others are tested on squares of samples, in groups of one size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

SUBPIXELS = 256
"""Steps a pixel that corners are snapped to."""

_SIDES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Sides, in pixels, of the squares of samples that triangles are tested on; beyond these, doubled."""
_EXACT_SIDE = 12
"""Largest of these for which float32 is exact: edge functions are whole numbers, twice the area of a triangle within
the square and a pixel around it, in squared subpixels, which is at most (13 * 256) ** 2 < 2 ** 24."""
_NOTHING = torch.iinfo(torch.int64).max


class Raster(NamedTuple):
    """What each sample of a batch of pictures shows."""

    triangle: Tensor
    """Number of the nearest triangle, (N, H, W) int64; -1 where there is none."""
    weights: Tensor
    """Perspective-correct barycentric weights of its corners, (N, H, W, 3), sum 1; 0 where there is none."""
    depth: Tensor
    """Distance from the camera plane, (N, H, W), in the unit of the points; infinite where there is none."""


def rasterize(points: Tensor, triangles: Tensor, height: int, width: int, cull: bool = True) -> Raster:
    """Find the nearest triangle at the centre of every pixel.

    Args:
        points: x and y in pixels ((0, 0) is the upper left corner of the upper left pixel, centres are at .5), y
            downwards, and the distance from the camera plane; (N, V, 3) float. A triangle with a corner at a distance
            of 0 or less is left out.
        triangles: corners of each triangle, counter-clockwise as seen from its front, (T, 3) int64.
        height: rows of the picture.
        width: columns of the picture.
        cull: leave out triangles that show their back.

    Returns:
        The raster, on the device of `points`.
    """
    count, device = len(points), points.device
    snapped = points.float() * points.new_tensor([SUBPIXELS, SUBPIXELS, 1], dtype=torch.float32)
    snapped[..., :2].round_()
    vertices = snapped.reshape(-1, 3)
    offsets = torch.arange(count, device=device)[:, None, None] * points.shape[1]
    corners = (triangles + offsets).reshape(-1, 3)
    nearest = torch.full((count * height * width,), _NOTHING, dtype=torch.int64, device=device)

    chosen, side = _visible(vertices, corners, height, width, cull)
    # Pieces that stay in the cache of a processor, or that keep a graphics card busy.
    budget = 1 << (17 if device.type == "cpu" else 24)
    largest = int(side.max()) if len(side) else 0
    smaller = 0
    while smaller < largest:
        size = next((size for size in _SIDES if size > smaller), 2 * smaller)
        group = chosen[(side > smaller) & (side <= size)]
        smaller = size
        for part in group.split(max(1, budget // size**2)):
            if len(part):
                _test(nearest, vertices, corners, part, len(triangles), size, height, width)
    return _resolve(vertices, corners, nearest.view(count, height, width), len(triangles))


def _planes(vertices: Tensor, corners: Tensor) -> Tensor:
    """x, y and depth of the corners (M, 3) of triangles; (3 coordinates, 3 corners, M)."""
    gathered = vertices.index_select(0, corners.reshape(-1))
    return gathered.view(-1, 3, 3).permute(2, 1, 0).contiguous()


def _first_and_last(along: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """First and last pixel, (M,), with a centre between the least and the greatest corner (3, M), in the picture."""
    half = SUBPIXELS // 2
    least = torch.minimum(torch.minimum(along[0], along[1]), along[2])
    greatest = torch.maximum(torch.maximum(along[0], along[1]), along[2])
    first = ((least - half) / SUBPIXELS).ceil_().clamp_(min=0)
    return first, ((greatest - half) / SUBPIXELS).floor_().clamp_(max=length - 1)


def _visible(vertices: Tensor, corners: Tensor, height: int, width: int, cull: bool) -> tuple[Tensor, Tensor]:
    """Numbers of the triangles that may cover a sample, and the longer side of their boxes in pixels, (M,) each."""
    x, y, depth = _planes(vertices, corners)
    # In double precision the sign is right for every size: the products are whole numbers below 2 ** 53.
    a, b = (x[1] - x[0]).double(), (x[2] - x[0]).double()
    area = a * (y[2] - y[0]) - b * (y[1] - y[0])
    left, right = _first_and_last(x, width)
    top, bottom = _first_and_last(y, height)
    across, down = right - left, bottom - top
    keep = (across >= 0) & (down >= 0) & (depth > 0).all(0) & ((area < 0) if cull else (area != 0))
    chosen = keep.nonzero().squeeze(1)
    return chosen, torch.maximum(across, down)[chosen] + 1


def _edges(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Slopes along x and y of the edge functions, (3, M) each: edge i lies opposite corner i, inside is positive."""
    along_x, along_y = x.roll(1, 0) - x.roll(2, 0), y.roll(1, 0) - y.roll(2, 0)
    # The sign turns triangles that show their back.
    sign = torch.sign(along_x[2] * along_y[1] - along_y[2] * along_x[1])
    return sign * along_y, -sign * along_x


def _test(
    nearest: Tensor,
    vertices: Tensor,
    corners: Tensor,
    part: Tensor,
    faces: int,
    size: int,
    height: int,
    width: int,
) -> None:
    """Test a square of samples for each of some triangles, and keep the nearest.

    Args:
        nearest: the smallest pair of depth and triangle number of each sample so far, (N * H * W,); changed.
        vertices: snapped x and y, and depth, of all pictures, (N * V, 3).
        corners: triangles of all pictures, (N * T, 3).
        part: numbers of the triangles to test, (M,).
        faces: triangles a picture.
        size: side of the square in pixels, at least that of the box around each of the triangles.
        height: rows of a picture.
        width: columns of a picture.
    """
    exact = torch.float32 if size <= _EXACT_SIDE else torch.float64
    x, y, depth = _planes(vertices, corners.index_select(0, part)).to(exact)
    left, _ = _first_and_last(x, width)
    top, _ = _first_and_last(y, height)
    slope_x, slope_y = _edges(x, y)
    half = SUBPIXELS // 2
    start = slope_x * (left * SUBPIXELS + half - x.roll(2, 0)) + slope_y * (top * SUBPIXELS + half - y.roll(2, 0))
    # 1 / depth is linear in the picture; at a corner one edge function is twice the area and the others are 0.
    inverse = depth.reciprocal() / start.sum(0)
    planes = [
        torch.cat([along * SUBPIXELS, SUBPIXELS * (along * inverse).sum(0, keepdim=True)])
        for along in (slope_x, slope_y)
    ]
    # The inside of a top edge lies below it (y grows downwards), that of a left edge right of it.
    owned = (slope_x > 0) | ((slope_x == 0) & (slope_y > 0))
    origin = torch.cat([start - (~owned).to(exact), (start * inverse).sum(0, keepdim=True)])

    # Samples first, triangles last: rows as long as there are triangles, for vector units.
    steps = torch.arange(size, device=x.device, dtype=exact)
    by_row = origin + steps[:, None, None] * planes[1]
    value = (by_row[:, None] + steps[:, None, None] * planes[0]).view(size * size, 4, -1)
    inside = torch.minimum(torch.minimum(value[:, 0], value[:, 1]), value[:, 2]) >= 0
    inside &= ((top + steps[:, None] < height)[:, None] & (left + steps[:, None] < width)).view(size * size, -1)

    place = inside.view(-1).nonzero().squeeze(1)
    cell = place.div(len(part), rounding_mode="floor")
    hit = place - cell * len(part)
    # Positive floats are ordered like their bits.
    bits = value[:, 3].reshape(-1).index_select(0, place).float().reciprocal().view(torch.int32).long() << 32
    picture = part.div(faces, rounding_mode="floor")
    first = (picture * height + top.long()) * width + left.long()
    row = cell.div(size, rounding_mode="floor")
    pixel = first.index_select(0, hit) + row * (width - size) + cell
    number = (part - picture * faces).index_select(0, hit)
    nearest.scatter_reduce_(0, pixel, bits | number, "amin")


def _resolve(vertices: Tensor, corners: Tensor, nearest: Tensor, faces: int) -> Raster:
    """Weights of the winners.

    Args:
        vertices: snapped x and y, and depth, of all pictures, (N * V, 3).
        corners: triangles of all pictures, (N * T, 3).
        nearest: the smallest pair of depth and triangle number of each sample, (N, H, W) int64.
        faces: triangles a picture.
    """
    _, height, width = nearest.shape
    place = (nearest.view(-1) != _NOTHING).nonzero().squeeze(1)
    key = nearest.view(-1).index_select(0, place)
    number = key & 0xFFFFFFFF
    picture = place.div(height * width, rounding_mode="floor")
    row = place.div(width, rounding_mode="floor")
    x, y, depth = _planes(vertices, corners.index_select(0, picture * faces + number))
    slope_x, slope_y = _edges(x, y)
    half = SUBPIXELS // 2
    centre_x = (place - row * width) * SUBPIXELS + half
    centre_y = (row - picture * height) * SUBPIXELS + half
    near = (slope_x * (centre_x - x.roll(2, 0)) + slope_y * (centre_y - y.roll(2, 0))) / depth

    triangle = torch.full_like(nearest, -1)
    triangle.view(-1)[place] = number
    weights = torch.zeros(*nearest.shape, 3, device=nearest.device)
    weights.view(-1, 3)[place] = (near / near.sum(0)).t()
    far = torch.full(nearest.shape, torch.inf, device=nearest.device)
    far.view(-1)[place] = (key >> 32).int().view(torch.float32)
    return Raster(triangle, weights, far)


def interpolate(values: Tensor, triangles: Tensor, raster: Raster) -> Tensor:
    """Spread values of the vertices over the picture.

    Args:
        values: of each vertex, (N, V, C), or (V, C) for all pictures.
        triangles: corners of each triangle, (T, 3) int64.
        raster: of N pictures.

    Returns:
        (N, H, W, C); 0 where there is nothing.
    """
    count, height, width = raster.triangle.shape
    channels = values.shape[-1]
    rows = values.reshape(-1, channels)
    step = values.shape[-2] if values.ndim == 3 else 0
    spread = rows.new_empty(count, height * width, channels)
    # On a processor picture by picture, so that what is gathered stays in its cache.
    for part in torch.arange(count, device=rows.device).split(1 if rows.device.type == "cpu" else count):
        corners = triangles.index_select(0, raster.triangle[part].clamp(min=0).view(-1))
        corners = corners.view(len(part), -1, 3) + step * part[:, None, None]
        weights = raster.weights[part].view(-1, 3)
        gathered = (
            rows.index_select(0, corners[..., corner].reshape(-1)) * weights[:, corner, None] for corner in range(3)
        )
        spread[part] = sum(gathered, rows.new_zeros(())).view(len(part), -1, channels)
    return spread.view(count, height, width, channels)


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """Normals of a smooth surface: the mean of the normals of the triangles around a vertex, weighted by their areas.

    Args:
        vertices: (N, V, 3).
        triangles: counter-clockwise as seen from outside, (T, 3) int64.

    Returns:
        Unit vectors, (N, V, 3); 0 for a vertex of no triangle.
    """
    # Vertices first, so that what is gathered and added are rows that hold all pictures.
    rows = vertices.transpose(0, 1).contiguous()
    a, b, c = (rows.index_select(0, triangles[:, corner]) for corner in range(3))
    normals = torch.linalg.cross(b - a, c - a)
    total = torch.zeros_like(rows)
    for corner in range(3):
        total.index_add_(0, triangles[:, corner], normals)
    x, y, z = total.unbind(2)
    length = (x * x + y * y + z * z).sqrt().clamp(min=1e-12)
    return (total / length[..., None]).transpose(0, 1)
