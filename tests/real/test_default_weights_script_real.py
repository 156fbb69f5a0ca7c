"""The script that trained the package's weights, on drawn photographs and for two steps. Needs the ICT face model."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from augment.checkpoints import DEFAULT, load_translator, read_config
from augment.faces import read_measures, write_measures
from augment.folders import read_faces
from augment.simulation.ict import NPZ_NAME
from tests.drawn_dataset import draw_dataset

ROOT = Path(__file__).parents[2]
INNER_LIPS = 13, 14
FACE_MODEL = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models")) / NPZ_NAME

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not FACE_MODEL.is_file(), reason=f"no {FACE_MODEL}; EMOAUG_MODELS names its folder"),
]


def test_it_goes_through_all_its_steps_and_on_where_it_stopped(tmp_path):
    photographs = draw_dataset(tmp_path / "photographs", subjects=8, size=64)
    names = list(photographs.table.file_name)
    measures = read_measures(photographs.root, names)
    happy = np.flatnonzero(photographs.table.label == "happy")
    smile = [list(measures.blendshape_names).index(f"mouthSmile{side}") for side in ("Left", "Right")]
    measures.blendshapes[np.ix_(happy, smile)] = 0.9
    measures.blendshapes[np.ix_(happy[:3], smile)] = 0.5, 0.6
    upper, lower = INNER_LIPS
    measures.landmarks[happy, lower, 1] = measures.landmarks[happy, upper, 1] + 0.1
    measures.landmarks[happy[3], lower, 1] -= 0.06
    write_measures(photographs.root, names, measures)
    script = ROOT / "examples" / "train_default_weights.py"
    command = [sys.executable, script, photographs.root, FACE_MODEL.resolve(), tmp_path / "out", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(2):
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    translator = load_translator(tmp_path / "out" / "lssl")
    assert translator.condition_names == load_translator(DEFAULT).condition_names
    assert translator.settings == load_translator(DEFAULT).settings
    rendered = read_faces(tmp_path / "out" / "rendered")
    assert len(rendered) == 3 * 70
    assert rendered.for_training().all()
    learnt = read_config(tmp_path / "out" / "lssl")["extra"]["training_data"]
    assert learnt["faces"] == 16 - 4
