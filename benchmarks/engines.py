"""What more workers bring to a generation: faces a second of this machine's threads and of a Ray cluster's workers.

Each worker has one core. The faces are random, and so are the system's weights, which costs the same. The start of the
workers, who import the libraries, is not counted; sending them the weights and writing the whole folder is:

    python -m benchmarks.engines --workers 1 2 --faces 512 --out engines.json
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import tyro

from augment.engines import EngineSettings, open_engine, private_ray
from augment.expressions import SEVEN
from augment.folders import FaceTable, read_faces
from augment.generation import GenerateSettings, generate
from augment.pictures import encode_png, write_bytes, write_text
from augment.plans import PlanSettings, build_plan
from augment.systems import get_system
from augment.systems.base import Translator
from augment.workers import Engine
from benchmarks.machine import machine

SOURCES = 70


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    workers: tuple[int, ...] = (1, 2)
    """Workers of one core each."""
    faces: int = 512
    """Faces to make, about."""
    batch_size: int = 64
    """Faces of one task."""
    system: str = "lssl"
    """Its compact configuration is timed."""


def main(options: Options) -> None:
    """Measure every engine, print the table, write the JSON."""
    kind = get_system(options.system)
    system = kind(SEVEN, kind.configurations["compact"]).eval().requires_grad_(False)
    results = []
    with tempfile.TemporaryDirectory() as folder:
        faces = sources(Path(folder) / "faces", system.size)
        for workers in options.workers:
            settings = GenerateSettings(batch_size=options.batch_size, include_real="no", device="cpu", threads=workers)
            rate = faces_a_second(faces, system, options.faces, settings, None)
            results.append({"engine": "local", "workers": workers, "faces_a_second": rate})
            with cluster(workers) as engine:
                rate = faces_a_second(faces, system, options.faces, settings, engine)
            results.append({"engine": "ray", "workers": workers, "faces_a_second": rate})
            print(*results[-2:], sep="\n", flush=True)
    print("\n" + table(results))
    measured = {name: value for name, value in asdict(options).items() if name != "out"}
    write_text(
        options.out, json.dumps({"results": results, "settings": measured, "machine": machine()}, indent=2) + "\n"
    )
    print(f"\nnumbers: {options.out}")


@contextmanager
def cluster(workers: int) -> Iterator[Engine]:
    """A Ray cluster of this machine with so many workers of one core."""
    with private_ray():
        import ray

        ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        with open_engine(EngineSettings("ray"), "cpu") as engine:
            assert engine is not None
            yield engine
    finally:
        ray.shutdown()


def faces_a_second(
    faces: FaceTable, system: Translator, count: int, settings: GenerateSettings, engine: Engine | None
) -> float:
    """Make faces twice, first a few, so that the workers are there."""
    for wanted in (settings.threads * settings.batch_size, count):
        plan = build_plan(faces, SEVEN, PlanSettings("per-class", count=-(-wanted // len(SEVEN)), strength=(0.5, 1.0)))
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            made = generate(faces, system, plan, Path(folder) / "out", settings, {}, engine).made
            seconds = time.perf_counter() - began
    return round(made / seconds, 2)


def sources(root: Path, size: int) -> FaceTable:
    """A dataset of smooth random pictures."""
    generator = np.random.default_rng(0)
    for number in range(SOURCES):
        small = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        picture = cv2.resize(small, (size, size), interpolation=cv2.INTER_CUBIC)
        write_bytes(root / SEVEN[number % len(SEVEN)] / f"{number:03d}.png", encode_png(picture))
    return read_faces(root)


def table(results: list[dict[str, object]]) -> str:
    """The results as Markdown, beside those of the fewest workers of the same engine."""
    first: dict[object, float] = {}
    lines = ["| engine | workers | faces a second | of the first |", "|---|---|---|---|"]
    for result in results:
        rate = float(str(result["faces_a_second"]))
        share = rate / first.setdefault(result["engine"], rate)
        lines.append(f"| {result['engine']} | {result['workers']} | {rate:,.1f} | {share:.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
