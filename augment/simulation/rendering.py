"""Pictures of faces: project, rasterise, look up what each sample shows, light it, and average the samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from augment.simulation.camera import Camera, project, rotation
from augment.simulation.lighting import Lights, SelfShadow, lips_apart
from augment.simulation.morphable import PARTS, TEXTURE_BOTTOM, TEXTURE_TOP, FaceModel
from augment.simulation.rasterizer import interpolate, rasterize, vertex_normals
from augment.simulation.shading import Material, dot, eye_colours, shade, unit
from augment.simulation.surface import Surface

_FOLD_DEPTH = 0.06
"""Depth of a wrinkle of strength 1, cm."""
_HEAD_RADIUS = 8.5
"""Typical distance of the skin from the axis that its texture is wrapped around, cm."""
_UNDER_LIDS = 0.65
"""Share of the light that lids and lashes let through to an eye."""
_INSIDE = 0.1
"""Share of the light that arrives inside of the head."""
_LOOKS = {
    "skin": (1.0, 1.0, 0.0),
    "eyeball": (0.3, 0.7, 350.0),
    "teeth": (0.5, 0.8, 60.0),
    "gums": (0.8, 1.2, 60.0),
    "tongue": (0.8, 1.0, 40.0),
    "mouth": (0.8, 0.5, 30.0),
    "lashes": (0.0, 0.0, 10.0),
    "glasses": (0.0, 2.0, 150.0),
    "hair": (0.2, 0.8, 20.0),
}
"""Translucency, gloss and highlight exponent of every part; those of skin come from its surface, too."""


def render(
    model: FaceModel,
    vertices: Tensor,
    surface: Surface,
    camera: Camera,
    lights: Lights,
    background: Tensor,
    size: int,
    supersampling: int = 2,
    folds: Tensor | None = None,
    shadow: SelfShadow | None = None,
) -> Tensor:
    """Render faces.

    Args:
        model: the face model, dressed or not.
        vertices: its posed vertices in model space, cm, (N, V, 3).
        surface: what the N people look like.
        camera: N of them.
        lights: N of them.
        background: what is behind the faces, linear RGB, (N, 3, size, size).
        size: side of the pictures, pixels.
        supersampling: samples along a pixel's side; edges are as smooth as their square.
        folds: strength of each fold, (N, len(WRINKLES)) in [0, 1], as `Surface.wrinkle_strength` gives it; by default
            the age lines of a face at rest.
        shadow: what the undressed model hides from light, see `self_shadow`; vertices that it does not know (of hair
            and glasses) are lit from everywhere. By default nothing is hidden.

    Returns:
        Linear RGB, (N, 3, size, size), from 0 upwards.
    """
    samples = size * supersampling
    points, rotated = project(vertices, camera, samples)
    # Backs, too: where a model has a gap, such as between lid and eye, one looks into a head and not through it.
    raster = rasterize(points, model.triangles, samples, samples, cull=False)
    turn = rotation(camera.pose)
    lit, openness = _shadows(model, shadow, lights, turn, vertices)
    values = [
        model.texture_coordinates.expand(len(vertices), -1, -1),
        vertex_normals(rotated, model.triangles),
        rotated,
        openness,
        lit,
    ]
    planes = interpolate(torch.cat(values, 2), model.triangles, raster).movedim(3, 1).contiguous()
    place, normal, position, openness, lit = planes.split([2, 3, 3, 1, lit.shape[2]], 1)

    strength = surface.age_lines if folds is None else folds
    part = model.parts[model.triangles[:, 0]][raster.triangle.clamp(min=0)]
    painted = _sample(_texture(surface, strength), place)
    is_skin, is_eye = ((part == PARTS.index(name))[:, None] for name in ("skin", "eyeball"))
    normal = unit(unit(normal) + is_skin * _folded(painted[:, 4:], place, turn, surface.texture.shape[-1]))
    view = unit(_standpoint(camera) - position)
    # Smooth normals turn away a little at the rim of a face, backs do so by far.
    is_back = dot(normal, view) < -0.2
    normal = torch.where(is_back, -normal, normal)
    material = _material(surface, part, place, painted)
    # Lids and lashes are nearer to an eye than the shadows can tell apart.
    sheltered = torch.where(is_eye, _UNDER_LIDS * openness, torch.where(is_back & is_skin, _INSIDE, 1.0))
    colour = shade(material, normal, view, lit * sheltered, openness * sheltered, lights)

    covered = (raster.triangle >= 0)[:, None]
    foreground = avg_pool2d(colour * covered, supersampling)
    share = avg_pool2d(covered.to(colour.dtype), supersampling)
    return foreground + (1 - share) * background


def _standpoint(camera: Camera) -> Tensor:
    """Where the camera is, camera space, cm, (N, 3, 1, 1)."""
    zero = torch.zeros_like(camera.distance)
    return torch.stack([zero, zero, camera.distance], 1)[:, :, None, None]


def _shadows(
    model: FaceModel, shadow: SelfShadow | None, lights: Lights, turn: Tensor, vertices: Tensor
) -> tuple[Tensor, Tensor]:
    """Shares of lamps' light (N, V, L) and of even light (N, V, 1) that arrive at the vertices (N, V, 3)."""
    lit = vertices.new_ones(*vertices.shape[:2], lights.direction.shape[1])
    openness = vertices.new_ones(*vertices.shape[:2], 1)
    if shadow is not None:
        known, apart = len(shadow.openness), lips_apart(model, vertices)
        # Row vectors times a rotation from the right: the lamps as the head sees them.
        lit[:, :known] = shadow.toward(lights.direction @ turn, apart)
        openness[:, :known] = shadow.open_to(apart)[..., None]
    return lit, openness


def _texture(surface: Surface, strength: Tensor) -> Tensor:
    """Albedo, shine and slope of the folds along u and v in cm a texel, (N, 6, R, R)."""
    depth = torch.einsum("nw,nwyx->nyx", strength, surface.wrinkles)[:, None].clamp(0, 1)
    along = (depth.roll(-1, 3) - depth.roll(1, 3)) / 2
    down = (depth.roll(-1, 2) - depth.roll(1, 2)) / 2
    return torch.cat([surface.albedo(strength), surface.shine, along, down], 1)


def _sample(texture: Tensor, place: Tensor) -> Tensor:
    """Look textures (N, C, R, R) up at coordinates (N, 2, H, W) in [0, 1], bilinearly; (N, C, H, W)."""
    return grid_sample(texture, 2 * place.movedim(1, 3) - 1, "bilinear", "border", align_corners=False)


def _folded(slopes: Tensor, place: Tensor, turn: Tensor, side: int) -> Tensor:
    """What wrinkles add to unit normals.

    Args:
        slopes: change of the folds' strength a texel along u and v, (N, 2, H, W).
        place: texture coordinates, (N, 2, H, W).
        turn: rotation of the heads, (N, 3, 3).
        side: side of the texture, texels.

    Returns:
        (N, 3, H, W), in camera space: the slope into the fold, along the surface.
    """
    right, up, front = turn[..., None, None].unbind(2)
    angle = 2 * math.pi * (place[:, :1] - 0.5)
    tangent = angle.cos() * right - angle.sin() * front
    along = slopes[:, :1] * (_FOLD_DEPTH * side / (2 * math.pi * _HEAD_RADIUS))
    down = slopes[:, 1:] * (_FOLD_DEPTH * side / (TEXTURE_TOP - TEXTURE_BOTTOM))
    return along * tangent - down * up


def _material(surface: Surface, part: Tensor, place: Tensor, painted: Tensor) -> Material:
    """What the samples are made of.

    Args:
        surface: of N people.
        part: number of each sample's part, (N, H, W).
        place: texture coordinates, (N, 2, H, W).
        painted: albedo and shine of the skin there, (N, 4 or more, H, W).
    """
    colours = surface.part_colours
    person = torch.arange(len(part), device=part.device)[:, None, None]
    flat = colours.reshape(-1, 3).index_select(0, (part + person * colours.shape[1]).view(-1))
    person = person.expand_as(part).reshape(-1)
    eyes = (part.view(-1) == PARTS.index("eyeball")).nonzero().squeeze(1)
    owner = person[eyes]
    seen = place.movedim(1, 3).reshape(-1, 2)[eyes]
    flat[eyes] = eye_colours(seen, flat[eyes], surface.iris[owner], surface.pupil[owner])

    looks = flat.new_tensor([_LOOKS[name] for name in PARTS])
    looks = looks.index_select(0, part.view(-1)).view(*part.shape, 3).movedim(3, 1)
    translucency, gloss, exponent = looks[:, :1], looks[:, 1:2], looks[:, 2:]
    is_skin = (part == PARTS.index("skin"))[:, None]
    roughness, specular = (value[:, None, None, None] for value in (surface.roughness, surface.specular))
    # A shine of 0.5 and a specular weight of 0.5 are an ordinary cheek.
    skin_gloss = 4 * specular * painted[:, 3:4]
    return Material(
        albedo=torch.where(is_skin, painted[:, :3], flat.view(*part.shape, 3).movedim(3, 1)),
        translucency=translucency,
        gloss=torch.where(is_skin, skin_gloss, gloss),
        exponent=torch.where(is_skin, 2 / roughness**4 - 2, exponent),
    )
