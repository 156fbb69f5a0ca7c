"""Where MediaPipe's 478 points lie on a face model: found once by looking, then known exactly for every picture."""

from __future__ import annotations

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.landmarker import FaceLandmarker
from augment.models import cache_folder
from augment.pictures import write_bytes
from augment.simulation.appearance import AppearanceSettings, draw_appearance, dress
from augment.simulation.camera import Camera, aim, alignment_anchors, project
from augment.simulation.lighting import Lights, ambient_light
from augment.simulation.mesh_points import IRISES, SHIPPED, embed, read_points
from augment.simulation.morphable import PARTS, FaceModel
from augment.simulation.photograph import to_srgb
from augment.simulation.rasterizer import rasterize
from augment.simulation.rendering import render
from emoaug import EmoaugError

INNER_LIPS = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308, 324, 318, 402, 317, 14, 87, 178, 88, 95)
"""MediaPipe's points along the lips' inner edges, which show where they lie in a parted mouth only."""

_PIXELS = 512
_EXPRESSIONS: tuple[dict[str, float], ...] = (
    {"jawOpen": 0.35},
    {"jawOpen": 0.2, "mouthSmileLeft": 0.5, "mouthSmileRight": 0.5},
    {},
    {"jawOpen": 0.5, "browInnerUp": 0.4, "browOuterUpLeft": 0.3, "browOuterUpRight": 0.3},
)
_YAW = (0.0, -12.0, 12.0, 6.0, -6.0, 0.0)


def with_landmarks(model: FaceModel) -> FaceModel:
    """Give a model with `mesh_triangles` and `mesh_weights`.

    Where it lacks them they are found with MediaPipe, after a line on stderr, and kept in the cache folder.

    Args:
        model: on the CPU.

    Raises:
        EmoaugError: they have to be found, and MediaPipe's model is missing or sees no face.
    """
    if model.mesh_triangles is not None:
        return model
    digest = hashlib.sha256(model.vertices.numpy().tobytes() + model.triangles.numpy().tobytes()).hexdigest()[:16]
    path = cache_folder() / f"{model.name}-{digest}-landmarks.npz"
    if not path.is_file():
        print(f"emoaug: finding MediaPipe's points on the face model {model.name}, once: {path}", file=sys.stderr)
        points = find_points(model, FaceLandmarker())
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, points)
    return embed(model, read_points(path))


def write_built_in_landmarks(landmarker: FaceLandmarker, path: Path = SHIPPED) -> None:
    """Find the built-in head's points anew and write them; to be done after its shape was changed."""
    from augment.simulation.head import bare_head

    _write(path, find_points(bare_head(), landmarker))


def _write(path: Path, points: Tensor) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, points=points.numpy())
    write_bytes(path, buffer.getvalue())


def find_points(model: FaceModel, landmarker: FaceLandmarker, people: int = 24) -> Tensor:
    """Look at renderings of many people with MediaPipe, and carry what it finds back to the mean face.

    Args:
        model: on the CPU.
        landmarker: the one to ask.
        people: how many to render, each with another identity, expression and slight turn of the head.

    Returns:
        The median of each point's places on the mean face, cm, (478, 3).

    Raises:
        EmoaugError: MediaPipe found a face in fewer than half of the pictures.
    """
    found = []
    for number in range(people):
        seen = _look(model, landmarker, number)
        if seen is not None:
            found.append(seen)
    if len(found) < people / 2:
        raise EmoaugError(
            f"the face model {model.name}: MediaPipe finds a face in {len(found)} of {people} renderings; "
            "at least half are needed. Is this a face model with skin, eyeballs and landmarks in the right order?"
        )
    return torch.stack(found).nanmedian(0).values


def _look(model: FaceModel, landmarker: FaceLandmarker, number: int) -> Tensor | None:
    """Render one person; where on the mean face MediaPipe sees its points, (478, 3), NaN where that cannot be told."""
    generator = torch.Generator().manual_seed(number)
    identity = torch.randn(1, len(model.identity), generator=generator) * 0.7
    asked = _EXPRESSIONS[number % len(_EXPRESSIONS)]
    expression = torch.tensor([[asked.get(name, 0.0) for name in model.expression_names]])
    vertices = model.shape(identity, expression)
    camera = _camera(model, vertices, _YAW[number % len(_YAW)])
    picture = _picture(model, vertices, camera, generator)
    detection = landmarker.detect(picture)
    if detection is None:
        return None
    places = torch.from_numpy(detection.landmarks[:, :2])
    result = torch.full((len(places), 3), torch.nan)
    for part, chosen in (("skin", range(IRISES.start)), ("eyeball", range(IRISES.start, IRISES.stop))):
        numbers = torch.tensor(chosen)
        result[numbers] = _under(model, vertices, camera, part, places[numbers])
    if asked.get("jawOpen", 0.0) < 0.2:
        result[list(INNER_LIPS)] = torch.nan
    return result


def _camera(model: FaceModel, vertices: Tensor, yaw: float) -> Camera:
    """Aim at a face as alignment does, with a margin around it."""
    targets = torch.tensor([[0.39, 0.42], [0.61, 0.42], [0.5, 0.56]])
    anchors = alignment_anchors(vertices[:, model.landmarks])
    return aim(anchors, torch.tensor([[yaw, 0.0, 0.0]]), torch.tensor([120.0]), targets)


def _picture(model: FaceModel, vertices: Tensor, camera: Camera, generator: torch.Generator) -> np.ndarray:
    """A plain studio portrait, uint8 RGB, (S, S, 3)."""
    settings = AppearanceSettings(texture_size=512, spread=0.5, glasses=0.0, beards=0.0, makeup=0.0, bald=0.0)
    surface = draw_appearance(model, [generator], settings)
    direction = torch.nn.functional.normalize(torch.tensor([[[-0.4, 0.5, 0.8], [0.6, 0.1, 0.8]]]), dim=2)
    colour = torch.tensor([[[0.55, 0.55, 0.55], [0.3, 0.3, 0.3]]])
    lights = Lights(direction, colour, ambient_light(direction, 0.2 * colour, torch.full((1, 3), 0.2)))
    dressed, clothed = dress(model, vertices, surface)
    linear = render(dressed, clothed, surface, camera, lights, torch.full((1, 3, _PIXELS, _PIXELS), 0.25), _PIXELS)
    return (to_srgb(linear.clamp(0, 1))[0] * 255).round().byte().permute(1, 2, 0).numpy()


def _under(model: FaceModel, vertices: Tensor, camera: Camera, part: str, places: Tensor) -> Tensor:
    """Points of the mean face that are seen at places of the picture, pixels, (P, 2); the nearest seen beside it."""
    scale = 2
    points, _ = project(vertices, camera, _PIXELS * scale)
    triangles = model.triangles[(model.parts[model.triangles] == PARTS.index(part)).all(1)]
    raster = rasterize(points, triangles, _PIXELS * scale, _PIXELS * scale)
    rows, columns = (raster.triangle[0] >= 0).nonzero(as_tuple=True)
    centres = torch.stack([columns, rows], 1) + 0.5
    nearest = torch.cat([torch.cdist(some, centres.float()).argmin(1) for some in (places * scale).split(64)])
    row, column = rows[nearest], columns[nearest]
    corners = model.vertices[triangles[raster.triangle[0, row, column]]]
    return (corners * raster.weights[0, row, column][..., None]).sum(1)
