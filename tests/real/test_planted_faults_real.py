"""Faults planted in real faces are found, and clean faces are not taken for them."""

import os
from pathlib import Path

import pytest

from augment.alignment import AlignSettings, align_folder
from augment.folders import read_faces
from augment.models import FACE_LANDMARKER, MODELS_VARIABLE
from augment.scoring.folder import ScoreSettings
from benchmarks.planted_faults import Options, measure
from classifiers.training import ClassifierSettings
from pipelines.judges import JudgeSettings

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get(MODELS_VARIABLE, ROOT / "../shared/models"))
LONDON = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data")) / "london"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not LONDON.is_dir(), reason=f"no {LONDON}; EMOAUG_TEST_DATA names the folder with real faces"),
    pytest.mark.skipif(not (MODELS / FACE_LANDMARKER.name).is_file(), reason=f"no {MODELS / FACE_LANDMARKER.name}"),
]


def test_all_faults_but_the_wrong_label_are_found(tmp_path, monkeypatch):
    monkeypatch.setenv(MODELS_VARIABLE, str(MODELS))
    align_folder(read_faces(LONDON), tmp_path / "aligned", AlignSettings(size=64, workers=1))
    judge = JudgeSettings(folds=2, classifier=ClassifierSettings(steps=2))
    options = Options(tmp_path / "aligned", tmp_path, faces=60, scoring=ScoreSettings(landmarks=False), judge=judge)
    rows = {row["fault"]: row for row in measure(options)["rows"]}
    assert rows["clean"]["by_others"] <= 0.1
    assert rows["another person"]["by_others"] >= 0.85
    for fault in ("copied training face", "blurred", "colour noise", "half a face", "the same face fifty times"):
        assert rows[fault]["by_others"] >= 0.95, fault
