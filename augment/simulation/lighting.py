"""Light: lamps, ambient light as spherical harmonics, and what a head hides from itself."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from augment.simulation.morphable import PARTS, FaceModel
from augment.simulation.rasterizer import rasterize, vertex_normals

_DIRECTIONS = 80
"""Directions that a head's shadows are measured for; neighbours are some 25 degrees apart."""
_PENUMBRA = 24.0
"""Concentration of the weights around a lamp's direction: lamps are some 30 degrees wide, like a window."""
_MAP = 128
"""Side of the shadow maps, pixels."""
_LEEWAY = 0.3
"""How far behind the surface of a shadow map a vertex may lie and still be lit, cm."""
_PARTED = {"jawOpen": 0.25}
"""Blendshapes of the face while its shadows are measured: lips that do not touch."""
_BARED = _PARTED | {
    f"{name}{side}": 0.7 for name in ("mouthUpperUp", "mouthLowerDown", "mouthSmile") for side in ("Left", "Right")
}
"""The same for teeth and gums where the lips are drawn back from them: then they get as much light as lips do."""
_WIDE = {"jawOpen": 0.8}
"""The same for tongue and lining of the mouth, where it stands wide open."""
_TEETH, _LINING = 0.7, 0.4
"""Albedo of what stands around teeth, and around tongue and lining, for the light that comes back from there: even
light arrives at them from all sides again and again, and openness alone would leave them in the dark (Jimenez et al.,
"Practical realtime strategies for accurate indirect occlusion", 2016)."""
_BARED_BY, _WIDE_BY = 0.4, 2.0
"""Distance of the middles of the lips, cm, from which on teeth are lit as bared ones, and the mouth's inside as that of
one that is wide open."""


@dataclass(frozen=True, eq=False)
class Lights:
    """Light on N heads: L lamps far away, and light from all around."""

    direction: Tensor
    """Unit vectors toward the lamps in camera space (x right, y up, z toward the camera), (N, L, 3)."""
    colour: Tensor
    """Radiance that a white surface facing the lamp sends back, linear RGB, (N, L, 3)."""
    ambient: Tensor
    """Radiance that a white surface sends back, by its normal in camera space: coefficients of `harmonics`, linear
    RGB, (N, 9, 3); see `ambient_light`."""

    def to(self, device: torch.device | str) -> Lights:
        """Move to a device."""
        return Lights(self.direction.to(device), self.colour.to(device), self.ambient.to(device))


def harmonics(vectors: Tensor, dim: int = -1) -> Tensor:
    """Real spherical harmonics of orders 0 to 2.

    Args:
        vectors: unit vectors, (..., 3, ...).
        dim: where x, y and z stand.

    Returns:
        In the order (0,0) (1,-1) (1,0) (1,1) (2,-2) (2,-1) (2,0) (2,1) (2,2), (..., 9, ...).

    Source: Ramamoorthi and Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001, eq. 3.
    """
    x, y, z = vectors.unbind(dim)
    return torch.stack(
        [
            torch.full_like(x, 0.282095),
            *(0.488603 * y, 0.488603 * z, 0.488603 * x),
            *(1.092548 * x * y, 1.092548 * y * z, 0.315392 * (3 * z * z - 1), 1.092548 * x * z),
            0.546274 * (x * x - y * y),
        ],
        dim,
    )


def ambient_light(direction: Tensor, colour: Tensor, even: Tensor) -> Tensor:
    """Make ambient light of an even room with soft sources in it, such as a sky, a bright wall or a ceiling.

    Args:
        direction: unit vectors toward the sources, camera space, (N, B, 3).
        colour: radiance that a white surface facing the source alone sends back, linear RGB, (N, B, 3).
        even: radiance from everywhere, linear RGB, (N, 3).

    Returns:
        `Lights.ambient`, (N, 9, 3).

    Source: Ramamoorthi and Hanrahan 2001, eq. 8: what a source does to a surface is its harmonics times pi,
    2 pi / 3 and pi / 4 for the orders 0, 1 and 2.
    """
    order = direction.new_tensor([math.pi, *3 * [2 * math.pi / 3], *5 * [math.pi / 4]])
    ambient = torch.einsum("nbk,nbc->nkc", harmonics(direction) * order, colour)
    ambient[:, 0] += 2 * math.sqrt(math.pi) * even
    return ambient


@dataclass(frozen=True, eq=False)
class SelfShadow:
    """How much of each direction a head leaves free above each of its V vertices, at rest.

    For its M vertices inside the mouth, this is with lips that hardly part, and there is another set for when light
    gets in: bared teeth and gums, tongue and lining of a mouth wide open.
    """

    directions: Tensor
    """Unit vectors in model space, (K, 3)."""
    free: Tensor
    """Share of the light from each direction that arrives, (V, K) in [0, 1]."""
    openness: Tensor
    """Share of even light from all around that arrives, (V,) in [0, 1]."""
    inside: Tensor
    """Vertices of teeth, gums, tongue and lining of the mouth, (M,) int64."""
    lit_by: Tensor
    """Distance of the lips, cm, from which on the other set is theirs, (M,)."""
    lit_free: Tensor
    """Their `free` then, (M, K)."""
    lit_openness: Tensor
    """Their `openness` then, with the light that they send each other, (M,)."""

    def toward(self, lamps: Tensor, apart: Tensor) -> Tensor:
        """Shadows of lamps.

        Args:
            lamps: unit vectors toward them, model space, (N, L, 3).
            apart: distance of the lips, cm, (N,).

        Returns:
            Share of their light that arrives at each vertex, (N, V, L) in [0, 1].
        """
        near = torch.softmax(_PENUMBRA * (lamps @ self.directions.t()), -1)
        lit = near @ self.free.t()
        lit[..., self.inside] = lit[..., self.inside].lerp(near @ self.lit_free.t(), self._let_in(apart)[:, None])
        return lit.transpose(1, 2)

    def open_to(self, apart: Tensor) -> Tensor:
        """Share of even light that arrives at each vertex, (N, V) in [0, 1], for `apart` as in `toward`."""
        openness = self.openness.repeat(len(apart), 1)
        openness[:, self.inside] = openness[:, self.inside].lerp(self.lit_openness, self._let_in(apart))
        return openness

    def _let_in(self, apart: Tensor) -> Tensor:
        """How far from the one set to the other, (N, M) in [0, 1]."""
        return (apart[:, None] / self.lit_by).clamp(0, 1)


def lips_apart(model: FaceModel, vertices: Tensor) -> Tensor:
    """Distance of the middles of the lips, (N, V, 3) to (N,), cm."""
    upper, lower = (vertices[:, model.landmarks[point], 1] for point in (62, 66))
    return (upper - lower).clamp(min=0)


def sphere(count: int) -> Tensor:
    """Unit vectors spread evenly over the sphere on a Fibonacci spiral, (count, 3)."""
    number = torch.arange(count) + 0.5
    height = 1 - 2 * number / count
    across = (1 - height * height).sqrt()
    angle = math.pi * (1 + math.sqrt(5)) * number
    return torch.stack([across * angle.cos(), height, across * angle.sin()], 1)


@functools.lru_cache(maxsize=4)
def self_shadow(model: FaceModel) -> SelfShadow:
    """Measure the shadows that a model's mean face throws on itself, mouth a little open, wide open, and teeth bared.

    A shadow map is rendered from each of many directions; shadows of sockets, nostrils, nose, lips and chin are the
    same for every face of the model then, which costs a picture next to nothing.

    Args:
        model: the face model, not dressed.

    Returns:
        The shadows, on the model's device; the same object when the model is asked again.
    """
    directions = sphere(_DIRECTIONS).to(model.vertices)
    free, openness = _free(model, _PARTED, directions)
    inside, lit = [], []
    for names, shapes, albedo, by in (
        (("teeth", "gums"), _BARED, _TEETH, _BARED_BY),
        (("tongue", "mouth"), _WIDE, _LINING, _WIDE_BY),
    ):
        numbers = model.parts.new_tensor([PARTS.index(name) for name in names])
        inside.append(torch.isin(model.parts, numbers).nonzero()[:, 0])
        more, opener = (values[inside[-1]] for values in _free(model, shapes, directions))
        # What is inside lights each other.
        lit.append((torch.full_like(opener, by), more, opener / (1 - albedo * (1 - opener))))
    return SelfShadow(directions, free, openness, torch.cat(inside), *map(torch.cat, zip(*lit, strict=True)))


def _free(model: FaceModel, shapes: Mapping[str, float], toward: Tensor) -> tuple[Tensor, Tensor]:
    """`SelfShadow.free` and `openness` of the mean face with an expression, for directions (K, 3)."""
    vertices = model.vertices
    for name, value in shapes.items():
        if name in model.expression_names:
            vertices = vertices + value * model.expression[model.expression_names.index(name)]
    # Lashes are cards with hairs painted on them; as a whole they would darken the eyes.
    casts = model.parts[model.triangles[:, 0]] != PARTS.index("lashes")
    triangles = model.triangles[casts]
    normals = vertex_normals(vertices[None], model.triangles)[0]
    free = torch.cat([_shadow_map(vertices, normals, triangles, part) for part in toward.split(8)]).t()
    cosine = (normals @ toward.t()).clamp(min=0)
    return free.contiguous(), (free * cosine).sum(1) / cosine.sum(1).clamp(min=1e-6)


def _shadow_map(vertices: Tensor, normals: Tensor, triangles: Tensor, toward: Tensor) -> Tensor:
    """Share of the light from each of D directions (D, 3) that arrives at each vertex (V, 3), (D, V) in [0, 1]."""
    # Any two axes across the direction will do.
    helper = torch.where(toward[:, 1:2].abs() < 0.9, toward.new_tensor([0.0, 1, 0]), toward.new_tensor([1.0, 0, 0]))
    right = torch.nn.functional.normalize(torch.linalg.cross(helper, toward), dim=1)
    view = torch.stack([right, torch.linalg.cross(toward, right), toward], 1)
    # A vertex is looked for a little outside of its own surface, or coarse pixels would shade it with itself.
    seen = torch.stack([vertices, vertices + _LEEWAY / 2 * normals]) @ view[:, None].transpose(2, 3)
    reach = seen.abs().amax() * 1.05
    place = (seen[..., :2] * seen.new_tensor([1, -1]) / reach + 1) / 2
    depth = 2 * reach - seen[..., 2]
    points = torch.cat([place[:, 0] * _MAP, depth[:, 0, :, None]], -1)
    surface = rasterize(points, triangles, _MAP, _MAP, cull=False).depth
    # Percentage-closer filtering: compare first, then average over the four pixels around (Reeves et al. 1987).
    pixel = place[:, 1] * _MAP - 0.5
    corner = pixel.floor()
    fraction = pixel - corner
    lit = torch.zeros_like(depth[:, 1])
    for down in (0, 1):
        for across in (0, 1):
            column, row = (corner + corner.new_tensor([across, down])).long().clamp(0, _MAP - 1).unbind(-1)
            nearest = surface.flatten(1).gather(1, row * _MAP + column)
            share = (fraction - (1 - fraction.new_tensor([across, down]))).abs().prod(-1)
            lit += share * (nearest > depth[:, 1] - _LEEWAY)
    return lit
