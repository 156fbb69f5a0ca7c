"""What people look like on ICT-FaceKit's head, and whether MediaPipe finds them behind glasses. Needs model files."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from augment.landmarker import FaceLandmarker
from augment.simulation.appearance import AppearanceSettings, background, draw_appearance, dress
from augment.simulation.camera import aim, alignment_anchors
from augment.simulation.hair import scalp_vertices
from augment.simulation.lighting import Lights
from augment.simulation.morphable import PARTS, FaceModel, load_face_model
from augment.simulation.rendering import render

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models"))
MESH, LANDMARKER = MODELS / "ict_facekit_light.npz", MODELS / "face_landmarker.task"
PEOPLE = 16

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not MESH.is_file(), reason=f"no {MESH}; EMOAUG_MODELS names the folder with model files"),
]


def generators(count: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in range(count)]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return load_face_model(MESH)


def test_hair_and_glasses_fit_the_head(model):
    surface = draw_appearance(model, generators(PEOPLE), AppearanceSettings(texture_size=64, glasses=1.0))
    vertices = model.vertices.expand(PEOPLE, -1, -1)
    dressed, clothed = dress(model, vertices, surface)
    assert torch.equal(dressed.triangles[: len(model.triangles)], model.triangles)
    assert torch.equal(clothed[:, model.landmarks[17:]], vertices[:, model.landmarks[17:]])
    assert not surface.hair[:, ~scalp_vertices(model)].any()
    glasses = clothed[:, dressed.parts == PARTS.index("glasses")]
    eyes = model.vertices[model.landmarks[36:48]]
    assert (glasses[..., 2].amax(1) > eyes[:, 2].max() + 0.5).all()
    assert (glasses[..., 2].amin(1) < model.vertices[model.landmarks[[0, 16]], 2].max()).all()


@pytest.mark.skipif(not LANDMARKER.is_file(), reason=f"no {LANDMARKER}")
def test_mediapipe_finds_everyone_behind_glasses(model):
    size = 192
    surface = draw_appearance(model, generators(PEOPLE), AppearanceSettings(glasses=1.0))
    vertices = model.vertices.expand(PEOPLE, -1, -1)
    dressed, clothed = dress(model, vertices, surface)
    anchors = alignment_anchors(vertices[:, model.landmarks])
    camera = aim(anchors, torch.zeros(PEOPLE, 3), torch.full((PEOPLE,), 90.0))
    direction = torch.tensor([[[0.3, 0.4, 0.866]]]).expand(PEOPLE, -1, -1)
    ambient = torch.zeros(PEOPLE, 9, 3)
    ambient[:, 0] = 0.5
    lights = Lights(direction, torch.full((PEOPLE, 1, 3), 1.2), ambient)
    pictures = render(dressed, clothed, surface, camera, lights, background(generators(PEOPLE), size), size)
    landmarker = FaceLandmarker(LANDMARKER)
    lost = []
    for person, picture in zip(surface.describe(), pictures, strict=True):
        # Photographs are metered: dark faces are exposed longer.
        exposed = picture / picture[:, size // 3 : 2 * size // 3, size // 3 : 2 * size // 3].mean() * 0.25
        encoded = (255 * exposed.clamp(0, 1) ** (1 / 2.2)).byte().permute(1, 2, 0).numpy()
        bordered = cv2.copyMakeBorder(np.ascontiguousarray(encoded), *[size // 4] * 4, cv2.BORDER_REPLICATE)
        if landmarker.detect(bordered) is None:
            lost.append(person)
    assert lost == []
