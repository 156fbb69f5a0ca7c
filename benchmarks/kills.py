"""What a kill leaves: commands ended without warning at random moments, begun again until done, compared with a run
that nobody disturbed.

Each command works on a small world of rendered faces that is made first. Its whole process group is killed at a random
moment after it first wrote something, up to five times, before it may end; then its folder must have the same files
with the same contents, apart from the seconds that were measured:

    python -m benchmarks.kills --kills 100 --out kills.json
"""

from __future__ import annotations

import csv
import io
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from augment.pictures import write_text
from benchmarks.machine import machine
from emoaug import EmoaugError

SHORT = "--steps 40 --batch-size 4 --save-every 5 --sample-every 20 --device cpu"
TINY = "--set width=8 depth=2 widest=16 residual_blocks=1 critic_width=8"

WORLD = (
    "simulate --out faces --count 48 --size 32 --per-subject 4 --expressions happy,neutral --as-real --seed 7",
    "simulate --out rendered --count 48 --size 32 --expressions happy,neutral",
    f"train --data faces --out lssl {SHORT} {TINY}",
)
"""What the commands work on; made once."""

COMMANDS = {
    "simulate": "simulate --out out --count 512 --size 32 --workers 2",
    "align": "align ../world/faces out --size 32 --crop none --workers 2",
    "train": f"train --data ../world/faces --out out {SHORT} {TINY}",
    "generate": "generate --data ../world/faces --weights ../world/lssl --out out --policy per-class --count 2000 "
    "--device cpu",
    "refine": f"refine --simulated ../world/rendered --real ../world/faces --out out {SHORT}",
    "gain": "gain --data ../world/faces --out out --arms real,simulated,lssl --folds 2 --seeds 1 --workers 2 "
    "--simulated-per-class 10 --synthetic-factor 1 --classifier.steps 10 "
    "--training.steps 20 --training.save-every 5 --training.device cpu",
}
"""Every command that fills a folder, as it is given."""

SAID = "said.txt"
"""What a command printed."""

MOST_KILLS = 5
"""Kills of one run before it may end."""

_MEASURED = ("seconds", "tuning_seconds", "system_seconds", "seconds_per_step")
"""What differs between two undisturbed runs."""


@dataclass
class Outcome:
    """What came of the rounds of one command."""

    kills: int = 0
    rounds: int = 0
    differences: int = 0
    first: str = ""
    """The first difference."""
    seconds: float = 0.0
    """Duration of the undisturbed run."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    kills: int = 100
    """Over all commands."""
    commands: tuple[str, ...] = tuple(COMMANDS)
    """Which to kill."""
    seed: int = 0
    """Of the moments."""
    folder: Path | None = None
    """Keeps all runs; by default a temporary one."""


def main(options: Options) -> int:
    """Kill, compare, print the table, write the JSON; 1 if anything differs."""
    if unknown := set(options.commands) - set(COMMANDS):
        raise EmoaugError(f"commands are {', '.join(sorted(unknown))}; there are {', '.join(COMMANDS)}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        make_world(folder / "world")
        moments, outcomes = random.Random(options.seed), {name: Outcome() for name in options.commands}
        for number, name in enumerate(options.commands):
            kills = options.kills * (number + 1) // len(options.commands) - sum(o.kills for o in outcomes.values())
            outcomes[name] = try_command(folder, name, kills, moments)
            print(f"{name:<9} {outcomes[name]}", flush=True)
    print("\n" + table(outcomes))
    settings = {"kills": options.kills, "commands": options.commands, "seed": options.seed}
    result = {"outcomes": {n: vars(o) for n, o in outcomes.items()}, "settings": settings, "machine": machine()}
    write_text(options.out, json.dumps(result, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")
    return int(any(outcome.differences for outcome in outcomes.values()))


def make_world(folder: Path) -> None:
    """Make what the commands work on, where it is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for command in WORLD:
        finish(command, folder)


def try_command(folder: Path, name: str, kills: int, moments: random.Random) -> Outcome:
    """Kill one command so often, and compare each of its runs that came to an end with an undisturbed one."""
    whole = folder / f"{name}-undisturbed"
    shutil.rmtree(whole, ignore_errors=True)
    span, outcome = timed(COMMANDS[name], whole), Outcome()
    outcome.seconds = round(span, 2)
    while outcome.kills < kills:
        killed = folder / f"{name}-killed"
        shutil.rmtree(killed, ignore_errors=True)
        killed.mkdir(parents=True)
        for _ in range(min(MOST_KILLS, kills - outcome.kills)):
            if not kill(COMMANDS[name], killed, moments.uniform(0, span)):
                break
            outcome.kills += 1
        finish(COMMANDS[name], killed)
        found = differences(whole, killed)
        outcome.rounds += 1
        outcome.differences += len(found)
        outcome.first = outcome.first or (found[0] if found else "")
    return outcome


def begin(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """Start a command in a folder, as the leader of a process group of its own."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    with (folder / SAID).open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines.cli", *command.split()],
            cwd=folder,
            env=os.environ | {"PYTHONPATH": path},
            stdout=said,
            stderr=said,
            start_new_session=True,
        )


def finish(command: str, folder: Path) -> None:
    """Run a command to its end."""
    code = begin(command, folder).wait()
    if code:
        said = (folder / SAID).read_text(errors="replace")[-2000:]
        raise SystemExit(f"emoaug {command} ended with {code} in {folder}:\n{said}")


def timed(command: str, folder: Path) -> float:
    """Run a command undisturbed; seconds from its first file to its end."""
    folder.mkdir(parents=True)
    process = begin(command, folder)
    first = wait_for_change(process, folder)
    if process.wait():
        raise SystemExit(f"emoaug {command}: {(folder / 'said.txt').read_text(errors='replace')[-2000:]}")
    return time.monotonic() - first


def kill(command: str, folder: Path, delay: float) -> bool:
    """Kill a command so many seconds after it first writes something; False if it ended before."""
    process = begin(command, folder)
    wait_for_change(process, folder)
    try:
        process.wait(delay)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait() == -signal.SIGKILL


def wait_for_change(process: subprocess.Popen[bytes], folder: Path) -> float:
    """Wait until anything changes in a command's folder, or the command ends; the time when it did."""
    before = _state(folder)
    while process.poll() is None and _state(folder) == before:
        time.sleep(0.005)
    return time.monotonic()


def _state(folder: Path) -> list[tuple[str, int]]:
    """Every file that a command wrote, with the time when it did."""
    found = []
    for where, _, names in os.walk(folder):
        for name in set(names) - {SAID}:
            try:
                found.append((f"{where}/{name}", os.stat(f"{where}/{name}").st_mtime_ns))  # noqa: PTH116
            except FileNotFoundError:
                continue
    return sorted(found)


def differences(whole: Path, killed: Path) -> list[str]:
    """How a folder differs from that of an undisturbed run, one line a file."""
    wanted, found = _files(whole), _files(killed)
    lines = [f"{name}: missing" for name in sorted(wanted.keys() - found.keys())]
    lines += [f"{name}: too much" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        one, other = wanted[name].read_bytes(), found[name].read_bytes()
        if one != other and comparable(name, one) != comparable(name, other):
            lines.append(f"{name}: different")
    return lines


def _files(folder: Path) -> dict[str, Path]:
    return {
        str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir() and path.name != SAID
    }


def comparable(name: str, data: bytes) -> Any:
    """A file's contents without the seconds that were measured."""
    if name.endswith(".json"):
        return _without(json.loads(data))
    if name.endswith(".csv"):
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"), newline="")))
        keep = [i for i, column in enumerate(rows[0]) if column not in _MEASURED] if rows else []
        return [[row[i] for i in keep] if len(row) == len(rows[0]) else row for row in rows]
    if name.endswith(".pt"):
        return _plain(torch.load(io.BytesIO(data), weights_only=True))
    if name.endswith(".html"):
        return re.sub(rb"[\d,.]+( minutes|</td></tr>)", rb"\1", data)
    return data


def _plain(value: Any) -> Any:
    """A saved state, whose pickled form depends on which of its texts are one object, with every bit of its tensors."""
    if isinstance(value, torch.Tensor):
        bits = value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        return str(value.dtype), tuple(value.shape), bits
    if isinstance(value, dict):
        return {key: _plain(v) for key, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without(v) for key, v in value.items() if key not in _MEASURED}
    return [_without(v) for v in value] if isinstance(value, list) else value


def table(outcomes: dict[str, Outcome]) -> str:
    """The outcomes as Markdown."""
    lines = ["| command | kills | runs | files that differ | undisturbed, s |", "|---|---|---|---|---|"]
    for name, o in outcomes.items():
        lines.append(f"| {name} | {o.kills} | {o.rounds} | {o.differences} {o.first} | {o.seconds:.1f} |")
    total = [sum(getattr(o, field) for o in outcomes.values()) for field in ("kills", "rounds", "differences")]
    return "\n".join([*lines, f"| all | {total[0]} | {total[1]} | {total[2]} | |"])


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options, description=__doc__)))
