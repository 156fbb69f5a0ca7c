"""Points of MediaPipe's face mesh tied to a face model's surface, so that they move with it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.simulation.morphable import PARTS, FaceModel

SHIPPED = Path(__file__).parent / "built_in_landmarks.npz"
"""The built-in head's points; `augment.simulation.correspondence.write_built_in_landmarks` wrote them."""
IRISES = slice(468, 478)
"""MediaPipe's points that lie on the eyeballs; all others lie on the skin."""


def read_points(path: Path) -> Tensor:
    """Read the places of MediaPipe's points near a mean face, cm, (478, 3)."""
    with np.load(path, allow_pickle=False) as file:
        return torch.from_numpy(file["points"])


def embed(model: FaceModel, points: Tensor) -> FaceModel:
    """Tie points to the nearest places of a model's surface: irises to the eyeballs, all others to the skin.

    Args:
        model: on the CPU.
        points: near the mean face, cm, (478, 3).

    Returns:
        The model with `mesh_triangles` and `mesh_weights`.
    """
    part = model.parts[model.triangles]
    triangles = torch.empty(len(points), dtype=torch.int64)
    weights = torch.empty(len(points), 3)
    chosen = torch.zeros(len(points), dtype=torch.bool)
    chosen[IRISES] = True
    for name, some in (("eyeball", chosen), ("skin", ~chosen)):
        allowed = (part == PARTS.index(name)).all(1).nonzero().squeeze(1)
        triangles[some], weights[some] = _nearest(model.vertices, model.triangles, allowed, points[some])
    return replace(model, mesh_triangles=triangles, mesh_weights=weights)


def _nearest(vertices: Tensor, triangles: Tensor, allowed: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest triangle among those allowed, (P,), and barycentric weights of its nearest point, (P, 3)."""
    corners = vertices[triangles[allowed]].double()
    points = points.double()
    # The nearest triangle is among those with the nearest middles: all are small where landmarks lie.
    near = torch.cdist(points, corners.mean(1)).topk(min(48, len(allowed)), largest=False).indices
    weights = closest_weights(points[:, None], corners[near])
    distance = ((weights[..., None] * corners[near]).sum(2) - points[:, None]).norm(dim=2)
    best = distance.argmin(1)
    rows = torch.arange(len(points))
    return allowed[near[rows, best]], weights[rows, best].float()


def closest_weights(points: Tensor, corners: Tensor) -> Tensor:
    """Barycentric weights of the point of a triangle that is closest to a point.

    Args:
        points: (..., 3).
        corners: (..., 3 corners, 3).

    Returns:
        (..., 3), at least 0, sum 1.
    """
    a, b, c = corners.unbind(-2)
    # Inside: project onto the plane. Outside: the best of the three sides.
    u, v, w = b - a, c - a, points - a
    uu, uv, vv, wu, wv = ((p * q).sum(-1) for p, q in ((u, u), (u, v), (v, v), (w, u), (w, v)))
    scale = (uu * vv - uv * uv).clamp_min(1e-18)
    second, third = (vv * wu - uv * wv) / scale, (uu * wv - uv * wu) / scale
    candidates = [torch.stack([1 - second - third, second, third], -1)]
    inside = (candidates[0] >= 0).all(-1)
    zero = torch.zeros_like(uu)
    for start, end, place in ((a, b, (0, 1)), (b, c, (1, 2)), (c, a, (2, 0))):
        side = end - start
        share = (((points - start) * side).sum(-1) / (side * side).sum(-1).clamp_min(1e-18)).clamp(0, 1)
        parts = [zero, zero, zero]
        parts[place[0]], parts[place[1]] = 1 - share, share
        candidates.append(torch.stack(parts, -1))
    options = torch.stack(candidates)
    distance = ((options[..., None] * corners).sum(-2) - points).norm(dim=-1)
    distance[0] = torch.where(inside, distance[0], torch.inf)
    best = distance.argmin(0)
    return options.gather(0, best[None, ..., None].expand(1, *best.shape, 3))[0]
