"""How long the command takes to start: `emoaug --help`, every command's own help, and the first generated picture.

The last is `emoaug generate` with the package's weights for a folder of one face, from the start of the process to its
end. Each is started anew several times; the files of the packages are in the system's memory from a first start that is
not counted:

    python -m benchmarks.startup --repetitions 7 --out startup.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from augment.pictures import write_text
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from benchmarks.machine import machine
from pipelines.cli import COMMANDS


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    repetitions: int = 7
    """Starts that count."""


def main(options: Options) -> None:
    """Time every start, print the table, write the JSON."""
    starts = {"emoaug --help": ["--help"]} | {f"emoaug {name} --help": [name, "--help"] for name in COMMANDS}
    seconds = {name: [start(given) for _ in range(options.repetitions + 1)][1:] for name, given in starts.items()}
    with tempfile.TemporaryDirectory() as folder:
        times = [first_picture(Path(folder), number) for number in range(options.repetitions + 1)]
    seconds["emoaug generate, one picture"] = times[1:]
    print("| start | median, s | slowest, s |\n|---|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |")
    write_text(options.out, json.dumps({"seconds": seconds, "machine": machine()}, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


def start(given: list[str]) -> float:
    """Seconds from the start of a process to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipelines.cli", *given], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def first_picture(folder: Path, number: int) -> float:
    """Seconds from the start of a process to the end of a generation of one picture, into a new folder."""
    faces, out = folder / "faces", folder / f"made-{number}"
    if not faces.exists():
        scenes = SceneSettings(expressions=("neutral",), per_subject=1)
        simulate(faces, scenes, SimulateSettings(count=1, as_real=True, device="cpu", workers=1))
    given = ["--data", str(faces), "--weights", "default", "--out", str(out), "--targets", "happy"]
    seconds = start(["generate", *given, "--policy", "per-class", "--count", "1"])
    (made,) = (out / "happy").iterdir()
    assert made.stat().st_size > 0
    return seconds


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
