"""How well a system changes the expression of people it never saw.

Holds out people, trains the system and a judge (a classifier on real pictures) on the others, asks the held-out faces
for every other expression, and prints for each: the share that the judge sees as asked, and MediaPipe's scores before
and after. Writes a sheet of sources and results, and the numbers as JSON. For several systems side by side, with who is
shown and how real it looks, see `emoaug compare`.

    python -m benchmarks.held_out --data aligned/ --out runs/held_out --hold-out 12 --steps 5000
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro

from augment.checkpoints import load_translator
from augment.folders import FaceTable, load_faces, read_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import load_floats, to_pictures
from augment.systems import Translator, get_system
from augment.training import TrainingSettings
from augment.training_data import subjects_of
from augment.training_run import train
from benchmarks.machine import machine
from classifiers.classifier import Classifier
from classifiers.evaluation import evaluate
from classifiers.training import ClassifierSettings, train_classifier
from pipelines import splits
from pipelines.commands.train import with_options
from pipelines.measures import blendshapes_of

JUDGE_RECIPE = "classical-wide"
"""A judge of changed faces must not go by where exactly a feature lies. On London's real held-out people it is right at
least as often as with the recipe for aligned faces."""


@dataclass(frozen=True)
class HeldOutOptions:
    """What benchmarks on held-out people ask for: whom to hold out, what to train on the others, and how long."""

    data: Path
    """Folder of aligned faces with subjects."""
    out: Path
    """Folder for the run, the sheet and the numbers."""
    hold_out: int = 12
    """People who are not trained on."""
    system: str = "lssl"
    """Which system."""
    steps: int = 5000
    """The system's training steps."""
    batch_size: int = 8
    """The system's batch."""
    set: tuple[str, ...] = ()
    """Options of the system, NAME=VALUE each, as in emoaug train."""
    initial: Path | None = None
    """Checkpoint that the training begins with, `default` for the package's; by default nothing. It must not have seen
    those who are held out."""
    judge_steps: int = 1000
    """The judge's training steps."""
    seed: int = 0
    """Who is held out, and every other draw."""


@dataclass(frozen=True)
class Options(HeldOutOptions):
    """What to measure."""

    scores: tuple[str, ...] = ("mouthSmile",)
    """MediaPipe's scores to follow; left and right are averaged."""


def hold_out(faces: FaceTable, count: int, seed: int) -> FaceTable:
    """The real faces of known people, those of some people in the split `test` and all others in `train`."""
    faces = faces.select((faces.table.subject.notna() & ~faces.table.is_synthetic).to_numpy())
    fold = splits.hold_out(faces, subjects_of(faces)[0].numpy(), count, seed)
    split = np.full(len(faces), "train", dtype=object)
    split[fold.test] = "test"
    return replace(faces, table=faces.table.assign(split=split))


def trained(faces: FaceTable, options: HeldOutOptions) -> Translator:
    """The system that the options name, trained on the faces that are not held out, at these faces' size."""
    size = load_faces(faces.select([0]), None).shape[-1]
    settings = with_options(get_system(options.system).configurations["compact"], (f"size={size}", *options.set))
    training = TrainingSettings(steps=options.steps, batch_size=options.batch_size, seed=options.seed)
    return load_translator(
        train(faces, options.out / "run", options.system, settings, training, initial=options.initial)
    )


def scores_of(landmarker: FaceLandmarker, faces: torch.Tensor, names: tuple[str, ...]) -> np.ndarray:
    """MediaPipe's scores (N, S), NaN where it finds no face."""
    columns = [[i for i, shape in enumerate(landmarker.blendshape_names) if shape.startswith(name)] for name in names]
    every = blendshapes_of(landmarker, faces)
    return np.stack([every[:, column].mean(1) for column in columns], 1)


def measure(faces: FaceTable, translator: Translator, judge: Classifier, options: Options) -> dict[str, Any]:
    """One row for each source expression and each other one asked of it."""
    test = faces.select((faces.table.split == "test").to_numpy())
    pixels = load_floats(test, translator.size)
    labels, names = test.label_indices(), faces.vocabulary
    landmarker = FaceLandmarker()
    real = evaluate(judge(pixels).numpy(), labels, len(names))
    rows, sheet, captions = [], [], []
    for source in range(len(names)):
        faces_in = pixels[labels == source]
        before = scores_of(landmarker, faces_in, options.scores)
        for target in range(len(names)):
            if target == source or not len(faces_in):
                continue
            with torch.inference_mode():
                result = translator.translate(faces_in, translator.condition([names[target]] * len(faces_in)))
            after = scores_of(landmarker, result, options.scores)
            hits = judge(result).argmax(1) == target
            found = np.isfinite(before).all(1) & np.isfinite(after).all(1)
            means = [
                scores[found].mean(0).tolist() if found.any() else [None] * len(names) for scores in (before, after)
            ]
            rows.append(
                {
                    "source": names[source],
                    "target": names[target],
                    "faces": len(faces_in),
                    "judge_hit_rate": round(float(hits.float().mean()), 4),
                    "judge_hit_rate_of_real": round(real.recall[target], 4) if target in labels else None,
                    "found_by_mediapipe": int(found.sum()),
                    "mean_change": round(float((result - faces_in).abs().mean()), 4),
                    **{f"{s}_before": means[0][i] for i, s in enumerate(options.scores)},
                    **{f"{s}_after": means[1][i] for i, s in enumerate(options.scores)},
                }
            )
            sheet += [to_pictures(faces_in[:12]), to_pictures(result[:12])]
            captions += [names[source], f"as {names[target]}"]
    write_bytes(options.out / "held_out.png", encode_png(contact_sheet(sheet, captions, [""] * max(map(len, sheet)))))
    return {"judge_accuracy_on_real": real.accuracy, "rows": rows}


def main(options: Options) -> None:
    """Train, measure, print."""
    faces = hold_out(read_faces(options.data), options.hold_out, options.seed)
    began = time.monotonic()
    translator = trained(faces, options)
    minutes = (time.monotonic() - began) / 60
    rest = faces.select((faces.table.split == "train").to_numpy())
    judge = train_classifier(
        load_faces(rest, translator.size),
        rest.label_indices(),
        len(faces.vocabulary),
        ClassifierSettings(steps=options.judge_steps, recipe=JUDGE_RECIPE),
        seed=options.seed,
    )
    result = measure(faces, translator, judge, options)
    result |= {"training_minutes_now": minutes, "machine": machine()}
    write_text(options.out / "held_out.json", json.dumps(result, indent=1) + "\n")
    print(f"the judge is right on {100 * result['judge_accuracy_on_real']:.1f} % of the real held-out faces")
    print(f"training took {minutes:.1f} minutes (less if it was taken up again)")
    for row in result["rows"]:
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    print(f"look: {options.out / 'held_out.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
