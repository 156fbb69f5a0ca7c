"""Stopped runs that go on."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import torch

from augment.checkpoints import read_config
from augment.training import Trainer
from augment.training_run import train
from augment.training_state import state_file, trim_log
from emoaug import EmoaugError
from tests.augment.tiny_training import SETTINGS, SYSTEM, assert_same_bits, weights
from tests.drawn_dataset import draw_dataset


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return draw_dataset(tmp_path_factory.mktemp("drawn"))


SCRIPT = """
import sys
from pathlib import Path
from augment.folders import read_faces
from augment.training_run import train
from tests.augment.tiny_training import SETTINGS, SYSTEM
train(read_faces(Path(sys.argv[1])), Path(sys.argv[2]), "lssl", SYSTEM, SETTINGS)
"""


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights_and_files(faces, tmp_path):
    train(faces, tmp_path / "whole", "lssl", SYSTEM, SETTINGS)
    command = [sys.executable, "-c", SCRIPT, str(faces.root), str(tmp_path / "killed")]
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    for attempt in range(20):
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        state = tmp_path / "killed" / "state"
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        if attempt < 4:
            time.sleep(random.Random(attempt).uniform(0, 0.8))
            process.send_signal(signal.SIGKILL)
        if process.wait() == 0:
            break
    assert process.returncode == 0
    assert_same_bits(weights(tmp_path / "whole"), weights(tmp_path / "killed"))
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "killed" / "log.jsonl").read_text()


def test_a_run_that_was_killed_after_its_last_step_still_knows_how_long_a_step_took(faces, tmp_path):
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    before = read_config(tmp_path / "run")["extra"]["seconds_per_step"]
    settings = json.loads((tmp_path / "run" / "settings.json").read_text())
    (tmp_path / "run" / "settings.json").write_text(json.dumps(settings | {"finished": False}))
    train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    assert read_config(tmp_path / "run")["extra"]["seconds_per_step"] == before


def test_a_state_laid_out_in_another_way_goes_on_alike(faces, tmp_path, monkeypatch):
    settings = replace(SETTINGS, learning_rate=1e-4)
    train(faces, tmp_path / "whole", "lssl", SYSTEM, settings)
    step = Trainer._one_step

    def stopped(self):
        if self.step == 8:
            raise KeyboardInterrupt
        step(self)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_one_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(faces, tmp_path / "parts", "lssl", SYSTEM, settings)
    monkeypatch.setattr("augment.devices.MOST_CHANNELS_LAST", 0)
    train(faces, tmp_path / "parts", "lssl", SYSTEM, settings)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    difference = torch.cat([(whole[name] - parts[name]).abs().flatten() for name in whole])
    assert difference.mean() < 1e-6


@pytest.fixture
def stopped_run(faces, tmp_path):
    """A run that was stopped in its seventh step; its state is of the fourth, its log goes on a little."""
    step = Trainer._one_step

    def stopped(self):
        if self.step == 6:
            raise KeyboardInterrupt
        step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_one_step", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(faces, tmp_path / "run", "lssl", SYSTEM, SETTINGS)
    return tmp_path / "run"


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[: len(data) // 2], lambda data: b"no state"])
def test_a_damaged_state_is_an_error_that_says_how_to_begin_anew(faces, stopped_run, damage):
    file = state_file(stopped_run)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(EmoaugError, match=r"state\.pt is damaged, or of another version .*--restart begins anew"):
        train(faces, stopped_run, "lssl", SYSTEM, SETTINGS)
    train(faces, stopped_run, "lssl", SYSTEM, replace(SETTINGS, steps=1), restart=True)


def test_what_was_logged_after_the_state_is_forgotten_and_so_is_half_a_line(tmp_path):
    lines = ['{"step": 50, "change": 0.1}', '{"step": 100, "change": 0.2}', '{"step": 150, "change": 0.3}']
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(lines) + '\n{"step": 2')
    trim_log(log, 100)
    assert log.read_text() == "\n".join(lines[:2]) + "\n"
    trim_log(tmp_path / "absent.jsonl", 100)
    assert not (tmp_path / "absent.jsonl").exists()
