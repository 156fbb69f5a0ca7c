"""The training scripts among the examples: two are nearly the same text, and all of them train."""

import difflib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from augment.checkpoints import save_checkpoint
from augment.systems.lssl import LSSL, LSSLSettings
from tests.drawn_dataset import draw_dataset

EXAMPLES = Path(__file__).parents[1] / "examples"
PLAIN, WITH_EMOAUG = EXAMPLES / "train_plain.py", EXAMPLES / "train_with_emoaug.py"


def differences():
    lines = [[line for line in path.read_text().splitlines() if line] for path in (PLAIN, WITH_EMOAUG)]
    return [line for line in difflib.ndiff(*lines) if line[0] in "+-"]


def test_at_most_five_lines_tell_the_scripts_apart():
    assert 0 < sum(line[0] == "+" for line in differences()) <= 5
    assert sum(line[0] == "-" for line in differences()) <= 5


def test_the_page_shows_the_lines_that_differ():
    shown = (EXAMPLES / "transforms.md").read_text().split("```diff\n")[1].split("```")[0].splitlines()
    wanted = [line[0] + line[2:] for line in differences() if "python examples/" not in line]
    assert sorted(shown) == sorted(wanted)


@pytest.mark.slow
@pytest.mark.parametrize("script", [PLAIN, WITH_EMOAUG], ids=lambda path: path.stem)
def test_the_scripts_train(tmp_path, script):
    draw_dataset(tmp_path / "faces", subjects=8, size=64)
    torch.manual_seed(0)
    settings = LSSLSettings(size=32, depth=2, critic_depth=2, width=4, widest=8, residual_blocks=1, critic_width=4)
    save_checkpoint(tmp_path / "runs" / "lssl" / "checkpoint", LSSL(("neutral", "happy"), settings), {})
    command = [sys.executable, str(script), str(tmp_path / "faces"), "3"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "step 3: loss" in done.stdout
