"""How checkpoints fare on a dataset that they were not trained on, such as the package's own weights on your faces.

Trains a judge on the dataset's real training faces, asks its neutral test faces for every other expression, and prints
for each: the share that the judge sees as asked, what it says of the faces as they were, and the share that MediaPipe
still finds. Several checkpoints are asked the same faces and seen by the same judge. Beside it stands how often the
judge is right on real test faces of that expression: more cannot be asked. Where the dataset names its people, an
embedding that learnt from those of the training faces says how like its source a result is, beside how like each other
two real pictures of one person with different expressions are, and of two people. Writes a sheet and the numbers as
JSON.

    python -m benchmarks.unseen --data fer-aligned/ --out runs/unseen
    python -m benchmarks.unseen --data cmu-aligned/ --out runs/unseen --hold-out 8
    python -m benchmarks.unseen --data fer-aligned/ --out runs/unseen --weights runs/lssl runs/reggan --people aligned/
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

from augment.checkpoints import DEFAULT, load_translator
from augment.folders import FaceTable, load_faces, read_faces
from augment.identity import IdentityEmbedding, Separation, separation, train_embedding
from augment.landmarker import FaceLandmarker
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.samples import load_floats, to_pictures
from augment.training_data import subjects_of
from benchmarks.held_out import hold_out
from benchmarks.machine import machine
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data: Path
    """Folder of aligned faces with the splits train and test, or with subjects."""
    out: Path
    """Folder for the sheet and the numbers."""
    weights: tuple[Path, ...] = (Path(DEFAULT),)
    """Checkpoints of one size; by default the package's own."""
    people: Path | None = None
    """Folder of aligned faces whose people teach the embedding, where the dataset does not name its own."""
    hold_out: int = 0
    """People whose faces are the test faces, all others' being the training faces; 0 takes the dataset's splits."""
    source: str = "neutral"
    """Expression of the faces that are asked to change."""
    faces: int = 300
    """Most faces that are asked."""
    judge_steps: int = 3000
    """The judge's training steps."""
    seed: int = 0
    """Every draw."""


def measure(options: Options) -> dict[str, Any]:
    """All figures, and the sheet."""
    systems = {str(path): load_translator(path) for path in options.weights}
    size, *others = sorted({translator.size for translator in systems.values()})
    if others:
        raise EmoaugError(f"checkpoints are of faces of {size} and {others[0]} pixels; measure these one by one")
    faces = read_faces(options.data)
    if options.hold_out:
        faces = hold_out(faces, options.hold_out, options.seed)
    split = faces.table.split.to_numpy()
    train, test = faces.select(split == "train"), faces.select(split == "test")
    if not len(train) or not len(test):
        raise EmoaugError(
            f"{options.data} has {len(train)} training and {len(test)} test faces; both are needed, or --hold-out"
        )
    names = faces.vocabulary
    settings, learnt = ClassifierSettings(steps=options.judge_steps), load_faces(train, size)
    judge = train_classifier(learnt, train.label_indices(), len(names), settings, options.seed)
    teachers = train if options.people is None else read_faces(options.people)
    shown = learnt if options.people is None else load_faces(teachers, size)
    people = recognise(teachers, shown, test, size, options.seed)
    sources = np.flatnonzero((test.table.label == options.source).to_numpy())
    chosen = np.random.default_rng(options.seed).permutation(sources)[: options.faces]
    pixels = load_floats(test.select(chosen), size)
    before, landmarker = judge(pixels).argmax(1), FaceLandmarker()
    rows, columns, headings = [], [to_pictures(pixels[:12])], [options.source]
    for wanted, target in enumerate(names):
        asked = {name: system for name, system in systems.items() if target in system.condition_names}
        if target == options.source or not asked:
            continue
        real = load_faces(test.select((test.table.label == target).to_numpy()), size)
        right = float((judge.of_pictures(real).argmax(1) == wanted).mean()) if len(real) else None
        for name, system in asked.items():
            condition = system.condition([target])
            with torch.inference_mode():
                parts = [system.translate(part, condition.expand(len(part), -1)) for part in pixels.split(50)]
            result = torch.cat(parts)
            found = [landmarker.detect(picture) is not None for picture in to_pictures(result[:100])]
            rows.append(
                {
                    "target": target,
                    "weights": name,
                    "faces": len(pixels),
                    "hit_rate": float((judge(result).argmax(1) == wanted).float().mean()),
                    "called_so_before": float((before == wanted).float().mean()),
                    "judge_right_on_real": right,
                    "found_by_mediapipe": float(np.mean(found)),
                    "mean_change": float((result - pixels).abs().mean()),
                    "identity": people.likeness(pixels, result),
                }
            )
            columns.append(to_pictures(result[:12]))
            headings.append(target if len(systems) == 1 else f"{target}, {system.name}")
    sheet = contact_sheet([list(row) for row in zip(*columns, strict=True)], [""] * len(columns[0]), headings)
    write_bytes(options.out / "sheet.png", encode_png(sheet))
    return {"rows": rows, "identity_of_real": None if people.real is None else asdict(people.real), "note": people.note}


@dataclass(frozen=True)
class People:
    """Whether faces show the same person."""

    embedding: IdentityEmbedding | None
    """Learnt from the training faces; None where these name too few people."""
    real: Separation | None
    """How it tells the people of the test faces apart; None where they do not name them."""
    note: str
    """The same in words, or why there is nothing."""

    def likeness(self, sources: Tensor, results: Tensor) -> float | None:
        """Mean cosine of faces (N, 3, S, S) in [-1, 1] and what was made of them; None without an embedding."""
        if self.embedding is None:
            return None
        return float((self.embedding(sources) * self.embedding(results)).sum(1).mean())


def recognise(train: FaceTable, learnt: np.ndarray, test: FaceTable, size: int, seed: int) -> People:
    """Learn people from training faces, whose pixels `learnt` are (N, 3, size, size), and try it on test faces."""
    try:
        embedding = train_embedding(learnt, subjects_of(train)[0], seed)
    except EmoaugError as error:
        return People(None, None, f"identity is left out: {error}")
    named = test.select(test.table.subject.notna().to_numpy())
    places = embedding(load_floats(named, size))
    real = separation(places, subjects_of(named)[0], named.label_indices())
    if real is None:
        return People(embedding, None, "identity of real pictures is left out: no test person shows two expressions")
    note = (
        f"identity is a mean cosine: {real.same:.2f} for two real pictures of one person, with different expressions "
        f"({real.pairs} pairs), {real.different:.2f} for two people"
    )
    return People(embedding, real, note)


def main(options: Options) -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    result = measure(options) | {"machine": machine()}
    write_text(options.out / "unseen.json", json.dumps(result, indent=1) + "\n")
    for row in result["rows"]:
        print(
            "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items() if v is not None)
        )
    print(result["note"])
    print(f"look: {options.out / 'sheet.png'}")


if __name__ == "__main__":
    main(tyro.cli(Options))
