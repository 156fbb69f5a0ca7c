"""How fast faces are generated, and what keeps a run from the speed of its slower half.

For every system, size, precision and batch size, pictures a second of: reading (the file, its hash, decoding), the
network, writing (encoding, the file), each alone in as many threads; reading and writing together, which is a whole
generation by a system that gives every face back; and the whole generation, from the plan to the finished folder. The
whole is set beside the slower of its halves: the network, and reading and writing; in time, and in core seconds, which
say the same of CPUs that other work shares. Each repetition measures all of this
for every system in turn, so that other work on the machine falls on all alike. StarGAN's generator as published is the
reference. Weights are random, which costs the same. Prints a table and writes JSON with every repetition.

    TQDM_DISABLE=1 python -m benchmarks.generation --out generation.json
    TQDM_DISABLE=1 python -m benchmarks.generation --out generation.json --systems lssl lssl:paper stargan
    TQDM_DISABLE=1 python -m benchmarks.generation --out generation.json --sizes 64 128 --batch-sizes 16 0

On CUDA (`--device cuda`) the same is measured, but no figure was taken there yet: how large a chunk should be there
(`augment.generation_network.CHUNK`) is a guess.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import torch
import tyro
from torch import Tensor

from augment.devices import Device, Precision, choose_device, choose_precision
from augment.expressions import SEVEN
from augment.folders import FaceTable, read_faces
from augment.generation import GenerateSettings, generate
from augment.generation_folder import picture_names
from augment.generation_network import CHUNK, reproducible
from augment.pictures import encode_png, fit, is_grey, write_bytes, write_text
from augment.plans import PlanSettings, build_plan
from augment.systems import SystemInfo, Translator, get_system
from augment.workers import cores, in_threads, keep_freed_memory
from benchmarks.machine import machine
from benchmarks.stargan import StarGAN, StarGANSettings

WORKS = ("read", "network", "write", "read and write", "whole")
AGAINST = ("network", "whole")
"""Works that are compared with StarGAN's."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    systems: tuple[str, ...] = ("lssl", "lssl:paper", "cdaae", "reggan", "cvae-gan", "ip-gan", "stargan")
    """Systems in their compact configuration, or SYSTEM:CONFIGURATION; stargan is the reference."""
    sizes: tuple[int, ...] = (64,)
    """Sides of the faces, pixels."""
    precisions: tuple[Precision, ...] = ("32-true", "bf16-mixed")
    """Numbers that the network computes with."""
    batch_sizes: tuple[int, ...] = (0,)
    """Faces in work at one time, as for emoaug generate; 0 for one chunk a thread."""
    threads: int = 0
    """Threads; 0 for one a core."""
    device: Device = "auto"
    """Where the network runs."""
    seconds: float = 3.0
    """About how long a system's network takes in a repetition; it decides how many faces are made."""
    repeat: int = 5
    """Repetitions; the median counts."""
    compile: bool = False
    """Compile the networks, as emoaug generate --compile does."""
    data: Path | None = None
    """Folder of faces to make others of; by default a thousand smooth random pictures with a little noise."""


class Unchanged(Translator):
    """Gives every face back: a generation with it is the reading and the writing alone."""

    name = "unchanged"
    info = SystemInfo(title="Unchanged", paper="none", needs="nothing")
    settings_class = StarGANSettings
    configurations: ClassVar[dict[str, Any]] = {"compact": StarGANSettings()}

    def averaged_modules(self) -> dict[str, torch.nn.Module]:
        """None."""
        return {}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        """The same faces."""
        return faces


class Case:
    """One system at one size in one precision and batch size, with what is needed to time its parts."""

    def __init__(self, system: str, faces: FaceTable, size: int, settings: GenerateSettings, seconds: float) -> None:
        self.system, self.faces, self.size, self.settings = system, faces, size, settings
        self.chunk = CHUNK[settings.device]
        names = tuple(faces.vocabulary)
        self.translator, self.unchanged = built(system, names, size), Unchanged(names, StarGANSettings(size))
        pictures = [fit(faces.picture(i % len(faces)), size) for i in range(self.chunk)]
        self.grey = [is_grey(picture) for picture in pictures]
        self.batch = np.stack(pictures), np.eye(len(names), dtype=np.float32)[np.arange(self.chunk) % len(names)]
        self.network(settings.threads)
        began = time.perf_counter()
        self.made = self.network(settings.threads)
        each = (time.perf_counter() - began) / settings.threads
        self.chunks = max(2 * settings.threads, math.ceil(seconds / each))
        count = self.chunks * self.chunk
        plan = build_plan(faces, names, PlanSettings("per-class", count=math.ceil(count / len(names))))
        self.plan = plan.iloc[:count]
        self.names = list(picture_names(self.plan))
        self.seconds: dict[str, list[float]] = {work: [] for work in WORKS}
        self.core_seconds: dict[str, list[float]] = {work: [] for work in WORKS}

    def measure(self, folder: Path) -> None:
        """Time every piece of work once, each in a folder of its own.

        The folders stay: a disk without a journal (ext4 in many virtual machines) looks at every file that was removed
        in the last minutes before it makes a new one, which takes longer than all the rest of the work on a face.
        """
        works: dict[str, Callable[[Path], Any]] = {
            "read": self.read,
            "network": lambda _: self.network(self.chunks),
            "write": self.write,
            "read and write": partial(self.generate, self.unchanged),
            "whole": partial(self.generate, self.translator),
        }
        for name, work in works.items():
            out = Path(tempfile.mkdtemp(dir=folder)) / "out"
            began, cores_began = time.perf_counter(), time.process_time()
            work(out)
            self.seconds[name].append(time.perf_counter() - began)
            self.core_seconds[name].append(time.process_time() - cores_began)

    def read(self, _: Path) -> None:
        """Read and decode the source of every row."""
        for _picture in in_threads(self.faces.read, self.plan["source_index"].tolist(), self.settings.threads):
            pass

    def network(self, chunks: int) -> np.ndarray:
        """Put a chunk through the network so many times, in threads; gives the pictures."""
        settings = self.settings
        workers = min(settings.threads, math.ceil(settings.batch_size / self.chunk) or settings.threads)

        with (
            reproducible(self.translator, settings.device, settings.precision, settings.compile) as translate,
            ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            return list(pool.map(lambda _: translate(*self.batch)[0], range(chunks)))[-1]

    def write(self, out: Path) -> None:
        """Encode and write as many pictures as the plan has rows."""

        def write(place: int) -> None:
            slot = place % self.chunk
            write_bytes(out / self.names[place], encode_png(self.made[slot], grey=self.grey[slot]))

        for _ in in_threads(write, range(len(self.names)), self.settings.threads):
            pass

    def generate(self, translator: Translator, out: Path) -> None:
        """Carry out the plan."""
        generate(self.faces, translator, self.plan, out, self.settings, {})

    def result(self) -> dict[str, Any]:
        """What was measured, as JSON."""
        seconds, count = self.seconds, len(self.plan)
        return {
            "system": self.system,
            "size": self.size,
            "precision": self.settings.precision,
            "batch_size": self.settings.batch_size,
            "parameters": sum(p.numel() for m in self.translator.averaged_modules().values() for p in m.parameters()),
            "faces": count,
            "pictures_a_second": {work: count / statistics.median(seconds[work]) for work in WORKS},
            "whole_to_slower_half": to_slower_half(seconds),
            "whole_to_slower_half_core_seconds": to_slower_half(self.core_seconds),
            "seconds": seconds,
            "core_seconds": self.core_seconds,
        }


def to_slower_half(seconds: dict[str, list[float]]) -> float:
    """How many times as long the whole takes as the slower of its halves."""
    halves = zip(seconds["network"], seconds["read and write"], strict=True)
    return statistics.median(whole / max(pair) for whole, pair in zip(seconds["whole"], halves, strict=True))


def built(name: str, expressions: tuple[str, ...], size: int) -> Translator:
    """A system with random weights at a size; its critic, which makes no faces, is lessened where the size asks so."""
    torch.manual_seed(0)
    if name == StarGAN.name:
        return StarGAN(expressions, StarGANSettings(size))
    kind, _, configuration = name.partition(":")
    system = get_system(kind)
    settings = system.configurations[configuration or "compact"]
    smaller = {"critic_depth": 2} if size < settings.size and hasattr(settings, "critic_depth") else {}
    return system(expressions, replace(settings, size=size, **smaller))


def drawn(root: Path, size: int, count: int = 1000) -> FaceTable:
    """Smooth random pictures with a little noise, which PNG packs about as well as photographs of faces."""
    generator = np.random.default_rng(0)
    for i in range(count):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        noisy = (smooth + generator.normal(0, 2, smooth.shape)).clip(0, 255).astype(np.uint8)
        write_bytes(root / SEVEN[i % len(SEVEN)] / f"face{i:04d}.png", encode_png(noisy))
    return read_faces(root)


def compared(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Beside each system, how many times as fast as StarGAN it is at that size, precision and batch size."""

    def alike(result: dict[str, Any]) -> tuple[Any, ...]:
        return result["size"], result["precision"], result["batch_size"]

    references = {alike(result): result for result in results if result["system"] == StarGAN.name}
    for result in results:
        reference = references.get(alike(result))
        if reference is not None:
            result["times_stargan"] = {
                work: statistics.median(
                    (other / reference["faces"]) / (own / result["faces"])
                    for own, other in zip(result["seconds"][work], reference["seconds"][work], strict=True)
                )
                for work in AGAINST
            }
    return results


def table(results: Sequence[dict[str, Any]]) -> str:
    """Medians as Markdown."""
    heads = [
        *(f"{work}/s" for work in WORKS),
        "whole ÷ slower half",
        "in core seconds",
        *(f"{work} × StarGAN" for work in AGAINST),
    ]
    lines = [f"| system | size | precision | batch | {' | '.join(heads)} |", "|---" * (4 + len(heads)) + "|"]
    for result in results:
        cells = [result["system"], result["size"], result["precision"], result["batch_size"] or "all"]
        cells += [f"{result['pictures_a_second'][work]:,.0f}" for work in WORKS]
        cells += [f"{result[name]:.2f}" for name in ("whole_to_slower_half", "whole_to_slower_half_core_seconds")]
        cells += [f"{result['times_stargan'][work]:.1f}" if "times_stargan" in result else "" for work in AGAINST]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def main(options: Options) -> list[dict[str, Any]]:
    """Measure, print the table, write the JSON."""
    keep_freed_memory()  # as the command does
    device, threads = choose_device(options.device), options.threads or cores()
    precisions = dict.fromkeys(choose_precision(precision, device) for precision in options.precisions)
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for size in options.sizes:
            faces = drawn(Path(folder) / str(size), size) if options.data is None else read_faces(options.data)
            for precision, batch, system in itertools.product(precisions, options.batch_sizes, options.systems):
                settings = GenerateSettings(batch, "no", device, precision, threads, compile=options.compile)
                cases.append(Case(system, faces, size, settings, options.seconds))
        for repetition in range(options.repeat):
            for case in cases:
                case.measure(Path(folder))
            print(f"repetition {repetition + 1} of {options.repeat}", flush=True)
    results = compared([case.result() for case in cases])
    print("\n" + table(results))
    settings = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    report = {"results": results, "settings": settings, "device": device, "threads": threads, "machine": machine()}
    write_text(options.out, json.dumps(report, indent=2) + "\n")
    return results


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
