"""Whether a generation's peak memory grows with the number of faces.

Each number of faces is a whole generation, in a process of its own, from a thousand sources: LSSL with tiny networks
and tiny pictures, so that a hundred thousand take minutes. Prints a table and writes JSON:

    TQDM_DISABLE=1 python -m benchmarks.generation_memory --out generation_memory.json
"""

from __future__ import annotations

import json
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from augment.expressions import SEVEN
from augment.folders import read_faces
from augment.generation import GenerateSettings, generate
from augment.pictures import write_text
from augment.plans import PlanSettings, build_plan
from augment.systems.lssl import LSSL, LSSLSettings
from augment.verification import verify
from augment.workers import cores
from benchmarks.generation import drawn
from benchmarks.machine import machine, peak_memory

TINY = LSSLSettings(size=16, width=4, widest=8, depth=2, critic_depth=2, residual_blocks=1)


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    faces: tuple[int, ...] = (100, 10_000, 100_000)
    """Faces to make."""
    threads: int = 0
    """Threads; 0 for one a core."""


def measure(folder: Path, count: int, threads: int) -> dict[str, Any]:
    """Make so many faces; gives seconds, and MiB before, at the most, and at the most after a check of the folder."""
    torch.manual_seed(0)
    faces = read_faces(folder / "faces")
    translator = LSSL(SEVEN, TINY)
    before, began = peak_memory(), time.perf_counter()
    plan = build_plan(faces, SEVEN, PlanSettings("per-class", count=-(-count // len(SEVEN))))
    settings = GenerateSettings(device="cpu", threads=threads)
    made = generate(faces, translator, plan.iloc[:count], folder / f"out{count}", settings, {}).made
    seconds, peak = time.perf_counter() - began, peak_memory()
    assert made == count
    assert verify(folder / f"out{count}").problems == ()
    return {"faces": count, "seconds": seconds, "before": before, "peak": peak, "verified": peak_memory()}


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown."""
    lines = ["| faces | seconds | before, MiB | peak, MiB | to the first | with verify, MiB |", "|---" * 6 + "|"]
    for found in results:
        lines.append(
            f"| {found['faces']:,} | {found['seconds']:.1f} | {found['before']:,.0f} | {found['peak']:,.0f} "
            f"| {found['peak'] / results[0]['peak']:.3f} | {found['verified']:,.0f} |"
        )
    return "\n".join(lines)


def main(options: Options) -> list[dict[str, Any]]:
    """Measure every number, print the table, write the JSON."""
    results = []
    with tempfile.TemporaryDirectory() as name:
        drawn(Path(name) / "faces", TINY.size)
        for count in options.faces:
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                results.append(pool.submit(measure, Path(name), count, options.threads or cores()).result())
    print(table(results))
    settings = asdict(options) | {"out": str(options.out)}
    write_text(
        options.out, json.dumps({"results": results, "settings": settings, "machine": machine()}, indent=2) + "\n"
    )
    return results


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
