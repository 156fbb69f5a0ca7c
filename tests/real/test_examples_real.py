"""The examples, word for word, on a few real faces and for a few steps."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data"))
MODELS = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models"))

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DATA / "london").exists(), reason=f"no {DATA / 'london'}; EMOAUG_TEST_DATA names its folder"
    ),
    pytest.mark.skipif(
        not (MODELS / "face_landmarker.task").exists(), reason=f"no face_landmarker.task in {MODELS}; see EMOAUG_MODELS"
    ),
]


def copy_faces(source: Path, target: Path, rows: pd.DataFrame) -> Path:
    for path in rows.path:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / path, target / path)
    rows.to_csv(target / "labels.csv", index=False)
    return target


def run(*command: str | Path) -> str:
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": paths, "STEPS": "3", "TRIAL_STEPS": "3", "EMOAUG_MODELS": str(MODELS.resolve())}
    done = subprocess.run([str(c) for c in command], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def london(tmp_path):
    table = pd.read_csv(DATA / "london" / "labels.csv")
    few = table[table.subject.isin(sorted(table.subject.unique())[:6])]
    return copy_faces(DATA / "london", tmp_path / "faces", few)


def test_the_shell_walk(london, tmp_path):
    said = run(ROOT / "examples" / "walk.sh", london, tmp_path / "out")
    assert "aligned 12 faces" in said
    assert "all is well" in said
    assert (tmp_path / "out" / "gain" / "report" / "index.html").stat().st_size > 10_000


def test_the_python_walk(london, tmp_path):
    said = run(sys.executable, ROOT / "examples" / "walk.py", london, tmp_path / "out", "3")
    assert "made one face (1, 3, 64, 64)" in said
    assert "Number of datapoints: 24" in said


def test_a_vocabulary_of_ones_own(tmp_path):
    table = pd.read_csv(DATA / "cmu_faces" / "labels.csv")
    straight = table[(table.pose == "straight") & (table.eyes == "open")]
    few = straight.groupby("expression").head(4)
    faces = copy_faces(DATA / "cmu_faces", tmp_path / "faces", few)
    run(ROOT / "examples" / "own_vocabulary.sh", faces, tmp_path / "out")
    made = pd.read_csv(tmp_path / "out" / "bigger" / "metadata.csv")
    assert set(made.label) == {"calm", "pleased", "other"}
    # 20 were asked for, and only so many others are there to show a class: none of them does so twice.
    assert made[made.is_synthetic].label.value_counts().to_dict() == {"calm": 12, "pleased": 12, "other": 8}
    assert not made[made.is_synthetic].duplicated(["source_file", "label"]).any()
