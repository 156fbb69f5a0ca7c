"""MediaPipe sees what was rendered. Needs its model, and for the second face model ICT-FaceKit."""

import os
from pathlib import Path

import pytest

from augment.models import FACE_LANDMARKER, MODELS_VARIABLE
from augment.simulation.ict import NPZ_NAME
from augment.simulation.scenes import SceneSettings
from benchmarks.witness import witness

MODELS = Path(os.environ.get(MODELS_VARIABLE, Path(__file__).parents[2] / "../shared/models"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (MODELS / FACE_LANDMARKER.name).is_file(),
        reason=f"no {MODELS / FACE_LANDMARKER.name}; EMOAUG_MODELS names the folder with model files",
    ),
]


@pytest.fixture(autouse=True)
def models(monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(MODELS))


def test_faces_of_the_built_in_head_are_found_and_smile_when_asked():
    result = witness(SceneSettings(yaw=30.0), 21, 128)
    assert result["found"] >= 0.95
    smiles = {label: means["mouthSmile"] for label, means in result["mean_score"].items()}
    assert smiles["happy"] > 0.3
    assert all(smiles["happy"] > smiles[label] + 0.2 for label in smiles if label != "happy")


@pytest.mark.skipif(not (MODELS / NPZ_NAME).is_file(), reason=f"no {MODELS / NPZ_NAME}")
def test_faces_of_ict_facekit_are_found_and_smile_when_asked():
    result = witness(SceneSettings(yaw=30.0), 21, 128, MODELS / NPZ_NAME)
    assert result["found"] == 1
    jaws = {label: means["jawOpen"] for label, means in result["mean_score"].items()}
    assert jaws["surprise"] > jaws["neutral"] + 0.2
    assert result["mean_score"]["happy"]["mouthSmile"] > 0.3
