"""What MediaPipe, which had no part in it, sees in simulated faces.

Renders random faces, heads turned by at most 30 degrees, and asks the Face Landmarker: does it find them, do its
scores follow what was asked (Spearman's rank correlation, left and right averaged), what does it score on average for
each expression, and how far from the exact landmarks does it see them? Among expressions most faces are asked for next
to nothing of a movement, and ranks of next to nothing are chance; so as many random neutral faces are asked for all
movements at once, each from none to full and drawn by itself, but that brows go either up or down.

    python -m benchmarks.witness --faces 1000 --out witness.json
    python -m benchmarks.witness --faces 1000 --face-model ICT-FaceKit/ --out witness_ict.json
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.stats import spearmanr
from tqdm import tqdm

from augment.action_units import BLENDSHAPE_NAMES, feasible
from augment.expressions import SEVEN
from augment.landmarker import Detection, FaceLandmarker
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.simulation.morphable import FaceModel, load_face_model
from augment.simulation.scenes import Scene, SceneSettings, draw_scene
from augment.simulation.studio import take_pictures
from benchmarks.machine import machine

FOLLOWED = ("mouthSmile", "jawOpen", "browInnerUp", "browDown", "eyeBlink", "browOuterUp")
"""Movements whose scores should follow what was asked."""


@dataclass(frozen=True)
class Options:
    """What to measure."""

    out: Path
    """JSON file for the numbers."""
    faces: int = 1000
    """Of either kind."""
    face_model: Path | None = None
    """ICT-FaceKit; by default the built-in head."""
    size: int = 256
    """Side of the pictures, pixels."""
    yaw: float = 30.0
    """Farthest turn, degrees."""
    spread: float = 1.0
    """How much everything varies."""
    expressions: tuple[str, ...] = SEVEN
    """Which are asked for."""
    seed: int = 0
    """Of the faces."""
    threads: int = 1
    """Threads of torch."""
    missed: Path | None = None
    """PNG file for the faces that were not found."""


def main(options: Options) -> None:
    """Render, ask, print the tables, write the JSON."""
    torch.set_num_threads(options.threads)
    settings = SceneSettings(expressions=options.expressions, yaw=options.yaw, spread=options.spread, seed=options.seed)
    result = witness(settings, options.faces, options.size, options.face_model, options.missed)
    print(table(result))
    write_text(options.out, json.dumps(result | {"machine": machine()}, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


def witness(
    settings: SceneSettings,
    faces: int,
    size: int,
    face_model: Path | None = None,
    missed: Path | None = None,
) -> dict[str, Any]:
    """Render faces and measure what MediaPipe sees in them.

    Args:
        settings: what the scenes are like.
        faces: how many to render with the expressions of `settings`, and how many with movements of `FOLLOWED`, each
            from none to full, on a neutral face.
        size: side of the pictures, pixels.
        face_model: see `load_face_model`.
        missed: PNG file to write with the faces that were not found.

    Returns:
        JSON values: `found` (share), `spearman` by movement among the expressions, `spearman_drawn` among the faces
        whose movements were drawn, `mean_score` and `mean_asked` by expression and movement, `found_by_expression`,
        `landmark_error` (share of the picture's side, None if the model does not know the landmarks), and CPU seconds
        a face.
    """
    looker = _Looker(load_face_model(face_model), FaceLandmarker(), size)
    asked, scores, labels = looker.look(settings, [draw_scene(settings, row) for row in range(faces)])
    neutral = replace(settings, expressions=("neutral",))
    drawn = [_with_movements(draw_scene(neutral, row)) for row in range(faces)]
    asked_drawn, scores_drawn, _ = looker.look(neutral, drawn)
    if missed is not None and looker.missed:
        rows = [looker.missed[i : i + 8] for i in range(0, len(looker.missed), 8)]
        write_bytes(missed, encode_png(contact_sheet(rows, [""] * len(rows), [])))
    found = np.isfinite(scores_drawn).all(1)
    known = np.array(looker.errors)[np.isfinite(looker.errors)]
    return {
        "face_model": looker.model.name,
        "faces": faces,
        "size": size,
        **summarise(asked, scores, labels),
        "spearman_drawn": {name: rank_correlation(asked_drawn[found], scores_drawn[found], name) for name in FOLLOWED},
        "found_drawn": float(found.mean()),
        "landmark_error": float(np.median(known)) if len(known) else None,
        "cpu_seconds_a_face": looker.seconds / (2 * faces),
        "settings": asdict(settings),
    }


def _with_movements(scene: Scene) -> Scene:
    """Put movements on a scene, each at its own strength between none and full, the same on both sides.

    Brows that were drawn up and down at once would show neither.
    """
    down, *levels = torch.rand(1 + len(FOLLOWED), generator=torch.Generator().manual_seed(scene.seed)).tolist()
    still = ("browInnerUp", "browOuterUp") if down < 0.5 else ("browDown",)
    moved = {
        shape: level
        for name, level in zip(FOLLOWED, levels, strict=True)
        for shape in BLENDSHAPE_NAMES
        if shape.startswith(name) and name not in still
    }
    return replace(scene, expression=feasible(scene.expression | moved))


class _Looker:
    """Renders scenes and shows them to MediaPipe."""

    def __init__(self, model: FaceModel, landmarker: FaceLandmarker, size: int) -> None:
        self.model, self.landmarker, self.size = model, landmarker, size
        self.missed: list[np.ndarray] = []
        self.errors: list[float] = []
        self.seconds = 0.0

    def look(self, settings: SceneSettings, scenes: Sequence[Scene]) -> tuple[np.ndarray, np.ndarray, list[str]]:
        """What was asked, (N, 52), what MediaPipe scores, (N, 52) with NaN where it finds no face, and the labels."""
        asked = np.zeros((len(scenes), len(BLENDSHAPE_NAMES)), np.float32)
        scores = np.full_like(asked, np.nan)
        each = settings.per_subject
        for start in tqdm(range(0, len(scenes), each), desc="witnessed", unit="person"):
            began = time.process_time()
            with torch.inference_mode():
                taken = take_pictures(self.model, scenes[start : start + each], settings, self.size)
            self.seconds += time.process_time() - began
            pictures = taken.pictures.mul(127.5).add(127.5).round().clamp(0, 255).to(torch.uint8)
            asked[start : start + each] = taken.blendshapes
            for place, picture in enumerate(pictures.permute(0, 2, 3, 1).contiguous().numpy()):
                found = self.landmarker.detect(picture)
                if found is None:
                    self.missed.append(picture)
                else:
                    scores[start + place] = found.blendshapes
                    self.errors.append(landmark_error(found, taken.landmarks[place], self.size))
        return asked, scores, [scene.label for scene in scenes]


def landmark_error(found: Detection, exact: np.ndarray, size: int) -> float:
    """Mean distance of MediaPipe's points, irises aside, from the exact ones (478, 3), in shares of the side."""
    return float(np.linalg.norm(found.landmarks[:468, :2] / size - (exact[:468, :2] + 1) / 2, axis=1).mean())


def summarise(asked: np.ndarray, scores: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """Compare what was asked with what was seen.

    Args:
        asked: blendshapes, (N, 52) in [0, 1].
        scores: MediaPipe's, (N, 52); NaN where it found no face.
        labels: expression of each face.
    """
    found = np.isfinite(scores).all(1)
    names = np.array(labels)
    by_class: dict[str, Any] = {"mean_score": {}, "mean_asked": {}, "found_by_expression": {}}
    for label in dict.fromkeys(labels):
        here = found & (names == label)
        by_class["found_by_expression"][label] = float(found[names == label].mean())
        for key, values in (("mean_score", scores), ("mean_asked", asked)):
            by_class[key][label] = {
                name: float(values[here][:, columns(name)].mean()) if here.any() else None for name in FOLLOWED
            }
    return {
        "found": float(found.mean()),
        "spearman": {name: rank_correlation(asked[found], scores[found], name) for name in FOLLOWED},
        **by_class,
    }


def columns(movement: str) -> list[int]:
    """Places in `BLENDSHAPE_NAMES` of a movement, of both its sides."""
    return [i for i, shape in enumerate(BLENDSHAPE_NAMES) if shape.startswith(movement)]


def rank_correlation(asked: np.ndarray, scores: np.ndarray, movement: str) -> float | None:
    """Spearman's, of a movement's two sides averaged; None where fewer than three faces or no differences are."""
    first, second = (values[:, columns(movement)].mean(1) for values in (asked, scores))
    if len(first) < 3 or not np.ptp(first) or not np.ptp(second):
        return None
    return float(spearmanr(first, second).statistic)


def table(result: Mapping[str, Any]) -> str:
    """The result as Markdown."""
    error = result["landmark_error"]
    lines = [
        f"{result['face_model']}: MediaPipe finds {result['found']:.1%} of {result['faces']:,} faces "
        f"of {result['size']} px; {result['cpu_seconds_a_face'] * 1000:.0f} ms of CPU a face"
        + ("" if error is None else f"; landmarks {error:.2%} of the side away from the exact ones"),
        "",
        "| | " + " | ".join(FOLLOWED) + " | found |",
        "|---" * (len(FOLLOWED) + 2) + "|",
    ]
    for row, key in (("Spearman, expressions", "spearman"), ("Spearman, drawn movements", "spearman_drawn")):
        values = [result[key][name] for name in FOLLOWED]
        share = result["found"] if key == "spearman" else result["found_drawn"]
        cells = ["-" if value is None else f"{value:.2f}" for value in values]
        lines.append(f"| {row} | " + " | ".join(cells) + f" | {share:.1%} |")
    for label, means in result["mean_score"].items():
        asked = result["mean_asked"][label]
        cells = ["-" if means[name] is None else f"{means[name]:.2f} (asked {asked[name]:.2f})" for name in FOLLOWED]
        lines.append(f"| {label} | " + " | ".join(cells) + f" | {result['found_by_expression'][label]:.1%} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
