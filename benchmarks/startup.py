"""How long the command takes to start: `emoaug --help`, and every command's own help.

Each is started anew several times; the files of the packages are in the system's memory from a first start that is not
counted:

    python -m benchmarks.startup --repetitions 7 --output startup.json
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from augment.pictures import write_text
from benchmarks.machine import machine
from pipelines.cli import COMMANDS


def main() -> None:
    """Time every start, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--output", type=Path, default=None, help="JSON file to write")
    arguments = parser.parse_args()
    starts = {"emoaug --help": ["--help"]} | {f"emoaug {name} --help": [name, "--help"] for name in COMMANDS}
    seconds = {name: [start(given) for _ in range(arguments.repetitions + 1)][1:] for name, given in starts.items()}
    print("| start | median, s | slowest, s |\n|---|---|---|")
    for name, times in seconds.items():
        print(f"| {name} | {statistics.median(times):.2f} | {max(times):.2f} |")
    if arguments.output:
        write_text(arguments.output, json.dumps({"seconds": seconds, "machine": machine()}, indent=2) + "\n")


def start(given: list[str]) -> float:
    """Seconds from the start of a process to its end."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipelines.cli", *given], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
