"""How real refined faces look, and what refining costs their content.

Takes a simulated folder, its refined one (`emoaug refine`), and real faces that the refiner may have seen. Prints: the
area under the ROC curve of fresh real-or-simulated classifiers, trained on half of the people and tested on the others,
on raw and on refined faces; the kernel distance to the real faces, in the features of a classifier of real expressions,
both over the expressions that the real faces show, too;
the cosine of MediaPipe's scores before and after; the accuracy of a classifier of raw faces on other people's faces,
raw and refined. Writes a sheet, raw above refined, and the numbers as JSON.

    python -m benchmarks.refinement --simulated sims/ --refined refined/ --real aligned/ --out runs/refinement
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from sklearn.metrics import roc_auc_score

from augment.folders import FaceTable, load_faces, read_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.quality import kernel_distance
from benchmarks.machine import machine
from classifiers.classifier import Classifier
from classifiers.training import ClassifierSettings, train_classifier


@dataclass(frozen=True)
class Options:
    """What to measure."""

    simulated: Path
    """Raw simulated faces."""
    refined: Path
    """The same faces, refined."""
    real: Path
    """Aligned real faces."""
    out: Path
    """Folder for the sheet and the numbers."""
    steps: int = 600
    """Training steps of each classifier."""
    faces: int = 1000
    """Most faces of either side that are looked at."""
    seed: int = 0
    """Every draw."""


def halves(faces: FaceTable, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the faces, (N,) bool each, that no person is in both of; a face of unknown person is its own."""
    people = [s if isinstance(s, str) else f"row {i}" for i, s in enumerate(faces.table.subject)]
    names = sorted(set(people))
    first = set(np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    inside = np.array([p in first for p in people])
    return inside, ~inside


def some(faces: FaceTable, count: int, seed: int) -> FaceTable:
    """At most `count` faces, drawn evenly."""
    return faces.select(np.sort(np.random.default_rng(seed).permutation(len(faces))[:count]))


def real_or_not(fake: FaceTable, real: FaceTable, size: int, options: Options) -> float:
    """Mean area under the ROC curve of two fresh classifiers, each tested on the people that it has not seen."""
    pixels = [load_faces(faces, size) for faces in (fake, real)]
    parts = [halves(faces, options.seed) for faces in (fake, real)]
    areas = []
    for train, test in ((0, 1), (1, 0)):
        shown = np.concatenate([p[h[train]] for p, h in zip(pixels, parts, strict=True)])
        labels = np.concatenate([np.full(h[train].sum(), side) for side, h in enumerate(parts)])
        judge = fit(shown, labels, 2, options)
        asked = np.concatenate([p[h[test]] for p, h in zip(pixels, parts, strict=True)])
        truth = np.concatenate([np.full(h[test].sum(), side) for side, h in enumerate(parts)])
        areas.append(roc_auc_score(truth, judge(floats(asked))[:, 1].numpy()))
    return float(np.mean(areas))


def fit(pixels: np.ndarray, labels: np.ndarray, classes: int, options: Options) -> Classifier:
    """A fresh classifier; flips and shifts only, because stronger augmentation would hide what it should find."""
    settings = ClassifierSettings(steps=options.steps, recipe="flip")
    return train_classifier(pixels, labels, classes, settings, seed=options.seed)


def floats(pixels: np.ndarray) -> torch.Tensor:
    """Faces (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pixels).float() / 127.5 - 1


def blendshape_cosines(raw: np.ndarray, refined: np.ndarray) -> tuple[np.ndarray, float]:
    """Cosines of MediaPipe's scores where a face is found in both, and the share where it is."""
    landmarker, cosines = FaceLandmarker(), []
    for before, after in zip(raw, refined, strict=True):
        found = [landmarker.detect(np.ascontiguousarray(p.transpose(1, 2, 0))) for p in (before, after)]
        if found[0] is not None and found[1] is not None:
            a, b = found[0].blendshapes, found[1].blendshapes
            cosines.append(float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b))))
    return np.array(cosines), len(cosines) / len(raw)


def measure(options: Options) -> dict[str, Any]:
    """All figures."""
    real = read_faces(options.real)
    real = some(real.select(real.for_training()), options.faces, options.seed)
    refined = read_faces(options.refined)
    raw = read_faces(options.simulated, vocabulary=refined.vocabulary)
    refined = some(refined, options.faces, options.seed)
    places = {name: i for i, name in enumerate(raw.table.file_name)}
    raw = raw.select([places[name] for name in refined.table.source_file])
    size = load_faces(refined.select([0]), None).shape[-1]
    pixels = {"raw": load_faces(raw, size), "refined": load_faces(refined, size), "real": load_faces(real, size)}
    result: dict[str, Any] = {"faces": len(refined), "real_faces": len(real)}
    # An expression that no real face shows would give the others away; with none in common all faces count.
    shared = refined.table.label.isin(set(real.table.label)).to_numpy()
    shared = shared | (not shared.any())
    for name, faces in (("raw", raw), ("refined", refined)):
        result[f"auc_{name}"] = real_or_not(faces.select(shared), real, size, options)
    # Features that had no part: of a classifier of the real faces' expressions.
    judge = fit(pixels["real"], real.label_indices(), len(real.vocabulary), options)
    features = {name: judge.features(floats(faces)) for name, faces in pixels.items()}
    features |= {name: features[name][shared] for name in ("raw", "refined")}
    for name in ("raw", "refined"):
        result[f"kernel_distance_{name}"] = kernel_distance(features[name], features["real"])
    first = halves(real, options.seed)[0]
    result["kernel_distance_real_halves"] = kernel_distance(features["real"][first], features["real"][~first])
    few = min(200, len(raw))
    cosines, found = blendshape_cosines(pixels["raw"][:few], pixels["refined"][:few])
    result |= {"blendshape_cosine": float(cosines.mean()) if len(cosines) else None, "found_in_both": found}
    train, test = halves(raw, options.seed)
    expression = fit(pixels["raw"][train], raw.label_indices()[train], len(raw.vocabulary), options)
    for name in ("raw", "refined"):
        right = expression(floats(pixels[name][test])).argmax(1).numpy() == raw.label_indices()[test]
        result[f"expression_accuracy_{name}"] = float(right.mean())
    shown = np.random.default_rng(options.seed).permutation(len(raw))[:24]
    rows = [
        [p.transpose(1, 2, 0) for p in pixels[name][part]] for part in np.split(shown, 2) for name in ("raw", "refined")
    ]
    write_bytes(options.out / "sheet.png", encode_png(contact_sheet(rows, ["raw", "refined"] * 2, [""] * len(rows[0]))))
    return result


def main(options: Options) -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    result = measure(options)
    settings = {k: str(v) for k, v in vars(replace(options)).items()}
    write_text(options.out / "refinement.json", json.dumps(result | {"options": settings, "machine": machine()}) + "\n")
    for name, value in result.items():
        print(f"{name:<32} {value:.3f}" if isinstance(value, float) else f"{name:<32} {value}")
    print(f"look: {options.out / 'sheet.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
