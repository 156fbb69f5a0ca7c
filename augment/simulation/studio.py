"""From scenes to pictures, with the exact place of every landmark; and pictures of expressions given outright."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from augment.action_units import BLENDSHAPE_NAMES, feasible
from augment.faces import LANDMARKS
from augment.simulation.appearance import AppearanceSettings, draw_appearance, dress
from augment.simulation.backgrounds import background
from augment.simulation.behaviour import expression_array
from augment.simulation.camera import Camera, aim, alignment_anchors, project
from augment.simulation.lighting import Lights, ambient_light, self_shadow
from augment.simulation.morphable import PARTS, FaceModel, load_face_model
from augment.simulation.photograph import CameraEffects, photograph
from augment.simulation.rendering import render
from augment.simulation.scenes import Place, Scene, SceneSettings, appearance_generator, draw_scene, identity_of
from augment.simulation.surface import Surface
from emoaug import EmoaugError

_PIXELS = {"cpu": 1 << 16, "cuda": 1 << 23}
"""Pixels that are rendered together: what a processor's cache holds, or what keeps a graphics card busy."""
_METERED = 0.35
"""Linear albedo of skin that is exposed as it is."""
_METERING = 0.35
"""How much of the difference to it a camera makes up for, on a scale of stops."""


@dataclass(frozen=True, eq=False)
class Portraits:
    """Pictures of N scenes, and what is exactly known of them."""

    pictures: Tensor
    """RGB, (N, 3, S, S) float32 in [-1, 1]."""
    landmarks: np.ndarray
    """MediaPipe's mesh as `augment.faces.FaceMeasures` has it, (N, 478, 3) float32; NaN if it is not known."""
    blendshapes: np.ndarray
    """Values in the order of `BLENDSHAPE_NAMES`, (N, 52) float32 in [0, 1]."""
    people: tuple[dict[str, Any], ...]
    """What each picture's person looks like; see `Surface.describe`."""


def take_pictures(
    model: FaceModel, scenes: Sequence[Scene], settings: SceneSettings, size: int, device: str = "cpu"
) -> Portraits:
    """Render scenes.

    The last bits of a picture depend on how many scenes are rendered with it, so the same scenes together always give
    the same bytes.

    Args:
        model: the face model, on `device`.
        scenes: N of them; those of one person share the painting of their skin.
        settings: those that the scenes were drawn with.
        size: side of the pictures, pixels.
        device: where to compute.
    """
    subjects = list(dict.fromkeys(scene.subject for scene in scenes))
    people = draw_appearance(
        model,
        [appearance_generator(settings, subject) for subject in subjects],
        AppearanceSettings(texture_size=_texture_size(size), spread=settings.spread),
    ).to(device)
    at_once = max(1, _PIXELS[torch.device(device).type] // size**2)
    pictures, landmarks, descriptions = [], [], []
    for start in range(0, len(scenes), at_once):
        some = scenes[start : start + at_once]
        surface = people.select([subjects.index(scene.subject) for scene in some])
        seen, points = _take(model, some, surface, settings, size)
        pictures.append(seen)
        landmarks.append(points)
        descriptions += surface.describe()
    values = torch.tensor(
        [[scene.expression.get(name, 0.0) for name in BLENDSHAPE_NAMES] for scene in scenes], dtype=torch.float32
    )
    return Portraits(torch.cat(pictures), np.concatenate(landmarks), values.numpy(), tuple(descriptions))


def _take(
    model: FaceModel, scenes: Sequence[Scene], surface: Surface, settings: SceneSettings, size: int
) -> tuple[Tensor, np.ndarray]:
    """Pictures (N, 3, size, size) in [-1, 1] of scenes whose people look like `surface`, and landmarks (N, 478, 3)."""
    device = model.vertices.device
    identity = torch.stack([identity_of(settings, scene.subject) for scene in scenes]).to(device)
    expression = expression_array([scene.expression for scene in scenes], model.expression_names).to(device)
    vertices = model.shape(identity[:, : len(model.identity)], expression)
    camera = aim(
        alignment_anchors(vertices[:, model.landmarks]),
        torch.tensor([scene.pose for scene in scenes], device=device),
        torch.tensor([scene.distance for scene in scenes], device=device),
        torch.tensor([scene.targets for scene in scenes], device=device),
    )
    dressed, clothed = dress(model, vertices, surface)
    places = [scene.place for scene in scenes]
    linear = render(
        dressed,
        clothed,
        surface,
        camera,
        _lights(places).to(device),
        background([_seeded(place.background_seed) for place in places], size, [place.backdrop for place in places]).to(
            device
        ),
        size,
        folds=surface.wrinkle_strength(expression, model.expression_names),
        shadow=self_shadow(model),
    )
    effects = _effects(places, surface.part_colours[:, PARTS.index("skin")], size).to(device)
    pictures = photograph(linear, effects, [_seeded(scene.seed) for scene in scenes])
    return pictures, _landmarks(model, vertices, camera)


def render_expressions(
    expressions: Sequence[Mapping[str, float]],
    size: int = 256,
    model: FaceModel | None = None,
    subjects: Sequence[int] | None = None,
    poses: Sequence[tuple[float, float, float]] | None = None,
    settings: SceneSettings | None = None,
    device: str = "cpu",
) -> Tensor:
    """Render faces whose expressions are given outright.

    Args:
        expressions: blendshape to value, one mapping a picture; `from_action_units` makes one of action units.
        size: side of the pictures, pixels.
        model: the face model, on `device`; by default the built-in head.
        subjects: number of each picture's person; by default the same person in all of them.
        poses: yaw, pitch and roll of each head, degrees; by default straight ahead.
        settings: what else the scenes are like: `seed` decides people, light and background, `spread` how these vary.
        device: where to compute.

    Returns:
        RGB, (N, 3, size, size) float32 in [-1, 1].

    Raises:
        EmoaugError: an unknown blendshape, or lists of different lengths.
    """
    count = len(expressions)
    subjects = [0] * count if subjects is None else list(subjects)
    poses = [(0.0, 0.0, 0.0)] * count if poses is None else list(poses)
    if len(subjects) != count or len(poses) != count:
        raise EmoaugError(f"{count} expressions, {len(subjects)} subjects and {len(poses)} poses; give as many of each")
    # Always in session: pictures of one person differ by the expression only.
    settings = replace(settings or SceneSettings(), per_subject=1, session=1.0, jitter=0.0)
    scenes = [
        replace(draw_scene(settings, subject), expression=feasible(expression), pose=pose)
        for expression, subject, pose in zip(expressions, subjects, poses, strict=True)
    ]
    return take_pictures(model or load_face_model(None), scenes, settings, size, device).pictures


def _texture_size(size: int) -> int:
    """Side of the painted textures: the face is about a third of the texture around the head, and fills the picture."""
    return 192 if size <= 64 else 256 if size <= 128 else 512


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _lights(places: Sequence[Place]) -> Lights:
    """The lights of N places."""
    lamps = torch.tensor([place.lamps for place in places])
    sources = torch.tensor([place.sources for place in places])
    even = torch.tensor([place.even for place in places])
    return Lights(lamps[..., :3], lamps[..., 3:], ambient_light(sources[..., :3], sources[..., 3:], even))


def _effects(places: Sequence[Place], skin: Tensor, size: int) -> CameraEffects:
    """The cameras of N places.

    Args:
        places: N of them.
        skin: mean albedo of each person's skin, linear RGB, (N, 3).
        size: side of the pictures, pixels.
    """
    values = {name: torch.tensor([place.camera[name] for place in places]) for name in places[0].camera}
    warmth = values["warmth"].exp()
    # Cameras meter the face that they see: dark skin gets more light, though not as much as would make it light.
    metered = (_METERED / skin.cpu().mean(1).clamp(min=0.01)) ** _METERING
    return CameraEffects(
        exposure=metered * 2 ** values["exposure"],
        white_balance=torch.stack([warmth, torch.ones_like(warmth), 1 / warmth], 1),
        blur=values["blur"] * size,
        vignette=values["vignette"],
        shot_noise=values["noise"],
        read_noise=values["noise"] / 4,
        contrast=values["contrast"],
        quality=values["jpeg"],
        grey=values["grey"] > 0,
    )


def _landmarks(model: FaceModel, vertices: Tensor, camera: Camera) -> np.ndarray:
    """MediaPipe's mesh in the picture, (N, 478, 3): x and y with the edges at -1 and 1, z in the same scale."""
    if model.mesh_triangles is None:
        return np.full((len(vertices), LANDMARKS, 3), np.nan, np.float32)
    points, _ = project(model.landmarks478(vertices), camera, 1)
    # Pictures of things at the distance of the eyes: cm to shares of the side.
    scale = torch.linalg.vector_norm(camera.frame[:, :, 0], dim=1) / camera.distance
    depth = (points[..., 2] - camera.distance[:, None]) * scale[:, None]
    return torch.cat([points[..., :2] * 2 - 1, 2 * depth[..., None]], 2).cpu().numpy()
