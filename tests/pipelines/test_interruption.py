"""Ctrl-C, which a terminal sends to every process of a command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from augment.verification import verify
from tests.drawn_dataset import draw_dataset

ROOT = Path(__file__).parents[2]
SIMULATE = "simulate --out out --count 192 --size 16 --expressions happy,neutral --workers 2 --device cpu"
TRAIN = "train --data faces --out out --steps 300 --batch-size 2 --device cpu"
SHORT = "train --data faces --out out --steps 60 --save-every 1000 --batch-size 2 --device cpu --system reggan"


def begin(command: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *command.split()],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Where the tests run in the background of a shell, Ctrl-C is switched off for them and their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(command: str, folder: Path, waited_for: str) -> str:
    """Press Ctrl-C when a file is there; gives what was said on stderr, progress bars aside."""
    with begin(command, folder) as process:
        while not list(folder.glob(waited_for)) and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1].decode()
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "resource_tracker" not in said
    return said


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to see what a process imports")
def test_ctrl_c_in_the_middle_of_an_import_ends_the_command(tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    with begin(TRAIN, tmp_path) as process:
        while "torch" not in Path(f"/proc/{process.pid}/maps").read_text() and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate()[1].decode()
    assert (process.returncode, said.strip()) == (130, "emoaug: stopped before it had begun")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    # While the workers start, while they work, and in a training, which has none.
    ("command", "waited_for"),
    [(SIMULATE, "out/run.json"), (SIMULATE, "out/*/*.png"), (TRAIN, "out/log.jsonl")],
)
def test_ctrl_c_stops_with_one_line_that_says_how_to_go_on(tmp_path, command, waited_for):
    draw_dataset(tmp_path / "faces", subjects=3)
    said = interrupt(command, tmp_path, waited_for)
    lines = [line for line in said.splitlines() if line.startswith("emoaug:")]
    assert lines == [f"emoaug: stopped. The same command again goes on from what is done: emoaug {command}"]
    if command == SIMULATE:
        with begin(SIMULATE, tmp_path) as process:
            process.communicate()
        assert process.returncode == 0
        assert verify(tmp_path / "out").problems == ()
        assert len(list((tmp_path / "out").glob("*/*.png"))) == 192


@pytest.mark.slow
def test_a_training_that_ctrl_c_stops_goes_on_from_that_very_step(tmp_path):
    draw_dataset(tmp_path / "faces", subjects=3)
    with begin(SHORT.replace("--out out", "--out whole"), tmp_path) as process:
        process.communicate()
    assert process.returncode == 0
    with begin(SHORT, tmp_path) as process:
        # A line of the log is written after 50 steps.
        while not (tmp_path / "out/log.jsonl").exists() or not (tmp_path / "out/log.jsonl").read_text():
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate()
    assert process.returncode == 130
    stopped = load_state_step(tmp_path / "out")
    assert 50 <= stopped < 60
    with begin(SHORT, tmp_path) as process:
        process.communicate()
    assert process.returncode == 0
    weights = [(tmp_path / name / "checkpoint/weights.safetensors").read_bytes() for name in ("whole", "out")]
    assert weights[0] == weights[1]


def load_state_step(out: Path) -> int:
    return int(torch.load(out / "state/state.pt", weights_only=True)["step"])
