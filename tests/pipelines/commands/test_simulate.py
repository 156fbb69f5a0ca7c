"""`emoaug simulate` as its user meets it."""

import shlex

import numpy as np

from augment.faces import read_measures
from augment.folders import read_faces
from tests.drawn_dataset import draw_dataset
from tests.pipelines.command_line import mistake, run


def test_simulate_says_where_the_result_is_and_verify_accepts_it(capsys, tmp_path):
    out = tmp_path / "my faces"
    base = ["simulate", "--out", out, "--count", 8, "--size", 16, "--per-subject", 4, "--workers", 1]
    code, said, _ = run(capsys, *base, "--expressions", "happy,sad,happily_surprised", "--yaw", 10, "--spread", 0.5)
    assert code == 0
    assert "simulated 8 faces of 2 people" in said
    assert "happily_surprised" in said
    assert f"look: {out}/contact_sheet.png" in said
    check = next(line for line in said.splitlines() if "check: " in line).split("check: ")[1]
    assert shlex.split(check) == ["emoaug", "verify", f"{out}/"]
    assert run(capsys, "verify", out)[0] == 0
    poses = read_measures(out, read_faces(out).table.file_name.tolist()).pose
    assert np.abs(poses[:, 0]).max() <= 10


def test_a_mistake_is_one_line(capsys, tmp_path):
    out = ["--out", tmp_path / "faces", "--count", 4]
    for wrong, named in (
        (["--expressions", "happy,bored"], "bored"),
        (["--yaw", 200], "yaw is 200"),
        (["--face-model", tmp_path / "nowhere"], "nowhere"),
        (["--measured", tmp_path / "nowhere"], "nowhere"),
    ):
        code, _, err = run(capsys, "simulate", *out, *wrong)
        assert code == 2
        assert named in err
        assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "faces").exists()


def test_measured_faces_bring_their_own_expressions(capsys, tmp_path):
    draw_dataset(tmp_path / "real", subjects=3)
    base = ["simulate", "--out", tmp_path / "faces", "--count", 4, "--size", 16, "--per-subject", 2, "--workers", 1]
    code, said, _ = run(capsys, *base, "--measured", tmp_path / "real")
    assert code == 0
    assert "neutral 2 · happy 2" in said


def test_simulate_refuses_settings_that_the_faces_decide(capsys, tmp_path):
    base = ["simulate", "--out", tmp_path / "out", "--expressions", "happy"]
    assert "--grey has no effect with --like" in mistake(capsys, *base, "--like", tmp_path, "--grey", 0)
    assert "--intensity has no effect" in mistake(capsys, *base, "--measured", tmp_path, "--intensity", 1, 1.4)
    assert "--typical has no effect" in mistake(capsys, *base, "--measured", tmp_path, "--typical", 1)
