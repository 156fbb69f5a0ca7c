"""Shorten a model's lashes: their meshes are solid, and at full length they would be black flaps."""

import functools

import torch
from torch import Tensor

from augment.simulation.morphable import PARTS, FaceModel

_AT_ROOT = 0.05
"""cm: what is closer to the skin is a lash's root."""
_LENGTHS = (0.26, 0.07)
"""How long the solid meshes of upper and lower lashes may be, cm: what lashes look like from a distance."""


def shorten_lashes(model: FaceModel, vertices: Tensor, lengths: Tensor) -> Tensor:
    """Pull lashes back toward their roots.

    Args:
        model: the face model; without lashes nothing changes.
        vertices: faces, cm, (N, V, 3).
        lengths: relative length of each person's lashes, (N,).

    Returns:
        (N, V, 3), cm.
    """
    lash, root, share = _roots(model)
    if not len(lash):
        return vertices
    base = vertices[:, root]
    kept = (share * lengths[:, None]).clamp(max=1)[..., None]
    return vertices.index_copy(1, lash, base + kept * (vertices[:, lash] - base))


@functools.lru_cache(maxsize=4)
def _roots(model: FaceModel) -> tuple[Tensor, Tensor, Tensor]:
    """Find each lash vertex, the root it grows from, both (L,), and the share of its length to keep, (L,)."""
    lash = (model.parts == PARTS.index("lashes")).nonzero().squeeze(1)
    skin = model.vertices[model.parts == PARTS.index("skin")]
    if not len(lash):
        return lash, lash, model.vertices.new_zeros(0)
    places = model.vertices[lash]
    roots = lash[torch.cdist(places, skin).amin(1) < _AT_ROOT]
    away, nearest = torch.cdist(places, model.vertices[roots]).min(1)
    root = roots[nearest]
    corners = model.vertices[model.landmarks[[36, 39, 42, 45]], 1].mean()
    share = torch.ones_like(away)
    upper = model.vertices[root, 1] > corners
    for which, length in zip((upper, ~upper), _LENGTHS, strict=True):
        if which.any():
            share[which] = (length / away[which].max().clamp(min=1e-6)).clamp(max=1)
    return lash, root, share
