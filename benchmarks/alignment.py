"""How fast faces are aligned, and against the plainest correct way of drawing an aligned face.

Processor milliseconds a picture of reading it, finding the face (MediaPipe), drawing it upright and writing it; of the
plain loop that draws one pixel after another, and how far apart the two draw; then pictures a second of `emoaug align`
as a whole, on the clock, with one worker and with one for each core. Prints tables and writes JSON:

    python -m benchmarks.alignment --data photos/ --out alignment.json
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tyro

from augment.alignment import AlignSettings, align_folder
from augment.faces import align_matrix, align_picture
from augment.folders import FaceTable, read_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import encode_png, write_text
from augment.workers import cores
from benchmarks.machine import machine

SHARPNESS = -0.75
"""Of cubic convolution as OpenCV has it (Keys 1981, eq. 15)."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data: Path
    """Folder of labelled pictures, not aligned."""
    out: Path
    """JSON file for the numbers."""
    pictures: int = 100
    """How many of them, drawn at random."""
    size: int = 64
    """Side of the aligned faces, pixels."""
    plain: int = 4
    """How many the plain loop draws."""


def plain_align(picture: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """What `align_picture` draws of a picture (H, W, 3), (size, size, 3) in 0 to 255; NaN where it sees past the edge.

    Every pixel is a mean of cubic interpolations, at least as many as the source has pixels there.
    """
    height, width = picture.shape[:2]
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    blocks = max(1, math.ceil(1 / scale - 1e-9))
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    drawn = np.full((size, size, 3), np.nan)
    for row in range(size):
        for column in range(size):
            samples = []
            for part in range(blocks**2):
                across, down = (column + (part % blocks + 0.5) / blocks, row + (part // blocks + 0.5) / blocks)
                x, y, _ = back @ [across, down, 1] - 0.5
                left, top = math.floor(x) - 1, math.floor(y) - 1
                if left < 0 or top < 0 or left + 4 > width or top + 4 > height:
                    break
                weights = np.outer(_cubic(y - top), _cubic(x - left))
                samples.append(np.tensordot(weights, picture[top : top + 4, left : left + 4].astype(float)))
            if len(samples) == blocks**2:
                drawn[row, column] = np.clip(np.mean(samples, 0), 0, 255)
    return drawn


def _cubic(place: float) -> np.ndarray:
    """Weights of four pixels for a place between the second and the third of them."""
    distance = np.abs(place - np.arange(4))
    a = SHARPNESS
    near = (a + 2) * distance**3 - (a + 3) * distance**2 + 1
    far = a * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    return np.where(distance <= 1, near, np.where(distance < 2, far, 0))


def stages(faces: FaceTable, options: Options) -> dict[str, Any]:
    """Milliseconds of the stages of one picture, and of the plain loop."""
    landmarker, spent = FaceLandmarker(), dict[str, list[float]]()
    apart, plain = [], []

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        spent.setdefault(name, []).append(1000 * (time.process_time() - began))
        return result

    with tempfile.TemporaryDirectory() as folder:
        for row in range(len(faces)):
            picture = timed("read", lambda row=row: faces.picture(row))
            found = timed("find", lambda picture=picture: landmarker.detect(picture))
            if found is None:
                continue
            matrix = align_matrix(found.landmarks, options.size)
            drawn = timed("draw", lambda p=picture, m=matrix: align_picture(p, m, options.size))
            timed("write", lambda d=drawn, r=row: (Path(folder) / f"{r}.png").write_bytes(encode_png(d)))
            if len(plain) < options.plain:
                began = time.process_time()
                expected = plain_align(picture, matrix, options.size)
                plain.append(1000 * (time.process_time() - began))
                apart.append(float(np.nanmean(np.abs(expected - drawn))))
    medians = {name: statistics.median(times) for name, times in spent.items()}
    loop = statistics.median(plain)
    return {
        "milliseconds": medians,
        "loop_milliseconds": loop,
        "times_faster": loop / statistics.median(spent["draw"][: len(plain)]),
        "grey_levels_apart": statistics.mean(apart),
    }


def whole(faces: FaceTable, workers: int, size: int) -> float:
    """Pictures a second of `emoaug align`."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        align_folder(faces, Path(folder) / "aligned", AlignSettings(size=size, workers=workers))
        return len(faces) / (time.perf_counter() - began)


def main(options: Options) -> None:
    """Measure, print the tables, write the JSON."""
    cv2.setNumThreads(1)
    faces = read_faces(options.data)
    chosen = np.random.default_rng(0).permutation(len(faces))[: options.pictures]
    faces = faces.select(np.sort(chosen))
    of_one = stages(faces, options)
    print("| stage | ms a picture |\n|---|---|")
    for name, value in of_one["milliseconds"].items():
        print(f"| {name} | {value:.2f} |")
    print(
        f"\ndrawing is {of_one['times_faster']:.0f} times as fast as one pixel after another "
        f"({of_one['loop_milliseconds']:.0f} ms), {of_one['grey_levels_apart']:.2f} grey levels apart in the mean\n"
    )
    rates = {workers: whole(faces, workers, options.size) for workers in sorted({1, cores()})}
    for workers, rate in rates.items():
        print(f"{workers} worker{'s' if workers > 1 else ''}: {rate:.1f} pictures/s, starting included")
    result = {"stages": of_one, "pictures_a_second": rates, "pictures": len(faces), "size": options.size}
    write_text(options.out, json.dumps(result | {"machine": machine()}, indent=2) + "\n")
    print(f"numbers: {options.out}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
