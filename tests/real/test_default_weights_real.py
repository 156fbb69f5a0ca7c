"""The weights of the package change the expression of people they never saw. Needs the real pictures."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.alignment import AlignSettings, align_folder
from augment.checkpoints import DEFAULT, load_translator
from augment.folders import load_faces, read_faces
from augment.landmarker import FaceLandmarker
from augment.samples import to_pictures

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data"))
MODEL = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models")) / "face_landmarker.task"

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not (DATA / "cmu_faces").exists(), reason=f"no cmu_faces in {DATA}; see EMOAUG_TEST_DATA"),
    pytest.mark.skipif(not MODEL.exists(), reason=f"no {MODEL}; EMOAUG_MODELS names the folder with model files"),
]


def scores(landmarker: FaceLandmarker, faces: torch.Tensor, name: str) -> np.ndarray:
    columns = [i for i, shape in enumerate(landmarker.blendshape_names) if shape.startswith(name)]
    found = [landmarker.detect(picture) for picture in to_pictures(faces)]
    return np.array([np.nan if d is None else d.blendshapes[columns].mean() for d in found])


def test_strangers_show_what_they_are_asked_for(tmp_path):
    faces = read_faces(DATA / "cmu_faces")
    straight = faces.table.file_name.str.contains("straight_neutral_open")
    assert straight.sum() >= 15
    align_folder(faces.select(straight.to_numpy()), tmp_path / "aligned", AlignSettings(size=64, model=MODEL))
    pixels = torch.from_numpy(load_faces(read_faces(tmp_path / "aligned"), 64)).float() / 127.5 - 1
    translator, landmarker = load_translator(DEFAULT), FaceLandmarker(MODEL)
    place = (torch.arange(64) + 0.5) / 32 - 1
    background = (place[None] / 0.85).square() + place[:, None].square() > 1  # outside the ellipse of a face
    asked = {"happy": "mouthSmile", "surprise": "jawOpen", "angry": "browDown", "sad": "mouthShrugLower"}
    for expression, movement in asked.items():
        with torch.inference_mode():
            made = translator.translate(pixels, translator.condition([expression] * len(pixels)))
        before, after = (scores(landmarker, f, movement) for f in (pixels, made))
        # The figures of the model card; pytest -s shows them.
        print(f"{expression}: {movement} {np.nanmean(before):.2f} to {np.nanmean(after):.2f}")
        assert np.isfinite(after).mean() > 0.9, expression
        assert np.nanmean(after - before) > 0.05, expression
        # The same picture, but for the expression: of the whole face a dropped jaw alone changes more.
        changed = (made - pixels).abs().mean(dim=(0, 1))
        assert changed.mean() < (0.1 if expression == "surprise" else 0.08), expression
        assert changed[background].mean() < 0.03, expression
