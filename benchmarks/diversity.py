"""Are new faces from noise as varied as real ones, what was asked for, and not copies of training faces?

Holds out people, trains a system that makes faces from noise on the others, and draws faces of every expression. A
judge trained on the others' real faces says whether each shows what was asked; the mean distance of two faces of one
expression in its features says how varied they are, beside the same of real training faces. A copied face is nearer to
some training face than new people's real faces are: beside the distance from each sample to the nearest training face
stands that from each held-out face, in fine detail, where 1 is as far as a picture gets from itself when saved again.
Of a system that copies nothing, one sample in as many as there are held-out faces, and one more, is nearer than all of
these by chance; and in half of all pairs of a sample and a held-out face the sample is the nearer one. But faces that
are soft or plain are nearer to everybody. So samples are also asked whether some training faces, or as many held-out
ones, have the one that is nearest to them: where nothing is copied these win as often as those. Writes a sheet and the
numbers as JSON.

    python -m benchmarks.diversity --data aligned/ --out runs/diversity --hold-out 12 --steps 3000
    python -m benchmarks.diversity --data aligned/ --out runs/diversity --weights runs/compare/systems/cvae-gan
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from scipy.stats import mannwhitneyu
from torch import Tensor

from augment.checkpoints import load_translator, read_config, trained_people
from augment.folders import FaceTable, load_faces, read_faces
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import load_floats, to_pictures
from augment.scoring.likeness import copy_distance, details, nearest
from augment.systems import Translator, get_system
from benchmarks.held_out import JUDGE_RECIPE, HeldOutOptions, hold_out, trained
from benchmarks.machine import machine
from classifiers.classifier import Classifier
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError


@dataclass(frozen=True)
class Options(HeldOutOptions):
    """What to measure."""

    system: str = "cvae-gan"
    """Which system; one that makes faces from noise."""
    steps: int = 3000
    """The system's training steps."""
    weights: Path | None = None
    """A trained system; held out are the people whom it did not see. By default one is trained here."""
    samples: int = 200
    """Faces of each expression."""


def drawn(translator: Translator, name: str, count: int, seed: int) -> Tensor:
    """New faces of an expression, (count, 3, S, S) in [-1, 1]."""
    condition, generator = translator.condition([name]), torch.Generator().manual_seed(seed)
    with torch.inference_mode():
        parts = [
            translator.sample(condition.expand(len(part), -1), generator) for part in torch.arange(count).split(50)
        ]
    return torch.cat(parts)


def spread(features: Tensor) -> float:
    """Mean distance of two of N features (N, F)."""
    return float(torch.pdist(features).mean()) if len(features) > 1 else float("nan")


def copies(made: list[np.ndarray], training: list[np.ndarray]) -> np.ndarray:
    """Distance of pictures to the most similar training picture, (N,), in units of a copy's."""
    return _to_nearest(made, training) / copy_distance(training)


def nearer_to_training(made: list[np.ndarray], training: list[np.ndarray], held_out: list[np.ndarray]) -> float:
    """Share of pictures whose nearest of some training faces is nearer than their nearest of as many held-out ones.

    Averaged over all that many training faces which stand one after the other, so that a person's stay together.
    """
    many, to_held_out = len(held_out), _to_nearest(made, held_out)
    groups = [training[i : i + many] for i in range(0, len(training) - many + 1, many)]
    return float(np.mean([_to_nearest(made, group) < to_held_out for group in groups])) if groups else float("nan")


def _to_nearest(made: list[np.ndarray], others: list[np.ndarray]) -> np.ndarray:
    return nearest(details(made), details(others), lambda rows: np.zeros((len(rows), len(others)), bool))[0]


def nearer(distances: np.ndarray, others: np.ndarray) -> float:
    """Share of pairs, of some distances (N,) and of others (M,), of which the first is smaller; ties are half."""
    return float(mannwhitneyu(others, distances).statistic / (len(distances) * len(others)))


def measure(faces: FaceTable, translator: Translator, judge: Classifier, options: Options) -> dict[str, Any]:
    """All figures, and the sheet."""
    split, size = faces.table.split.to_numpy(), translator.size
    rest, test = faces.select(split == "train"), faces.select(split == "test")
    pixels = load_floats(rest, size)
    labels, training = torch.from_numpy(rest.label_indices()), to_pictures(pixels)
    held_out = to_pictures(load_floats(test, size))
    strangers = copies(held_out, training)
    rows, sheet = [], []
    for number, name in enumerate(faces.vocabulary):
        made = drawn(translator, name, options.samples, options.seed)
        pictures = to_pictures(made)
        real, far = spread(judge.features(pixels[labels == number])), copies(pictures, training)
        varied = spread(judge.features(made))
        rows.append(
            {
                "expression": name,
                "samples": len(made),
                "judge_hit_rate": float((judge(made).argmax(1) == number).float().mean()),
                "spread": varied,
                "spread_of_real": real,
                "spread_ratio": varied / real,
                "nearest_training_face": float(far.min()),
                "nearest_training_face_of_held_out": float(strangers.min()),
                "median_to_training": float(np.median(far)),
                "median_to_training_of_held_out": float(np.median(strangers)),
                "nearer_than_any_held_out": float((far < strangers.min()).mean()),
                "nearer_than_any_held_out_by_chance": 1 / (len(strangers) + 1),
                "nearer_than_a_held_out": nearer(far, strangers),
                "nearer_to_training": nearer_to_training(pictures, training, held_out),
            }
        )
        sheet.append(pictures[:14])
    write_bytes(options.out / "diversity.png", encode_png(contact_sheet(sheet, list(faces.vocabulary), [])))
    return {"rows": rows}


def parted(faces: FaceTable, seen: set[str]) -> FaceTable:
    """The real faces of known people, those of people who were seen in the split `train` and all others in `test`."""
    faces = faces.select((faces.table.subject.notna() & ~faces.table.is_synthetic).to_numpy())
    known = faces.table.subject.isin(seen)
    if known.all() or not known.any():
        how_many = "all" if known.any() else "none"
        raise EmoaugError(f"{faces.root}: the system saw {how_many} of its people; some must be new, and some not")
    return replace(faces, table=faces.table.assign(split=known.map({True: "train", False: "test"})))


def main(options: Options) -> None:
    """Train, measure, print."""
    system = options.system if options.weights is None else read_config(options.weights)["system"]
    abilities = get_system(system).info.abilities
    if "sample" not in abilities:
        raise EmoaugError(f"{system} makes no faces from noise; it can {', '.join(abilities)}")
    if options.weights is None:
        faces = hold_out(read_faces(options.data), options.hold_out, options.seed)
        translator = trained(faces, options)
    else:
        faces = parted(read_faces(options.data), trained_people(read_config(options.weights)))
        translator = load_translator(options.weights)
    rest = faces.select((faces.table.split == "train").to_numpy())
    settings = ClassifierSettings(steps=options.judge_steps, recipe=JUDGE_RECIPE)
    known = load_faces(rest, translator.size)
    judge = train_classifier(known, rest.label_indices(), len(faces.vocabulary), settings, options.seed)
    result = measure(faces, translator, judge, options) | {"machine": machine()}
    write_text(options.out / "diversity.json", json.dumps(result, indent=1) + "\n")
    for row in result["rows"]:
        print("  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    print(f"look: {options.out / 'diversity.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
