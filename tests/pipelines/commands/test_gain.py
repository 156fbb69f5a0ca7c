"""What `emoaug gain` says of settings, folders and data that do not fit."""

import cv2
import numpy as np
import pytest

from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["--folds", "0"], "folds"),
        (["--arms", "stargan"], "unknown arm"),
        (["--synthetic-factor", "0"], "synthetic_factor"),
        (["--training.steps", "0"], "steps"),
    ],
)
def test_settings_out_of_range_are_one_line(wrong, says, capsys, tmp_path):
    assert says in mistake(capsys, "gain", "--data", tmp_path, "--out", tmp_path / "out", *wrong)


def test_a_mended_mistake_can_use_the_same_folder(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--arms", "real", "--seeds", 1]
    assert "use fewer folds" in mistake(capsys, *base)
    assert run(capsys, *base, "--folds", 2, "--workers", 1, "--classifier.steps", 2)[0] == 0


def test_gain_on_another_folder_says_what_the_labels_must_be(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    generator = np.random.default_rng(0)
    for name in ("joyful", "calm"):
        for i in range(2):
            path = tmp_path / "other" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), generator.integers(0, 256, (32, 32, 3), dtype=np.uint8))
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--arms", "real,geometry"]
    base += ["--seeds", 2, "--workers", 1, "--classifier.steps", 2]
    assert '"calm"' in mistake(capsys, *base, "--test", tmp_path / "other")
    assert "there is none" in mistake(capsys, *base, "--test-labels", "calm=neutral")
    code, out, _ = run(capsys, *base, "--test", tmp_path / "other", "--test-labels", "calm=neutral")
    assert code == 0
    assert out.count("unknown for 4 of 4 faces") == 2  # before the work, and beside the verdict
    assert "unknown for 4 of 4 faces" in (tmp_path / "out" / "report" / "index.html").read_text()
    assert "the arm geometry is left out" in out
    assert "geometry" not in out.partition("The faces have no blendshapes")[0]


def test_what_gain_cannot_do_is_said_before_anything_is_read(capsys, tmp_path):
    base = ["gain", "--data", tmp_path / "nowhere", "--out", tmp_path / "out"]
    assert "steps is -5" in mistake(capsys, *base, "--classifier.steps", -5)
    assert "intensity is 2.0 to 1.0" in mistake(capsys, *base, "--simulated-intensity", 2, 1)


def test_a_gain_that_failed_before_it_made_anything_leaves_its_folder_to_others(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3, landmarks=False)
    base = ["gain", "--data", tmp_path / "faces", "--out", tmp_path / "out", "--folds", 2, "--seeds", 1]
    base += ["--workers", 1, "--classifier.steps", 2]
    assert "landmarks" in mistake(capsys, *base, "--arms", "real,lssl")
    assert run(capsys, *base, "--arms", "real,oversample", "--classifier.no-class-balanced")[0] == 0
    assert "another run, which differs in settings: arms" in mistake(capsys, *base, "--arms", "real")


def test_a_report_that_cannot_be_written_is_one_line(capsys, tmp_path):
    draw_dataset(tmp_path / "faces", subjects=2)
    (tmp_path / "file").write_text("")
    wrong = mistake(capsys, "audit", tmp_path / "faces", "--json", tmp_path / "file" / "x.json")
    assert str(tmp_path / "file") in wrong
