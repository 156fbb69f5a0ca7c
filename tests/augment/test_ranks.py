"""Processes that share batches, two of them, against one that has the whole."""

import json
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from augment.devices import Machines, make_fabric
from augment.ranks import Share, drawn, least_count, mean_over_ranks, mine, sharing
from augment.systems import SYSTEMS
from emoaug import EmoaugError

ROOT = Path(__file__).parents[2]
NAMES = [*sorted(SYSTEMS), "cdaae with batch norms", "batch norm"]


@pytest.fixture(scope="module")
def machines(tmp_path_factory):
    """What two machines left behind, how they ended, and what each said."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free.getsockname()[1])}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | address
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.augment.two_ranks", str(folder)],
            env=environment | {"NODE_RANK": str(rank)},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=200)[1] for process in processes]
    return folder, [process.returncode for process in processes], errors


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_processes_compute_what_one_computes_for_the_whole_batch(name, machines):
    folder = machines[0]
    found = json.loads((folder / "found.json").read_text())
    for phase, differences in found[name].items():
        for what, difference in differences.items():
            assert difference < 1e-5, f"{what} of {phase}"


@pytest.mark.slow
def test_what_the_first_decides_or_refuses_holds_for_both(machines):
    folder, codes, errors = machines
    assert {path.name for path in folder.iterdir()} == {"decided0", "decided1", "found.json"}
    assert codes == [1, 2], errors
    assert errors[0].strip().endswith("EmoaugError: not in this folder")
    assert errors[1] == ""


def test_two_shares_of_the_draws_are_the_draws_of_one():
    torch.manual_seed(0)
    whole = torch.rand(2 * 6, 2)
    parts = []
    for rank in range(2):
        torch.manual_seed(0)
        with sharing(Share(rank, 2, rows=3)):
            # As for faces and what was made of them, put behind one another.
            parts.append(drawn(torch.rand, (2 * 3, 2)))
    faces, made = zip(*(part.chunk(2) for part in parts), strict=True)
    assert torch.equal(torch.cat([*faces, *made]), whole)
    with sharing(Share(1, 2, rows=3)):
        assert mine(torch.arange(6)).tolist() == [3, 4, 5]
        assert least_count() == 0.5


def test_one_process_alone_draws_as_torch_does():
    torch.manual_seed(0)
    whole = torch.randint(0, 2, (5,))
    torch.manual_seed(0)
    assert torch.equal(drawn(partial(torch.randint, 0, 2), (5,)), whole)
    assert mine(whole) is whole
    assert mean_over_ranks(whole) is whole


def test_processes_that_do_not_fit_are_refused(monkeypatch):
    with pytest.raises(EmoaugError, match="devices is 0; it is 1 or more"):
        Machines(devices=0)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(EmoaugError, match="torchrun started 2 processes, and 3 devices on each of 1 machines are 3"):
        make_fabric("cpu", "32-true", Machines(devices=3))
