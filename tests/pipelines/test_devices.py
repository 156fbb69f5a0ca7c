"""`emoaug train --devices 2`: two processes that train together, as a user starts them."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from augment.devices import Machines
from augment.folders import read_faces, write_metadata
from augment.training import TrainingSettings
from augment.training_run import train
from emoaug import EmoaugError
from pipelines.commands.train import with_options
from tests.augment.tiny_training import SYSTEM
from tests.drawn_dataset import draw_dataset

ROOT = Path(__file__).parents[2]
SYSTEM_OPTIONS = ("width=8", "depth=2", "widest=16", "residual_blocks=1", "critic_width=8")
SETTINGS = TrainingSettings(
    steps=6, batch_size=4, sample_every=6, save_every=1, device="cpu", precision="32-true", learning_rate=3e-4
)


def command(folder: Path, out: str, *more: str) -> subprocess.Popen[str]:
    s = SETTINGS
    given = f"train --data {folder / 'faces'} --out {folder / out} --steps {s.steps} --batch-size {s.batch_size} "
    given += f"--sample-every {s.sample_every} --save-every {s.save_every} --device cpu --precision 32-true "
    given += f"--learning-rate {s.learning_rate} --set {' '.join(SYSTEM_OPTIONS)} --devices 2 "
    given += f"--initial {folder / 'first'}"
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *given.split(), *more],
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Where the tests run in the background of a shell, Ctrl-C is switched off for them and their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def said(process: subprocess.Popen[str]) -> list[str]:
    """Lines of emoaug's own on stderr, when all processes have ended: their ends of the pipe are closed then."""
    errors = process.communicate(timeout=300)[1]
    assert "Traceback" not in errors
    return [line for line in errors.splitlines() if line.startswith("emoaug:")]


def log(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset, and what one and two processes made of it."""
    folder = tmp_path_factory.mktemp("devices")
    table = draw_dataset(folder / "faces").table
    # Whoever is not named has no pair, and is held to what the first weights make of them.
    table = table.assign(subject=table.subject.where(table.subject > "person01"))
    write_metadata(folder / "faces", table[["file_name", "label", "subject"]])
    faces = read_faces(folder / "faces")
    train(faces, folder / "first", "lssl", SYSTEM, replace(SETTINGS, steps=1, seed=5))
    assert said(command(folder, "two")) == []
    return folder


@pytest.mark.slow
def test_two_processes_log_what_one_logs_and_one_of_them_writes(folder):
    assert with_options(SYSTEM, SYSTEM_OPTIONS) == SYSTEM
    train(read_faces(folder / "faces"), folder / "one", "lssl", SYSTEM, SETTINGS, initial=folder / "first")
    one, two = log(folder / "one"), log(folder / "two")
    assert [line["step"] for line in two] == [1, 2, 3, 4, 5, 6]
    assert any(line["initial"] > 0 for line in two)
    assert any(line["pair"] > 0 for line in two)
    for line, other in zip(one, two, strict=True):
        assert other == pytest.approx(line, rel=1e-3, abs=1e-4)
    assert {p.name for p in (folder / "one").iterdir()} == {p.name for p in (folder / "two").iterdir()}
    weights = [torch.load(folder / run / "state" / "state.pt", weights_only=True)["weights"] for run in ("one", "two")]
    differences = torch.cat([(value - weights[1][name]).abs().flatten() for name, value in weights[0].items()])
    assert differences.mean() < 1e-5


@pytest.mark.slow
def test_ctrl_c_stops_both_and_the_same_command_ends_with_the_same_weights(folder):
    process = command(folder, "stopped")
    while len(list((folder / "stopped").glob("state/*"))) == 0 and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    lines = said(process)
    assert process.returncode == 130
    assert len(lines) == 1
    assert lines[0].startswith("emoaug: stopped. The same command again goes on from what is done")
    assert log(folder / "stopped")[-1]["step"] < SETTINGS.steps
    assert said(command(folder, "stopped")) == []
    assert log(folder / "stopped") == log(folder / "two")
    files = [folder / run / "checkpoint" / "weights.safetensors" for run in ("two", "stopped")]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_both_processes_end_with_one_line_when_training_runs_away(folder):
    process = command(folder, "wild", "--learning-rate", "1e6")
    assert len(lines := said(process)) == 1
    assert "ran away at step" in lines[0]
    assert process.returncode == 2
    assert not (folder / "wild" / "checkpoint").exists()


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path):
    faces = draw_dataset(tmp_path / "faces")
    with pytest.raises(EmoaugError, match="a batch of 4 faces cannot be shared by 3 devices"):
        train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS, machines=Machines(devices=3))
    assert not (tmp_path / "run").exists()
