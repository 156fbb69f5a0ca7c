"""What expression changes cost while a classifier trains: ResNet-18 on 64 px pictures, pictures a second.

The same training loop with flips alone, with RandAugment, with RandomExpression in the DataLoader's workers, and with
ExpressionBatch behind the DataLoader. The pictures are random and in memory, so that no disk is measured, and the
system's weights are random, which costs the same:

    python -m benchmarks.transforms --seconds 10 --workers 2 --out transforms.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
import tyro
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models import resnet18
from torchvision.transforms import v2

from augment.devices import Device, choose_device, choose_precision
from augment.expressions import SEVEN
from augment.pictures import write_text
from augment.systems import Translator, get_system
from augment.transforms import AugmentedDataset, ExpressionBatch, RandomExpression
from benchmarks.machine import machine

FORMS: tuple[Any, ...] = ("none", "RandAugment", "RandomExpression", "ExpressionBatch")
SIZE = 64


class RandomPictures(Dataset[Any]):
    """Smooth random pictures with random labels, in memory."""

    def __init__(self, count: int = 512) -> None:
        generator = np.random.default_rng(0)
        small = generator.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        self.pictures = [PIL.Image.fromarray(p).resize((SIZE, SIZE), PIL.Image.Resampling.BICUBIC) for p in small]
        self.labels = generator.integers(0, len(SEVEN), count).tolist()

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[PIL.Image.Image, int]:
        return self.pictures[index], self.labels[index]


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    seconds: float = 10
    """How long each form is timed, after a warm-up."""
    workers: int = 2
    """Processes of the DataLoader."""
    batch_size: int = 64
    """Pictures of a step."""
    p: float = 0.5
    """Share of the pictures that get another expression."""
    system: str = "lssl"
    """Its compact configuration is timed."""
    forms: tuple[Literal["none", "RandAugment", "RandomExpression", "ExpressionBatch"], ...] = FORMS
    """Which to time."""
    device: Device = "auto"
    """Where to train."""


def main(options: Options) -> None:
    """Time every form, print the table, write the JSON."""
    kind = get_system(options.system)
    system = kind(SEVEN, kind.configurations["compact"]).eval().requires_grad_(False)
    device = torch.device(choose_device(options.device))
    rates = {}
    for form in options.forms:
        rates[form] = pictures_a_second(
            form, system, device, options.p, options.workers, options.batch_size, options.seconds
        )
        print(f"{form:<17} {rates[form]:8.0f} pictures a second", flush=True)
    print("\n" + table(rates))
    settings = {name: value for name, value in asdict(options).items() if name != "out"}
    result = {"pictures_a_second": rates, "settings": settings, "device": str(device), "machine": machine()}
    write_text(options.out, json.dumps(result, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


def pictures_a_second(
    form: str, system: Translator, device: torch.device, p: float, workers: int, batch_size: int, seconds: float
) -> float:
    """Train for a while with one form of augmentation."""
    members: list[Any] = {
        "RandAugment": [v2.RandAugment()],
        "RandomExpression": [RandomExpression(system, p=p, classes=SEVEN)],
    }.get(form, [])
    transform = v2.Compose([*members, v2.RandomHorizontalFlip(), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
    change = ExpressionBatch(system, p=p, classes=SEVEN) if form == "ExpressionBatch" else None
    loader = DataLoader(
        AugmentedDataset(RandomPictures(), transform),
        batch_size=batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    network = resnet18(num_classes=len(SEVEN)).to(device)
    optimizer = torch.optim.AdamW(network.parameters())
    low = choose_precision("auto", device.type) == "bf16-mixed"

    def step(pictures: torch.Tensor, labels: torch.Tensor) -> None:
        pictures, labels = pictures.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if change is not None:
            pictures, labels = change(pictures, labels)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            loss = nn.functional.cross_entropy(network(pictures), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    batches: Iterator[Any] = chain.from_iterable(repeat(loader))
    # Longer than the loader prefetches, so that no batch is counted that was made before the clock started.
    for _ in range(2 * workers + 2):
        step(*next(batches))
    wait(device)
    start, steps = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        step(*next(batches))
        wait(device)
        steps += 1
    return steps * batch_size / (time.perf_counter() - start)


def wait(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def table(rates: dict[str, float]) -> str:
    """The rates as Markdown, beside the first."""
    first = next(iter(rates.values()))
    lines = ["| augmentation | pictures a second | of the first |", "|---|---|---|"]
    lines += [f"| {form} | {rate:,.0f} | {rate / first:.0%} |" for form, rate in rates.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
