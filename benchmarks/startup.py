"""How long the command takes to start: `emoaug --help`, and every command's own help.

Each is started anew several times; the files of the packages are in the system's memory from a first start that is not
counted:

    python -m benchmarks.startup --repetitions 7 --out startup.json
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from augment.pictures import write_text
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


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
