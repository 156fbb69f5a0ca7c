"""The benchmark of alignment on two real photographs."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.alignment import Options, main

ROOT = Path(__file__).parents[2]
MODELS = Path(os.environ.get("EMOAUG_MODELS", ROOT / "../shared/models"))
LONDON = Path(os.environ.get("EMOAUG_TEST_DATA", ROOT / "../shared/data")) / "london"

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.skipif(not LONDON.is_dir(), reason=f"no {LONDON}; EMOAUG_TEST_DATA names the folder with real faces"),
    pytest.mark.skipif(not (MODELS / "face_landmarker.task").is_file(), reason=f"no model in {MODELS}"),
]


def test_every_stage_is_timed(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EMOAUG_MODELS", str(MODELS.resolve()))
    main(Options(LONDON, tmp_path / "a.json", pictures=2, plain=1))
    found = json.loads((tmp_path / "a.json").read_text())
    assert set(found["stages"]["milliseconds"]) == {"read", "find", "draw", "write"}
    assert found["stages"]["times_faster"] > 10
    assert found["stages"]["grey_levels_apart"] < 1
    assert "pictures/s" in capsys.readouterr().out
