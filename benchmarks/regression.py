"""How fast RegGAN's local regressions are solved, against a plain solve of one pixel after another.

For windows of 1, 3, 5 and 7 pixels: processor seconds of one channel, all pairs added and all pixels solved, by
`LocalRidge` and by the plainest correct loop in numpy, and how far apart their weights are. Faces are noise, which
costs the same. Prints a table and writes JSON:

    OMP_NUM_THREADS=1 python -m benchmarks.regression --out regression.json
"""

from __future__ import annotations

import json
import statistics
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from augment.local_regression import LocalRidge
from augment.pictures import write_text
from benchmarks.machine import machine

PENALTY = 0.4


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    size: int = 128
    """Side of the faces, pixels."""
    pairs: int = 200
    """Pairs of faces that the regressions learn from."""
    sides: tuple[int, ...] = (1, 3, 5, 7)
    """Sides of the windows, pixels, odd."""
    repeat: int = 3
    """Repetitions of ours; the median counts. The plain loop runs once."""


def plain_ridge(sources: np.ndarray, targets: np.ndarray, side: int) -> np.ndarray:
    """Weights (side² + 1, H, W) of the regressions from sources to targets (N, H, W), pixel by pixel."""
    pairs, height, width = sources.shape
    padded = np.pad(sources, ((0, 0), (side // 2, side // 2), (side // 2, side // 2)))
    weights = np.empty((side**2 + 1, height, width))
    for y in range(height):
        for x in range(width):
            window = padded[:, y : y + side, x : x + side].reshape(pairs, -1)
            design = np.concatenate([window, np.ones((pairs, 1))], 1)
            gram = design.T @ design + PENALTY * np.eye(design.shape[1])
            weights[:, y, x] = np.linalg.solve(gram, design.T @ targets[:, y, x])
    return weights


def ridge(sources: np.ndarray, targets: np.ndarray, side: int) -> np.ndarray:
    """The same by `LocalRidge`."""
    found = LocalRidge((1, *sources.shape[1:]), side)
    found.add(torch.from_numpy(sources)[:, None], torch.from_numpy(targets)[:, None])
    return found.solve(PENALTY)[:, 0].numpy()


def measure(options: Options) -> list[dict[str, Any]]:
    """One row for each window."""
    draws = np.random.default_rng(0)
    sources, targets = (draws.random((options.pairs, options.size, options.size)) for _ in range(2))
    rows = []
    for side in options.sides:
        times = []
        for _ in range(options.repeat):
            began = time.process_time()
            ours = ridge(sources, targets, side)
            times.append(time.process_time() - began)
        began = time.process_time()
        plain = plain_ridge(sources, targets, side)
        loop = time.process_time() - began
        seconds = statistics.median(times)
        apart = float(np.abs(ours - plain).max())
        row = {"side": side, "seconds": seconds, "loop_seconds": loop, "times_faster": loop / seconds}
        rows.append(row | {"largest_difference": apart, "repetitions": times})
    return rows


def main(options: Options) -> None:
    """Measure, print the table, write the JSON."""
    rows = measure(options)
    print("| window | s a channel | plain loop, s | times faster | weights apart by |\n|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row['side']} | {row['seconds']:.2f} | {row['loop_seconds']:.2f} | {row['times_faster']:.1f} "
            f"| {row['largest_difference']:.0e} |"
        )
    result = {"rows": rows, "options": asdict(options) | {"out": str(options.out)}, "machine": machine()}
    write_text(options.out, json.dumps(result, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
