"""What MediaPipe sees in faces that were rendered from the built-in head and from ICT-FaceKit."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from augment.landmarker import FaceLandmarker
from augment.simulation.correspondence import find_points
from augment.simulation.ict import NPZ_NAME
from augment.simulation.morphable import EXPRESSION_NAMES, FaceModel, load_face_model
from augment.simulation.studio import render_expressions

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models"))
LANDMARKER = MODELS / "face_landmarker.task"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not LANDMARKER.is_file(), reason=f"no {LANDMARKER}; EMOAUG_MODELS names the folder"),
]


@pytest.fixture(scope="module")
def landmarker() -> FaceLandmarker:
    return FaceLandmarker(LANDMARKER)


@pytest.fixture(scope="module", params=["built-in", "ict"])
def model(request) -> FaceModel:
    if request.param == "built-in":
        return load_face_model(None)
    if not (MODELS / NPZ_NAME).is_file():
        pytest.skip(f"no {MODELS / NPZ_NAME}; EMOAUG_MODELS names the folder with model files")
    return load_face_model(MODELS / NPZ_NAME)


def pictures(model: FaceModel, expressions: list[dict[str, float]], seed: int = 0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    poses = [tuple(generator.uniform(-1, 1, 3) * [30, 12, 8]) for _ in expressions]
    faces = render_expressions(expressions, 256, model, list(range(len(expressions))), poses)
    return [((face.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy() for face in faces]


def test_the_ict_model_is_complete_and_centred():
    if not (MODELS / NPZ_NAME).is_file():
        pytest.skip(f"no {MODELS / NPZ_NAME}; EMOAUG_MODELS names the folder with model files")
    model = load_face_model(MODELS / NPZ_NAME)
    assert model.expression_names == EXPRESSION_NAMES
    assert model.identity.shape[0] == 100
    assert len(model.vertices) < 21_000
    points = model.vertices[model.landmarks]
    np.testing.assert_allclose(points[36:48].mean(0), 0, atol=1e-4)
    assert float((points[36:42].mean(0) - points[42:48].mean(0)).norm()) == pytest.approx(6.3, abs=0.4)
    assert (points[17:27, 2] > -2.5).all()
    assert points[8, 1] < points[57, 1] < points[33, 1] < 0 < points[19, 1]


def test_rendered_faces_are_found_and_smile_blink_and_open_their_mouths_as_asked(model, landmarker):
    generator = np.random.default_rng(1)
    asked = generator.uniform(0, 1, (60, 3))
    expressions = [
        {"mouthSmileLeft": s, "mouthSmileRight": s, "jawOpen": j, "eyeBlinkLeft": b, "eyeBlinkRight": b}
        for s, j, b in asked.tolist()
    ]
    seen = [landmarker.detect(picture) for picture in pictures(model, expressions)]
    found = np.array([face is not None for face in seen])
    assert found.mean() >= 0.95
    names = list(landmarker.blendshape_names)
    scores = np.array([face.blendshapes for face in seen if face is not None])
    for column, name in enumerate(("mouthSmileLeft", "jawOpen", "eyeBlinkLeft")):
        agreement = spearmanr(asked[found, column], scores[:, names.index(name)]).statistic
        assert agreement > 0.5, (name, agreement)


def test_brows_move_as_asked(model, landmarker):
    generator = np.random.default_rng(2)
    asked = generator.uniform(-1, 1, 60)
    expressions = [
        {"browDownLeft": -a, "browDownRight": -a}
        if a < 0
        else {"browInnerUp": a, "browOuterUpLeft": a, "browOuterUpRight": a}
        for a in asked.tolist()
    ]
    seen = [landmarker.detect(picture) for picture in pictures(model, expressions, seed=2)]
    found = np.array([face is not None for face in seen])
    assert found.mean() >= 0.95
    names = list(landmarker.blendshape_names)
    scores = np.array([face.blendshapes for face in seen if face is not None])
    for name, sign in (("browDownLeft", -1), ("browInnerUp", 1), ("browOuterUpLeft", 1)):
        agreement = spearmanr(np.clip(sign * asked[found], 0, 1), scores[:, names.index(name)]).statistic
        assert agreement > 0.4, (name, agreement)


def test_the_shipped_points_are_those_that_mediapipe_finds_again(landmarker):
    head = load_face_model(None)
    points = find_points(head, landmarker, people=6)
    apart = (head.landmarks478(head.vertices[None])[0] - points).norm(dim=1)
    assert float(apart.median()) < 0.2
    assert torch.quantile(apart, 0.95) < 0.8
