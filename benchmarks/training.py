"""How fast systems train: steps a second, by phase and precision; and our trainer against StarGAN's published loop.

First every system, `compact`: steps a second, and milliseconds that each phase takes of a step (a penalty that is asked
every eighth step counts an eighth). What is not a phase is `rest`: drawing the batch, and averaging the weights.

Then networks of StarGAN's size with StarGAN's updates, one of the critic a step, with WGAN-GP, and one of the generator
every fifth: the published loop in float32; the same networks and updates in our trainer, the critic's in one pass; and
LSSL made as large. LSSL does more than StarGAN (heat maps, and a network that draws them).

Faces are noise and weights random, which cost the same. Everything is measured in turn, repetition by repetition, so
that other work on the machine falls on all alike; the medians count. Times are processor time, with as many threads as
torch is given; on a graphics card, where nothing was measured yet, time on the clock.

    OMP_NUM_THREADS=1 python -m benchmarks.training --out training.json
    OMP_NUM_THREADS=1 python -m benchmarks.training --out training.json --systems --reference-size 128
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro

from augment.devices import Device, choose_device, explained_memory, has_fast_bfloat16, make_fabric
from augment.expressions import SEVEN
from augment.pictures import write_text
from augment.systems import SYSTEMS, Batch, Phase, Progress, Translator, get_system
from augment.training import Trainer, TrainingSettings
from augment.training_data import TrainingFaces
from benchmarks.machine import machine
from benchmarks.stargan import StarGANSettings
from benchmarks.stargan_training import GENERATOR_EVERY, TrainableStarGAN, published_loop

PUBLISHED = "StarGAN, published loop"


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    systems: tuple[str, ...] = tuple(SYSTEMS)
    """Systems to measure by phase."""
    size: int = 64
    """Side of their faces, pixels."""
    batch_size: int = 8
    """Their faces per step."""
    steps: int = 16
    """Steps of each in a repetition; a multiple of 8 counts seldom phases right."""
    reference_size: int = 64
    """Side of the faces for StarGAN's networks, pixels, a multiple of 64; 0 leaves them out."""
    reference_batch_size: int = 16
    """Faces per step for StarGAN's networks."""
    repeat: int = 3
    """Repetitions, after one that warms up."""
    device: Device = "cpu"
    """Where to train."""


class Clock:
    """Seconds of work."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"

    def __call__(self) -> float:
        """Now."""
        if self.cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()


class TimedTrainer(Trainer):
    """A trainer that notes how long each phase takes; it writes nothing."""

    def __init__(self, translator: Translator, data: TrainingFaces, settings: TrainingSettings) -> None:
        fabric = make_fabric(settings.device, settings.precision)
        super().__init__(translator, data, Path(tempfile.gettempdir()), settings, {}, fabric, None)
        self.clock, self.seconds = Clock(fabric.device.type), dict.fromkeys((p.name for p in self.phases), 0.0)

    def _update(self, phase: Phase, batch: Batch, progress: Progress, decay: float) -> None:
        began = self.clock()
        super()._update(phase, batch, progress, decay)
        self.seconds[phase.name] += self.clock() - began

    def take(self, steps: int) -> dict[str, float]:
        """Take steps; milliseconds of a step by phase, of what is no phase, and of all."""
        self.seconds = dict.fromkeys(self.seconds, 0.0)
        began = self.clock()
        for _ in range(steps):
            self._one_step()
            self.step += 1
        total = self.clock() - began
        rest = total - sum(self.seconds.values())
        return {name: 1000 * s / steps for name, s in (self.seconds | {"rest": rest, "all": total}).items()}


def noise(size: int, people: int = 8) -> TrainingFaces:
    """Each person once with every expression."""
    draws, count = torch.Generator().manual_seed(0), people * len(SEVEN)
    pixels = torch.randint(256, (count, 3, size, size), generator=draws, dtype=torch.uint8)
    points = torch.rand(count, 478, 2, generator=draws) * 2 - 1
    each = torch.arange(count)
    return TrainingFaces(pixels, each % len(SEVEN), points, len(SEVEN), subjects=each // len(SEVEN))


def as_large_as_stargan(size: int) -> Any:
    """LSSL with StarGAN's widths and depths: numbers of parameters within a tenth of its."""
    published = get_system("lssl").configurations["paper"]
    # The critic stops at two pixels, so that small faces leave it a level less, and each level is wider for it.
    levels = min(6, size.bit_length() - 2)
    return replace(
        published, size=size, depth=2, widest=256, residual_blocks=6, critic_depth=levels, critic_width=4096 >> levels
    )


def trainer(translator: Translator, data: TrainingFaces, batch_size: int, device: Device, precision: Any) -> Trainer:
    """One of ours, after what it solves before the first step."""
    settings = TrainingSettings(batch_size=batch_size, device=device, precision=precision)
    translator.fit(data)
    return TimedTrainer(translator, data, settings)


def published(translator: TrainableStarGAN, data: TrainingFaces, options: Options) -> Callable[[], dict[str, float]]:
    """Milliseconds of a step of the published loop, over as many steps as have one generator update."""
    clock = Clock(choose_device(options.device))
    network = translator.to(choose_device(options.device))
    updates: Iterator[tuple[str, torch.Tensor]] = published_loop(network, data, options.reference_batch_size)

    def take() -> dict[str, float]:
        seconds = {"critic": 0.0, "generator": 0.0}
        while seconds["generator"] == 0:
            began = clock()
            name, _ = next(updates)
            seconds[name] += clock() - began
        return {name: 1000 * s / GENERATOR_EVERY for name, s in (seconds | {"all": sum(seconds.values())}).items()}

    return take


def candidates(options: Options) -> dict[tuple[str, str], tuple[Callable[[], dict[str, float]], dict[str, int]]]:
    """What is measured: by name and precision, what takes some steps, and the parameters of its parts."""
    precisions = ["32-true", *(["bf16-mixed"] if has_fast_bfloat16(choose_device(options.device)) else [])]
    found: dict[tuple[str, str], tuple[Callable[[], dict[str, float]], dict[str, int]]] = {}

    def add(name: str, precision: str, build: Callable[[], Translator], data: TrainingFaces, batch: int, steps: int):
        torch.manual_seed(0)
        translator = build()
        ours = trainer(translator, data, batch, options.device, precision)
        found[name, precision] = (lambda: ours.take(steps)), parameters(translator)

    data = noise(options.size)
    for name in options.systems:
        system = get_system(name)
        settings = replace(system.configurations["compact"], size=options.size)
        for precision in precisions:
            add(name, precision, lambda s=system, o=settings: s(SEVEN, o), data, options.batch_size, options.steps)
    if options.reference_size:
        side, batch = options.reference_size, options.reference_batch_size
        data = noise(side)
        torch.manual_seed(0)
        network = TrainableStarGAN(SEVEN, StarGANSettings(side), plain=True)
        found[PUBLISHED, "32-true"] = published(network, data, options), parameters(network)
        for precision in precisions:
            for name, build in (
                ("StarGAN, our trainer", lambda: TrainableStarGAN(SEVEN, StarGANSettings(side))),
                ("LSSL as large", lambda: get_system("lssl")(SEVEN, as_large_as_stargan(side))),
            ):
                add(name, precision, build, data, batch, GENERATOR_EVERY)
    return found


def parameters(translator: Translator) -> dict[str, int]:
    """Numbers that are trained, by part."""
    return {name: sum(p.numel() for p in module.parameters()) for name, module in translator.named_children()}


def measure(options: Options) -> list[dict[str, Any]]:
    """One row for each system and precision."""
    chosen = candidates(options)
    times: dict[tuple[str, str], list[dict[str, float]]] = {key: [] for key in chosen}
    for _ in range(options.repeat + 1):
        for key, (take, _) in chosen.items():
            times[key].append(take())
    rows = []
    for (name, precision), (_, counted) in chosen.items():
        taken = times[name, precision][1:]
        medians = {part: statistics.median(t[part] for t in taken) for part in taken[0]}
        row: dict[str, Any] = {"system": name, "precision": precision, "steps_a_second": 1000 / medians.pop("all")}
        if options.reference_size and name.startswith(("StarGAN", "LSSL")):
            # Of the same repetition: they were measured one after another.
            reference = times[PUBLISHED, "32-true"][1:]
            row["times_faster"] = statistics.median(r["all"] / t["all"] for r, t in zip(reference, taken, strict=True))
        rows.append(row | {"milliseconds": medians, "parameters": counted, "repetitions": taken})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = ["| system | precision | steps/s | against published | ms of a step |", "|---|---|---|---|---|"]
    for row in rows:
        faster = f"{row['times_faster']:.2f}" if "times_faster" in row else ""
        parts = ", ".join(f"{name} {value:.0f}" for name, value in row["milliseconds"].items())
        lines.append(f"| {row['system']} | {row['precision']} | {row['steps_a_second']:.2f} | {faster} | {parts} |")
    return "\n".join(lines)


def main(options: Options) -> None:
    """Measure, print the table, write the JSON."""
    with explained_memory("for these networks; lower --reference-batch-size"):
        rows = measure(options)
    print(table(rows))
    result = {"rows": rows, "options": asdict(options) | {"out": str(options.out)}, "machine": machine()}
    write_text(options.out, json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
