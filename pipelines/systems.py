"""What each registered system is, needs and costs, without training it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from augment.devices import make_fabric
from augment.expressions import SEVEN
from augment.systems import SYSTEMS, Translator
from pipelines.tables import text_table

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CONFIGURATIONS = ("compact", "paper")
SPEED_SIZE = 64
"""Side of the faces for which speed is measured, pixels."""


def describe(speed: bool = True, seconds: float = 1.0) -> list[dict[str, Any]]:
    """Facts about every system, as JSON values.

    Args:
        speed: measure how fast `compact` is.
        seconds: how long to measure each.

    Returns:
        One dict a system: name, title, paper, needs, abilities, partners, configurations (by name: size, pixels;
        parameters, what a checkpoint holds; trained, what training holds, critics included), and pictures_per_second of
        untrained `compact` at `SPEED_SIZE`, if measured.
    """
    fabric = make_fabric("auto", "auto") if speed else None
    rows = []
    for name, system in SYSTEMS.items():
        info = system.info
        row: dict[str, Any] = {
            "name": name,
            "title": info.title,
            "paper": info.paper,
            "needs": info.needs,
            # A condition may be a mixture: that is part of what translating means.
            "abilities": [*info.abilities, *(["blends"] if "translate" in info.abilities else [])],
            "partners": system.partners,
            "configurations": {key: _count(system, system.configurations[key]) for key in CONFIGURATIONS},
        }
        if fabric is not None:
            torch.manual_seed(0)
            settings = replace(system.configurations["compact"], size=SPEED_SIZE)
            translator = system(SEVEN, settings).eval().requires_grad_(False).to(fabric.device)
            row["pictures_per_second"] = round(pictures_per_second(translator, fabric, seconds), 1)
            row["device"] = fabric.device.type
        rows.append(row)
    return rows


def _count(system: type[Translator], settings: Any) -> dict[str, int]:
    """Size and numbers of a configuration; nothing is computed, and no memory taken."""
    with torch.device("meta"):
        translator = system(SEVEN, settings)
    # Of some systems a part is solved for, not trained by gradients, and stands in buffers: it is learned all the same.
    made = sum(tensor.numel() for module in translator.averaged_modules().values() for tensor in _learned(module))
    return {"size": int(settings.size), "parameters": made, "trained": sum(t.numel() for t in _learned(translator))}


def _learned(module: torch.nn.Module) -> list[torch.Tensor]:
    return [tensor for tensor in module.state_dict().values() if tensor.is_floating_point()]


def pictures_per_second(translator: Translator, fabric: Fabric, seconds: float = 1.0, batch: int = 16) -> float:
    """How many faces a translator changes in a second, where it stands, in batches."""
    faces = torch.rand(batch, 3, translator.size, translator.size, device=fabric.device) * 2 - 1
    condition = translator.condition([translator.condition_names[-1]] * batch).to(fabric.device)

    def translate() -> None:
        translator.translate(faces, condition)
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode(), fabric.autocast():
        # The first calls choose algorithms and take memory.
        translate()
        began, count = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < seconds or not count:
            translate()
            count += batch
    return count / passed


def format_systems(rows: list[dict[str, Any]]) -> str:
    """The facts for people: a table, then each system's paper and what data it needs."""
    table = []
    for row in rows:
        cells = {"system": row["name"]}
        for key, counted in row["configurations"].items():
            cells[key] = f"{_millions(counted['parameters'])} of {_millions(counted['trained'])}, {counted['size']} px"
        if "pictures_per_second" in row:
            cells[f"pictures/s, {row['device']}"] = f"{row['pictures_per_second']:,.0f}"
        table.append(cells)
    lines = [text_table(table), "", "Parameters that make faces, of those that training holds; millions."]
    if "pictures_per_second" in rows[0]:
        lines.append(f"Pictures a second: untrained compact at {SPEED_SIZE} px, here and now.")
    for row in rows:
        lines += ["", f"{row['name']}: {row['paper']}"]
        lines += [f"    can {', '.join(row['abilities'])}", f"    needs {row['needs']}"]
    return "\n".join(lines)


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f}"
