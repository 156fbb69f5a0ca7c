"""LSSL learns to make people smile whom it never saw. Needs the real pictures, which are not in the repository."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from augment.alignment import AlignSettings, align_folder
from augment.checkpoints import load_translator
from augment.folders import load_faces, read_faces
from augment.landmarker import FaceLandmarker
from augment.samples import to_pictures
from augment.systems import get_system
from augment.training import TrainingSettings
from augment.training_run import train

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data"))
MODEL = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models")) / "face_landmarker.task"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow(minutes=5),
    pytest.mark.skipif(not (DATA / "london").exists(), reason=f"no london in {DATA}; see EMOAUG_TEST_DATA"),
    pytest.mark.skipif(not MODEL.exists(), reason=f"no {MODEL}; EMOAUG_MODELS names the folder with model files"),
]


def smiles(landmarker: FaceLandmarker, faces: torch.Tensor) -> np.ndarray:
    columns = [i for i, name in enumerate(landmarker.blendshape_names) if name.startswith("mouthSmile")]
    found = [landmarker.detect(picture) for picture in to_pictures(faces)]
    assert all(detection is not None for detection in found)
    return np.array([detection.blendshapes[columns].mean() for detection in found])


def test_a_short_training_moves_the_mouths_of_held_out_people_both_ways(tmp_path):
    align_folder(read_faces(DATA / "london"), tmp_path / "aligned", AlignSettings(size=64, model=MODEL))
    faces = read_faces(tmp_path / "aligned")
    held = set(sorted(faces.table.subject.unique())[::7])
    split = ["test" if subject in held else "train" for subject in faces.table.subject]
    faces = replace(faces, table=faces.table.assign(split=split))
    training = TrainingSettings(steps=500, sample_every=500)
    translator = load_translator(
        train(faces, tmp_path / "run", "lssl", get_system("lssl").configurations["compact"], training)
    )
    test = faces.select((faces.table.split == "test").to_numpy())
    pixels = torch.from_numpy(load_faces(test, 64)).float() / 127.5 - 1
    landmarker = FaceLandmarker(MODEL)
    for source, target, direction in (("neutral", "happy", 1), ("happy", "neutral", -1)):
        before = pixels[torch.from_numpy((test.table.label == source).to_numpy())]
        with torch.inference_mode():
            after = translator.translate(before, translator.condition([target] * len(before)))
        change = direction * (smiles(landmarker, after) - smiles(landmarker, before)).mean()
        assert change > 0.2, f"{source} to {target}"
        assert (after - before).abs().mean() < 0.04  # the same picture, but for the expression
