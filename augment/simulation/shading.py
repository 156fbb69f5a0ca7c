"""What light does to skin, eyes, teeth, hair and glasses, sample by sample.

Everything here is laid out as planes, (N, channels, H, W), because vector units of processors and graphics cards like
long rows of one kind.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from augment.simulation.eyeballs import EYE_TEXTURE_EXTENT
from augment.simulation.lighting import Lights, harmonics

_IRIS_RADIUS = 0.59
"""cm; the human mean from edge to edge is 11.7 mm (Rüfer et al., Cornea 2005)."""
_FRESNEL = 0.04
"""Share of light that wet or oily surfaces (refractive index 1.5) mirror straight on."""
_ROOM = 0.25
"""Share of the mirrored ambient light that a rough surface shows."""
_WRAP = (0.30, 0.14, 0.10)
"""How far red, green and blue light wraps around the terminator of skin, as shares of the cosine."""
_BLEED = (0.10, 0.03, 0.02)
"""How much of the red, green and blue light of a lamp finds its way through skin into a shadow."""


@dataclass(frozen=True, eq=False)
class Material:
    """What a batch of samples is made of, planes of (N, C, H, W)."""

    albedo: Tensor
    """Share of light sent back, linear RGB, (N, 3, H, W) in [0, 1]."""
    translucency: Tensor
    """How much light goes under the surface and comes out elsewhere, 1 for skin, (N, 1, H, W) in [0, 1]."""
    gloss: Tensor
    """Weight of mirrored light, 1 for a bare smooth dielectric, (N, 1, H, W)."""
    exponent: Tensor
    """Blinn and Phong's exponent: how small highlights are, (N, 1, H, W)."""


def shade(material: Material, normal: Tensor, view: Tensor, lit: Tensor, openness: Tensor, lights: Lights) -> Tensor:
    """Light samples.

    Args:
        material: what they are made of.
        normal: unit vectors in camera space, (N, 3, H, W).
        view: unit vectors toward the camera, (N, 3, H, W).
        lit: share of each lamp's light that arrives, (N, L, H, W) in [0, 1].
        openness: share of even light that arrives, (N, 1, H, W) in [0, 1].
        lights: the N lights.

    Returns:
        Radiance, linear RGB, (N, 3, H, W).

    Source: wrapped diffuse light as in Green, "Real-Time Approximations to Subsurface Scattering", GPU Gems 2004;
    highlights of Blinn 1977, normalised, with Schlick's Fresnel term (1994).
    """
    wrap = material.translucency * normal.new_tensor(_WRAP)[:, None, None]
    bleed = material.translucency * normal.new_tensor(_BLEED)[:, None, None]
    facing = dot(normal, view).clamp(0, 1)
    rim = _schlick(facing)
    mirrored = 2 * facing * normal - view
    diffuse = openness * _ambient(lights.ambient, normal)
    gloss = _ROOM * rim * openness * _ambient(lights.ambient, mirrored)
    height = (material.exponent + 8) / 8
    for lamp in range(lights.direction.shape[1]):
        toward = lights.direction[:, lamp, :, None, None]
        colour = lights.colour[:, lamp, :, None, None]
        cosine, free = dot(normal, toward), lit[:, lamp, None]
        wrapped = ((cosine + wrap) / (1 + wrap)).clamp(min=0)
        diffuse = diffuse + colour * wrapped * (free + (1 - free) * bleed)
        half = unit(toward + view)
        fresnel = _schlick(dot(half, view).clamp(0, 1))
        peak = height * dot(half, normal).clamp(0, 1) ** material.exponent
        gloss = gloss + colour * (free * fresnel * peak * cosine.clamp(min=0))
    return material.albedo * diffuse + material.gloss * gloss


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product of planes of vectors, (N, 3, H, W) each; (N, 1, H, W)."""
    return a[:, :1] * b[:, :1] + a[:, 1:2] * b[:, 1:2] + a[:, 2:] * b[:, 2:]


def unit(vectors: Tensor) -> Tensor:
    """Scale planes of vectors, (N, 3, H, W), to length 1; 0 stays 0."""
    # torch's own norm over a dimension of three is many times slower than this.
    return vectors * dot(vectors, vectors).clamp(min=1e-20).rsqrt()


def _schlick(cosine: Tensor) -> Tensor:
    """Share of light that is mirrored, by the cosine of its angle."""
    rest = 1 - cosine
    square = rest * rest
    return _FRESNEL + (1 - _FRESNEL) * square * square * rest


def _ambient(coefficients: Tensor, normal: Tensor) -> Tensor:
    """Radiance of a white surface under ambient light, (N, 3, H, W), from (N, 9, 3) and unit vectors (N, 3, H, W)."""
    basis = harmonics(normal, 1).flatten(2)
    return (coefficients.transpose(1, 2) @ basis).view_as(normal).clamp(min=0)


def eye_colours(place: Tensor, white: Tensor, iris: Tensor, pupil: Tensor) -> Tensor:
    """Paint eyeballs.

    Args:
        place: texture coordinates as of `eyeballs.eye_coordinates`, (K, 2).
        white: colour of the white of the eye, linear RGB, (K, 3).
        iris: colour of the iris, linear RGB, (K, 3).
        pupil: radius of the pupil as a share of the iris's, (K,).

    Returns:
        Albedo, (K, 3): a white that reddens toward the corners, the limbus as a soft dark ring, an iris with radial
        fibres, lighter around the pupil, and a black pupil.
    """
    offset = (place - 0.5) * EYE_TEXTURE_EXTENT
    radius = torch.linalg.vector_norm(offset, dim=1) / _IRIS_RADIUS
    angle = torch.atan2(offset[:, 1], offset[:, 0])
    redness = ((radius - 1.2) / 1.2).clamp(0, 1)[:, None]
    sclera = white * (1 - redness * white.new_tensor([0.12, 0.35, 0.35]))
    fibres = 1 + 0.16 * torch.cos(23 * angle) * torch.cos(9 * angle + 1) + 0.12 * torch.cos(5 * angle + 2)
    collarette = 1 + 0.3 * torch.exp(-(((radius - pupil - 0.15) / 0.15) ** 2))
    ring = 1 - 0.65 * torch.exp(-(((radius - 0.97) / 0.14) ** 2))
    colour = iris * (fibres * collarette * ring)[:, None]
    colour = colour * _smooth(radius, pupil - 0.05, pupil + 0.05)[:, None]
    inside = _smooth(radius, radius.new_tensor(1.06), radius.new_tensor(0.94))[:, None]
    return inside * colour + (1 - inside) * sclera


def _smooth(value: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Rise from 0 at `start` to 1 at `end`, without corners."""
    share = ((value - start) / (end - start)).clamp(0, 1)
    return share * share * (3 - 2 * share)
