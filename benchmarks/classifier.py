"""How good the classifier is with few labels, for each picture augmentation: is the baseline a strong one?

The folder has FER2013's layout, ``Training/CLASS/*.jpg`` and ``PublicTest/CLASS/*.jpg`` (or any folder that
`augment.folders.read_faces` splits into train and test). For every seed, N pictures a class are drawn from the training
part, one classifier is trained on them for each recipe, and the whole test part is judged:

    python -m benchmarks.classifier --data fer2013 --labels-per-class 25 100 --seeds 0 1 --out classifier.json
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro

from augment.folders import load_faces, read_faces
from augment.pictures import write_text
from augment.samples import load_floats
from benchmarks.machine import machine
from classifiers.augmentation import RECIPES
from classifiers.evaluation import evaluate
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data: Path
    """Folder with Training/ and PublicTest/."""
    out: Path
    """JSON file for the numbers."""
    labels_per_class: tuple[int, ...] = (25, 100)
    """Training faces of each class."""
    seeds: tuple[int, ...] = (0, 1)
    """Of the draws and the trainings."""
    recipes: tuple[str, ...] = tuple(RECIPES)
    """Augmentations."""
    steps: int = ClassifierSettings.steps
    """Updates of each classifier."""
    size: int | None = None
    """Side of the faces, pixels; by default as they are."""
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    """Of the trainings."""
    threads: int = 1
    """Threads of torch."""


def main(options: Options) -> None:
    """Run the trials, print the table, write the JSON."""
    if unknown := set(options.recipes) - set(RECIPES):
        raise EmoaugError(f"recipes are {', '.join(sorted(unknown))}; there are {', '.join(RECIPES)}")
    torch.set_num_threads(options.threads)
    faces = read_faces(options.data)
    split = faces.table["split"].to_numpy()
    train, test = faces.select(split == "train"), faces.select(split == "test")
    if not len(train) or not len(test):
        raise EmoaugError(f"{options.data} has {len(train)} training and {len(test)} test faces; both are needed")
    test_faces = load_floats(test, options.size)
    settings = ClassifierSettings(steps=options.steps, precision=options.precision)
    classes, trials = len(faces.vocabulary), []
    for count in options.labels_per_class:
        for seed in options.seeds:
            chosen = train.select(draw(train.label_indices(), count, seed))
            pictures = load_faces(chosen, options.size)
            for recipe in options.recipes:
                wall, cpu = time.perf_counter(), time.process_time()
                classifier = train_classifier(
                    pictures, chosen.label_indices(), classes, replace(settings, recipe=recipe), seed
                )
                seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
                scores = evaluate(classifier(test_faces).numpy(), test.label_indices(), classes)
                trial = {"labels_per_class": count, "seed": seed, "recipe": recipe, **seconds, **scores.to_dict()}
                trials.append(trial)
                print(
                    f"{count:>5} a class, seed {seed}, {recipe:<15} accuracy {scores.accuracy:6.1%}  "
                    f"macro F1 {scores.macro_f1:6.1%}  {seconds['cpu_s']:5.0f} s of CPU",
                    flush=True,
                )
    summary = summarise(trials)
    print("\n" + table(summary))
    result = {"summary": summary, "trials": trials, "settings": asdict(settings), "machine": machine()}
    write_text(options.out, json.dumps(result | {"classes": list(faces.vocabulary)}, indent=2) + "\n")
    print(f"\nnumbers: {options.out}")


def draw(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Indices of ``count`` faces of every class, without repetition."""
    generator = np.random.default_rng(seed)
    return np.concatenate([generator.permutation(np.flatnonzero(labels == k))[:count] for k in np.unique(labels)])


def summarise(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over the seeds for every number of labels and recipe."""
    rows = []
    for count, recipe in dict.fromkeys((trial["labels_per_class"], trial["recipe"]) for trial in trials):
        group = [trial for trial in trials if (trial["labels_per_class"], trial["recipe"]) == (count, recipe)]
        means = {
            name: float(np.mean([trial[name] for trial in group]))
            for name in ("accuracy", "macro_f1", "calibration_error", "wall_s", "cpu_s")
        }
        rows.append({"labels_per_class": count, "recipe": recipe, "seeds": len(group), **means})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The summary as Markdown."""
    lines = [
        "| labels a class | recipe | seeds | accuracy | macro F1 | calibration error | CPU seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| {row['labels_per_class']} | {row['recipe']} | {row['seeds']} | {row['accuracy']:.1%} "
            f"| {row['macro_f1']:.1%} | {row['calibration_error']:.3f} | {row['cpu_s']:.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
