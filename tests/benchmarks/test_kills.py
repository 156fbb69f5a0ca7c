"""The comparison of what a kill left, and a handful of kills."""

import json
import shutil

import pytest

from benchmarks.kills import Options, differences, main


@pytest.fixture
def whole(tmp_path):
    folder = tmp_path / "whole"
    (folder / "out" / "happy").mkdir(parents=True)
    (folder / "out" / "happy" / "a.png").write_bytes(b"picture")
    (folder / "out" / "metadata.csv").write_text("file_name,seconds\nhappy/a.png,1.5\n")
    (folder / "out" / "run.json").write_text(json.dumps({"finished": True, "trials": [{"seconds": 3.5, "score": 1}]}))
    (folder / "said.txt").write_text("12:01 done")
    return folder


def test_runs_that_differ_in_time_alone_are_the_same(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "killed")
    (tmp_path / "killed" / "said.txt").write_text("12:02 done")
    (tmp_path / "killed" / "out" / "metadata.csv").write_text("file_name,seconds\nhappy/a.png,9.0\n")
    (tmp_path / "killed" / "out" / "run.json").write_text(
        json.dumps({"finished": True, "trials": [{"seconds": 9, "score": 1}]})
    )
    assert differences(whole, tmp_path / "killed") == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda out: (out / "happy" / "a.png").unlink(), "out/happy/a.png: missing"),
        (lambda out: (out / "happy" / ".b.tmp").touch(), "out/happy/.b.tmp: too much"),
        (lambda out: (out / "happy" / "a.png").write_bytes(b"pict"), "out/happy/a.png: different"),
        (
            lambda out: (out / "metadata.csv").write_text("file_name,seconds\nhappy/a.png,1.5\nhappy/a.png,1.5\n"),
            "out/metadata.csv: different",
        ),
        (lambda out: (out / "run.json").write_text('{"finished": false}'), "out/run.json: different"),
    ],
)
def test_what_is_missing_doubled_cut_short_or_different_is_found(whole, tmp_path, damage, found):
    shutil.copytree(whole, tmp_path / "killed")
    damage(tmp_path / "killed" / "out")
    assert differences(whole, tmp_path / "killed") == [found]


@pytest.mark.slow(minutes=4)
def test_commands_that_are_killed_and_begun_again_end_with_the_same_files(tmp_path, capsys):
    output = tmp_path / "kills.json"
    code = main(Options(output, kills=6, commands=("simulate", "train", "generate")))
    outcomes = json.loads(output.read_text())["outcomes"]
    assert code == 0, capsys.readouterr().out
    assert sum(outcome["kills"] for outcome in outcomes.values()) == 6
