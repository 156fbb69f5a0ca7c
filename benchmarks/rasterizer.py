"""How fast faces are rasterised and rendered.

Compares the rasteriser with the plainest correct loop (one triangle after another, in numpy), and counts pictures a
second of the rasteriser and of the whole way from vertices to photograph, for a sphere and for the face models that are
there. Times are processor time of one thread, so that other work on the machine counts less; on a graphics card, time
on the clock. Prints a table and writes JSON.

    python -m benchmarks.rasterizer --out runs/rasterizer.json
    EMOAUG_MODELS=models/ python -m benchmarks.rasterizer --out runs/rasterizer.json   # ICT-FaceKit too
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.spatial import ConvexHull
from torch import Tensor

from augment.models import MODELS_VARIABLE
from augment.pictures import write_text
from augment.simulation.appearance import draw_appearance, dress
from augment.simulation.camera import aim, alignment_anchors
from augment.simulation.ict import NPZ_NAME
from augment.simulation.lighting import Lights, ambient_light, self_shadow, sphere
from augment.simulation.morphable import FaceModel, load_face_model
from augment.simulation.photograph import CameraEffects, photograph
from augment.simulation.rasterizer import rasterize
from augment.simulation.rendering import render
from benchmarks.machine import machine


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    sizes: tuple[int, ...] = (64, 128)
    """Sides of the pictures, pixels; each has two samples along a side."""
    batch: int = 8
    """Pictures at a time."""
    repeat: int = 5
    """Batches to time, after one to warm up; the median counts."""
    device: str = "cpu"
    """cpu or cuda."""


def plain_loop(points: np.ndarray, triangles: np.ndarray, height: int, width: int) -> np.ndarray:
    """Number of the nearest triangle at every centre, (height, width), -1 for none: one triangle after another."""
    nearest = np.full((height, width), np.inf)
    number = np.full((height, width), -1)
    for index, (a, b, c) in enumerate(points[triangles]):
        area = (b[1] - a[1]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[1] - a[1])
        low = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)[:2] - 0.5), 0).astype(int)
        high = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)[:2] - 0.5), (width - 1, height - 1)).astype(int)
        if area <= 0 or (high < low).any():
            continue
        y, x = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1] + 0.5
        shares = [((q[1] - p[1]) * (x - p[0]) - (q[0] - p[0]) * (y - p[1])) / area for p, q in ((b, c), (c, a), (a, b))]
        depth = 1 / sum(share / corner[2] for share, corner in zip(shares, (a, b, c), strict=True))
        window = np.s_[low[1] : high[1] + 1, low[0] : high[0] + 1]
        nearer = (np.minimum(np.minimum(*shares[:2]), shares[2]) >= 0) & (depth < nearest[window])
        nearest[window][nearer] = depth[nearer]
        number[window][nearer] = index
    return number


def seconds(work: Callable[[], Any], options: Options) -> float:
    """Median time of a piece of work."""
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    times = []
    for _ in range(options.repeat + 1):
        began = clock()
        work()
        if options.device != "cpu":
            torch.cuda.synchronize()
        times.append(clock() - began)
    return float(np.median(times[1:]))


def ball(count: int) -> tuple[Tensor, Tensor]:
    """A sphere of radius 10 cm, evenly divided: vertices (count, 3) and triangles that face outwards."""
    vertices = sphere(count)
    triangles = torch.from_numpy(ConvexHull(vertices.numpy()).simplices).long()
    a, b, c = vertices[triangles].unbind(1)
    inwards = (torch.linalg.cross(b - a, c - a) * a).sum(1) < 0
    triangles[inwards] = triangles[inwards].flip(1)
    return 10 * vertices, triangles


def seen(vertices: Tensor, side: int) -> Tensor:
    """Points of meshes (N, V, 3) whose head fills most of a picture of that many samples."""
    x, y, z = vertices.unbind(-1)
    depth = 60 - z
    return torch.stack([(3 * x / depth + 0.5) * side, (0.5 - 3 * y / depth) * side, depth], -1)


def rasterized(name: str, vertices: Tensor, triangles: Tensor, size: int, options: Options) -> dict[str, Any]:
    """Time the rasteriser and the plain loop on one mesh."""
    side = 2 * size
    points = seen(vertices.expand(options.batch, -1, -1), side).to(options.device)
    on_device = triangles.to(options.device)
    ours = seconds(lambda: rasterize(points, on_device, side, side), options) / options.batch
    began = time.process_time()
    expected = plain_loop(points[0].cpu().double().numpy(), triangles.numpy(), side, side)
    loop = time.process_time() - began
    found = rasterize(points[:1], on_device, side, side).triangle[0].cpu().numpy()
    return {
        "mesh": name,
        "triangles": len(triangles),
        "size": size,
        "rasterizer_ms": round(1000 * ours, 2),
        "loop_ms": round(1000 * loop, 1),
        "times_faster": round(loop / ours, 1),
        # The loop does not snap corners to the grid, so that some samples on rims fall to the neighbour.
        "same_triangle": round(float((found == expected).mean()), 4),
    }


def rendered(model: FaceModel, size: int, options: Options) -> dict[str, Any]:
    """Time the whole way from the numbers of a face to its photograph."""
    count, generator = options.batch, torch.Generator().manual_seed(0)
    identity = torch.randn(count, len(model.identity), generator=generator) / 2
    expression = torch.rand(count, len(model.expression_names), generator=generator) ** 4
    people = [torch.Generator().manual_seed(number) for number in range(count)]
    began = time.process_time()
    surface = draw_appearance(model, people).to(options.device)
    painted = (time.process_time() - began) / count
    model = model.to(options.device)
    identity, expression = identity.to(options.device), expression.to(options.device)
    pose = (torch.rand(count, 3, generator=generator) * 40 - 20).to(options.device)
    distance = torch.full((count,), 80.0, device=options.device)
    toward = torch.nn.functional.normalize(
        torch.randn(count, 3, 3, generator=generator) + torch.tensor([0, 1, 2]), dim=2
    )
    ambient = ambient_light(toward, torch.full((count, 3, 3), 0.1), torch.full((count, 3), 0.2))
    lights = Lights(toward, torch.full((count, 3, 3), 0.4), ambient).to(options.device)
    wall = torch.full((count, 3, size, size), 0.4, device=options.device)
    one = torch.ones(count)
    effects = CameraEffects(
        one, torch.ones(count, 3), 0.5 * one, 0.2 * one, 0.02 * one, 0.01 * one, 1.3 * one, 80 * one, one > 1
    ).to(options.device)
    shadow = self_shadow(model)

    def work() -> Tensor:
        vertices = model.shape(identity, expression)
        camera = aim(alignment_anchors(vertices[:, model.landmarks]), pose, distance)
        folds = surface.wrinkle_strength(expression, model.expression_names)
        dressed, clothed = dress(model, vertices, surface)
        light = render(dressed, clothed, surface, camera, lights, wall, size, folds=folds, shadow=shadow)
        return photograph(light, effects, people)

    spent = seconds(work, options) / count
    return {
        "model": model.name,
        "size": size,
        "picture_ms": round(1000 * spent, 2),
        "pictures_a_second": round(1 / spent, 1),
        "appearance_ms_a_person": round(1000 * painted, 1),
    }


def main(options: Options) -> None:
    """Measure, print, write."""
    if options.device == "cpu":
        torch.set_num_threads(1)
    models = [load_face_model(None)]
    published = Path(os.environ.get(MODELS_VARIABLE, "")) / NPZ_NAME
    if published.is_file():
        models.append(load_face_model(published))
    meshes = {"ball": ball(20_000)} | {model.name: (model.vertices, model.triangles) for model in models}
    result: dict[str, Any] = {
        "rasterizer": [
            rasterized(name, *mesh, size, options) for name, mesh in meshes.items() for size in options.sizes
        ],
        "whole": [rendered(model, size, options) for model in models for size in options.sizes],
        "batch": options.batch,
        "device": options.device if options.device == "cpu" else torch.cuda.get_device_name(),
        "machine": machine(),
    }
    for row in result["rasterizer"] + result["whole"]:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    write_text(options.out, json.dumps(result, indent=1) + "\n")
    print(f"numbers: {options.out}")


if __name__ == "__main__":
    main(tyro.cli(Options))
