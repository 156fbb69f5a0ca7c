"""No command on local data uses a socket."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.augment.drawn_face import model_path

ROOT = Path(__file__).parents[1]
SHORT = "--steps 2 --batch-size 2 --device cpu"
SMALL = "width=8 depth=2 widest=16 residual_blocks=1 critic_width=8"

COMMANDS = (
    "simulate --out faces --count 16 --size 32 --per-subject 2 --expressions happy,neutral --as-real --workers 2",
    "simulate --out rendered --count 8 --size 32 --expressions happy,neutral --workers 1",
    "audit faces",
    "systems",
    "align faces aligned --size 32 --crop none --workers 2",
    f"train --data faces --out lssl {SHORT} --set {SMALL}",
    "preview faces --weights lssl --no-find-face --out look.png",
    "generate --data faces --weights lssl --out bigger --device cpu",
    "verify bigger",
    f"refine --simulated rendered --real faces --out refined {SHORT}",
    "gain --data faces --out gain --arms real,lssl --folds 2 --seeds 1 --workers 1 --training.steps 2 "
    "--classifier.steps 2 --training.device cpu",
)


def without_network(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "EMOAUG_MODELS": str(model_path().parent)}
    # Where no variable has it, PyTorch asks the system for the user's name, which asks a daemon of this machine.
    environment |= {"LOGNAME": "somebody"}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_test_itself_sees_a_connection(tmp_path):
    script = "from tests.no_network import *; print(forbid(), flush=True); import socket; s = socket.socket(); "
    said = without_network("-c", script + "s.connect_ex(('127.0.0.1', 9))", cwd=tmp_path)
    assert said.returncode == (-31 if said.stdout == "True\n" else 0)
    script = "from tests.no_network import *; seen = watch(); import socket; socket.getaddrinfo('localhost', 1); "
    assert "socket.getaddrinfo" in without_network("-c", script + "print(seen)", cwd=tmp_path).stdout


@pytest.mark.slow
def test_import_and_every_command_on_local_data_use_no_socket(tmp_path):
    said = without_network("-m", "tests.no_network", *COMMANDS, cwd=tmp_path)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.splitlines()[-1].endswith("attempts: []")
    if sys.platform == "linux":
        assert "forbidden: True" in said.stdout
