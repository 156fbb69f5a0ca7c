"""A small real system and small drawn faces for the tests of generation and checkpoints."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from augment.folders import FaceTable, read_faces
from augment.generation import GenerateSettings, generate
from augment.pictures import encode_png
from augment.plans import PlanSettings, build_plan
from augment.systems.base import SystemInfo, Translator

EXPRESSIONS = ("happy", "neutral", "sad")
CPU = GenerateSettings(device="cpu", threads=2)


@dataclass(frozen=True)
class TinySettings:
    size: int = 24
    channels: int = 8
    mode: str = "conv"
    blend: float = 0.5
    taps: tuple[int, ...] = (3, 3)
    clip: float | None = None


class TinyTranslator(Translator):
    """Two convolutions with instance norm that see the condition as extra channels."""

    name = "tiny"
    info = SystemInfo("Tiny", "none", "labels")
    settings_class = TinySettings
    configurations: ClassVar = {"paper": TinySettings(), "compact": TinySettings()}

    def __init__(self, condition_names: tuple[str, ...], settings: TinySettings) -> None:
        super().__init__(condition_names, settings)
        self.generator = nn.Sequential(
            nn.Conv2d(3 + len(condition_names), settings.channels, 3, padding=1),
            nn.InstanceNorm2d(settings.channels, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(settings.channels, settings.channels, 3, padding=1),
            nn.InstanceNorm2d(settings.channels, affine=True),
            nn.LeakyReLU(0.2),
            nn.Conv2d(settings.channels, 3, 3, padding=1),
        )

    def averaged_modules(self) -> dict[str, nn.Module]:
        return {"generator": self.generator}

    def translate(self, faces: Tensor, condition: Tensor) -> Tensor:
        self.check(faces, condition)
        return self._painted(faces, condition[:, :, None, None].expand(-1, -1, *faces.shape[2:]))

    def _painted(self, faces: Tensor, maps: Tensor) -> Tensor:
        made = torch.tanh(self.generator(torch.cat([faces, maps], 1)))
        if self.settings.mode == "fickle":
            # As a library whose kernels differ with batch size, place in the batch and threads, only more so.
            made = made + 0.01 * len(faces) + 0.2 * torch.get_num_threads()
            made = made + 0.02 * torch.arange(len(faces))[:, None, None, None]
            made = torch.sin(made)
        # Not a number for the faces that the test marks with a white corner.
        broken = (faces[:, :, 0, 0] == 1).all(1) & (self.settings.mode == "broken")
        return torch.where(broken[:, None, None, None], torch.nan, made)


class Recombiner(TinyTranslator):
    """Also sees another face where the condition would be."""

    info = SystemInfo("Recombiner", "none", "labels", ("translate", "recombine"))

    def recombine(self, identity_faces: Tensor, attribute_faces: Tensor) -> Tensor:
        return self._painted(identity_faces, attribute_faces)


class Mover(TinyTranslator):
    """Has movements for conditions."""

    learns_intensities = True


def tiny_translator(seed: int = 0, kind: type[TinyTranslator] = TinyTranslator, **settings: object) -> TinyTranslator:
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    translator = kind(EXPRESSIONS, TinySettings(**settings))  # type: ignore[arg-type]
    torch.random.set_rng_state(state)
    return translator


def draw_face(label: str, seed: int, size: int = 24, grey: bool = False) -> np.ndarray:
    """A head, two eyes and a mouth, uint8 RGB (size, size, 3)."""
    random = np.random.default_rng(seed)
    picture = np.full((size, size, 3), random.integers(20, 120, 3), dtype=np.uint8)
    skin = tuple(int(v) for v in random.integers(120, 240, 3))
    s = size / 24
    cv2.ellipse(picture, (int(12 * s), int(12 * s)), (int(8 * s), int(10 * s)), 0, 0, 360, skin, -1)
    for x in (9, 15):
        cv2.circle(picture, (int(x * s), int(9 * s)), max(1, int(s)), (10, 10, 10), -1)
    bend = {"happy": (0, 180), "sad": (180, 360), "neutral": (0, 5)}[label]
    cv2.ellipse(picture, (int(12 * s), int(16 * s)), (int(4 * s), int(2 * s)), 0, *bend, (120, 20, 20), 1)
    return np.repeat(picture.mean(2, keepdims=True).astype(np.uint8), 3, axis=2) if grey else picture


def draw_dataset(folder: Path, counts: dict[str, int], subjects: int = 5, size: int = 24) -> FaceTable:
    """A folder of drawn faces with a metadata.csv; every third face is grey."""
    rows = []
    number = 0
    for label, count in counts.items():
        (folder / label).mkdir(parents=True)
        for _ in range(count):
            name = f"{label}/face{number:03d}.png"
            (folder / name).write_bytes(encode_png(draw_face(label, number, size, grey=number % 3 == 0)))
            rows.append((name, label, f"person{number % subjects}", "train"))
            number += 1
    with (folder / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("file_name", "label", "subject", "split"), *rows])
    return read_faces(folder)


def plan_for(faces: FaceTable, count: int = 9, **more: Any) -> pd.DataFrame:
    """So many new faces of each expression."""
    return build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=count, strength=(0.5, 1.0), **more))


def table(out: Path) -> pd.DataFrame:
    """The metadata of a generated folder."""
    return pd.read_csv(out / "metadata.csv")


def run_generation(data: Path, out: Path, count: int, mode: str = "conv") -> None:
    """What a process does that is killed: the whole way from the folder to the folder."""
    faces = read_faces(data)
    translator = tiny_translator(mode=mode)
    plan = build_plan(faces, EXPRESSIONS, PlanSettings(policy="per-class", count=count, seed=3, strength=(0.6, 1.0)))
    generate(faces, translator, plan, out, CPU, {})


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
