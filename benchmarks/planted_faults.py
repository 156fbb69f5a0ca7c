"""Are bad faces found? Plants faults in real faces, scores them, and counts what the filter rejects.

Some real faces of a dataset are held out and stand in for made ones: each is "made from" a face of the same person with
another expression, where the people are known. They are planted as they are (clean), and with each fault: the wrong
label, another person, a copied training face, blur, colour noise, half a face, and one face fifty times. The remaining
faces are all that judges, embedding and thresholds see. Prints the share of each that the filter rejects, and what the
rule on the label alone, and all others, reject; writes them as JSON:

    python -m benchmarks.planted_faults --data aligned/ --out runs/planted_faults
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import tyro
from tqdm import tqdm

from augment.faces import read_measures
from augment.folders import FaceTable, load_faces, read_faces
from augment.landmarker import FaceLandmarker
from augment.pictures import contact_sheet, encode_png, write_bytes, write_text
from augment.scoring.folder import ScoreSettings
from augment.scoring.likeness import details, same_pictures
from augment.scoring.picture import describe
from augment.scoring.reference import Asked, Reference, pictures_of
from augment.scoring.rules import PER_CLASS, Rule, read_rules
from benchmarks import faults
from benchmarks.machine import machine
from pipelines.judges import JudgeSettings, train_jury

CLEAN, REPEATED = "clean", "the same face fifty times"
FAULTS = (
    *(CLEAN, "wrong label", "another person", "copied training face", "blurred", "colour noise", "half a face"),
    REPEATED,
)
"""What is planted."""

REPEATS = 50


@dataclass(frozen=True)
class Options:
    """What to measure."""

    data: Path
    """Folder of aligned real faces."""
    out: Path
    """Folder for the judges, a sheet of planted faces and the numbers."""
    filter: tuple[str, ...] = ("strict",)
    """The filter, as for `emoaug generate`."""
    faces: int = 200
    """Faces of each fault; clean ones as many as are held out."""
    held_out: float = 0.25
    """Share of the faces that stand in for made ones."""
    worn: str = ""
    """Regular expression; what it finds in the file names of a face and of what it is said to be made from is the same.
    For what no system puts on or takes off, such as `sunglasses|open` in CMU Face Images."""
    most_faces: int = 4000
    """Real faces that are used, at most."""
    seed: int = 0
    """Every draw."""
    scoring: Annotated[ScoreSettings, tyro.conf.arg(name="scoring")] = field(default_factory=ScoreSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)


@dataclass(frozen=True)
class Planted:
    """One face that stands in for a made one."""

    fault: str
    picture: np.ndarray
    label: str
    source: int
    """Row of the face that it is said to be made from, -1 for none."""
    base: int
    """Row of the face that is shown."""


class Planter:
    """Draws faces with faults.

    Args:
        faces: real faces.
        pictures: the same.
        held: which stand in for made ones, (N,) bool.
        sources: from `possible_sources`.
        seed: of the draws.
    """

    def __init__(
        self, faces: FaceTable, pictures: list[np.ndarray], held: np.ndarray, sources: np.ndarray, seed: int
    ) -> None:
        self.pictures, self.held, self.generator = pictures, held, np.random.default_rng(seed)
        self.descriptions = np.stack([describe(picture) for picture in pictures])
        self.labels = faces.table["label"].to_numpy()
        self.subjects = faces.table["subject"].to_numpy()
        self.known = faces.table["subject"].notna().to_numpy()
        self.sources = sources
        self.vocabulary = faces.vocabulary
        self.deck: list[int] = []

    def plant(self, fault: str, count: int) -> list[Planted]:
        """At least `count` faces with a fault; clean ones as many as are held out; repeats in groups of `REPEATS`."""
        if fault == CLEAN:
            return [self._as_made(fault, row) for row in np.flatnonzero(self.held).tolist()]
        if fault == REPEATED:
            some = [self._as_made(fault, self._next()) for _ in range(-(-count // (REPEATS - 1)))]
            return [replace(p, picture=self._again(p.picture)) for p in some for _ in range(REPEATS)]
        return [getattr(self, "_" + fault.replace(" ", "_"))(fault) for _ in range(count)]

    def _next(self) -> int:
        """A held-out face; none twice before all were drawn."""
        if not self.deck:
            self.deck = self.generator.permutation(np.flatnonzero(self.held)).tolist()
        return self.deck.pop()

    def _source(self, row: int, label: str) -> int:
        """What a face of `label` may have been made from: the most similar training face that can be; -1 for none."""
        pool = np.flatnonzero(~self.held & self.sources[row] & (self.labels != label))
        if not len(pool):
            return -1
        return int(pool[np.square(self.descriptions[pool] - self.descriptions[row]).sum(1).argmin()])

    def _as_made(self, fault: str, row: int) -> Planted:
        return Planted(fault, self.pictures[row], self.labels[row], self._source(row, self.labels[row]), row)

    def _again(self, picture: np.ndarray) -> np.ndarray:
        return faults.saved_again(picture, self.generator)

    def _wrong_label(self, fault: str) -> Planted:
        row = self._next()
        others = [label for label in self.vocabulary if label != self.labels[row]]
        return replace(self._as_made(fault, row), label=str(self.generator.choice(others)))

    def _another_person(self, fault: str) -> Planted:
        row = self._next()
        label = self.labels[row]
        # Where nobody is known, any training face with another expression is somebody else's.
        strangers = ~self.held & (self.labels != label) & (~self.known | (self.subjects != self.subjects[row]))
        return replace(self._as_made(fault, row), source=int(self.generator.choice(np.flatnonzero(strangers))))

    def _copied_training_face(self, fault: str) -> Planted:
        row = int(self.generator.choice(np.flatnonzero(~self.held)))
        copy = self._as_made(fault, row)
        return replace(copy, picture=self._again(copy.picture))

    def _blurred(self, fault: str) -> Planted:
        return self._changed(fault, faults.blurred)

    def _colour_noise(self, fault: str) -> Planted:
        return self._changed(fault, faults.colour_noise)

    def _half_a_face(self, fault: str) -> Planted:
        return self._changed(fault, faults.half_a_face)

    def _changed(self, fault: str, change: Any) -> Planted:
        planted = self._as_made(fault, self._next())
        return replace(planted, picture=change(planted.picture, self.generator))


def possible_sources(faces: FaceTable, worn: str = "") -> np.ndarray:
    """Which faces could be each one's source, (N, N) bool: the same person's with another expression, seen alike.

    A translated face looks the way its source does; pairs whose heads are turned apart by more than 10 degrees, where
    that was measured, or in whose file names the regular expression `worn` finds different things, would stand in for
    none.
    """
    labels, subjects = (faces.table[name].to_numpy(dtype=object) for name in ("label", "subject"))
    known = faces.table["subject"].notna().to_numpy()
    pairs = (subjects[:, None] == subjects) & known[:, None] & (labels[:, None] != labels)
    if worn:
        found = np.array(["/".join(re.findall(worn, name)) for name in faces.table["file_name"]])
        pairs &= found[:, None] == found
    measures = read_measures(faces.root, faces.table["file_name"].tolist())
    if measures is not None:
        turn = np.abs(measures.pose[:, None, :2] - measures.pose[None, :, :2]).max(2)
        pairs &= ~(turn > 10)
    return pairs


def hold_out(faces: FaceTable, pictures: list[np.ndarray], sources: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Which faces stand in for made ones, (N,) bool: pictures that have no copy and, of known people, a source."""
    names, times = np.unique(same_pictures(faces, pictures), return_inverse=True, return_counts=True)[1:]
    single = times[names] == 1
    known = faces.table["subject"].notna().to_numpy()
    held = np.zeros(len(faces), bool)
    # How many sources each face still has, so that none loses its last.
    left = sources.sum(1)
    for row in np.random.default_rng(seed).permutation(len(faces)).tolist():
        if held.mean() >= share:
            break
        needed = held & sources[:, row]
        if single[row] and (not known[row] or left[row] > 0) and (left[needed] > 1).all():
            held[row] = True
            left -= sources[:, row]
    return held


def scored(reference: Reference, planted: list[Planted], place: dict[int, int]) -> pd.DataFrame:
    """Scores of planted faces, as of the made faces of one folder.

    Args:
        reference: the faces that were not held out.
        planted: the faces.
        place: of each row of the dataset, its place among the former.
    """
    classes = {name: k for k, name in enumerate(reference.real.vocabulary)}
    source = np.array([place.get(face.source, -1) for face in planted], np.int64)
    asked = Asked(
        wanted=np.array([classes[face.label] for face in planted], np.int64),
        source=source,
        fold=np.where(source >= 0, reference.jury.folds[source], -1),
        strength=np.ones(len(planted)),
        same_person=source >= 0,
        itself=np.full(len(planted), -1, np.int64),
    )
    pictures = [face.picture for face in planted]
    scores = reference.score(np.stack(pictures).transpose(0, 3, 1, 2), asked)
    # One face under different faults is no repeat, unless that is the fault.
    again = [face.fault == REPEATED for face in planted]
    conditions = ["again" if repeat else str(i) for i, repeat in enumerate(again)]
    bases = [f"face {face.base}" for face in planted]
    scores["nearest_sibling"] = reference.nearest_siblings(details(pictures), bases, conditions)[0]
    return scores


def measure(options: Options) -> dict[str, Any]:
    """Plant, score, count."""
    faces = read_faces(options.data)
    faces = faces.select(faces.for_training())
    faces = faces.select(np.sort(np.random.default_rng(options.seed).permutation(len(faces))[: options.most_faces]))
    pixels = load_faces(faces, None)
    pictures = pictures_of(pixels)
    sources = possible_sources(faces, options.worn)
    held = hold_out(faces, pictures, sources, options.held_out, options.seed)
    rest = faces.select(~held)
    jury = train_jury(rest, pixels[~held], options.out / "judges", options.judge)
    landmarker = FaceLandmarker() if options.scoring.landmarks else None
    reference = Reference(rest, pixels[~held], jury, landmarker, options.scoring.real_faces)
    of_real, rules = reference.real_scores(), read_rules(options.filter)
    place = {row: i for i, row in enumerate(np.flatnonzero(~held).tolist())}
    planter = Planter(faces, pictures, held, sources, options.seed)
    rows, sheet = [], []
    for fault in tqdm(FAULTS, desc="faults", unit="fault"):
        planted = planter.plant(fault, options.faces)
        scores = scored(reference, planted, place)
        rejected = {rule: ~rule.kept(scores, [face.label for face in planted], of_real) for rule in rules}
        if fault == REPEATED:
            # The first of fifty is a good face.
            surplus = np.arange(len(planted)) % REPEATS > 0
            rejected = {rule: failed[surplus] for rule, failed in rejected.items()}
        rows.append({"fault": fault, "faces": len(rejected[rules[0]]), **_shares(rejected)})
        sheet.append([face.picture for face in planted[:12]])
    write_bytes(options.out / "faults.png", encode_png(contact_sheet(sheet, FAULTS, [])))
    said = {str(rule): rule.threshold(of_real, faces.vocabulary[0]) for rule in rules if rule.score != PER_CLASS}
    found = {"real_faces": len(rest), "judge_accuracy": jury.accuracy, "thresholds": said, "rows": rows}
    return found


def _shares(rejected: dict[Rule, np.ndarray]) -> dict[str, Any]:
    """Which share of the faces all rules, the rule on the label, the others, and each, reject."""

    def share(rules: list[Rule]) -> float:
        return float(np.any([rejected[rule] for rule in rules], axis=0).mean()) if rules else 0.0

    return {
        "rejected": share(list(rejected)),
        "by_label": share([rule for rule in rejected if rule.score == PER_CLASS]),
        "by_others": share([rule for rule in rejected if rule.score != PER_CLASS]),
        "by_rule": {str(rule): share([rule]) for rule in rejected},
    }


def table(result: dict[str, Any]) -> str:
    """The shares as Markdown."""
    heads = ("fault", "faces", "rejected", "by the label", "by other rules", "most often by")
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for row in result["rows"]:
        rule, often = max(row["by_rule"].items(), key=lambda item: item[1])
        lines.append(
            f"| {row['fault']} | {row['faces']} | {row['rejected']:.1%} | {row['by_label']:.1%} "
            f"| {row['by_others']:.1%} | {rule}: {often:.1%} |"
        )
    return "\n".join(lines)


def main(options: Options) -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    result = measure(options)
    print(f"{result['real_faces']:,} real faces; the judge is right on {result['judge_accuracy']:.1%} of them\n")
    print(table(result))
    path = options.out / "planted_faults.json"
    write_text(path, json.dumps(result | {"data": str(options.data), "machine": machine()}, indent=1) + "\n")
    print(f"\n{path}        look: {options.out}/faults.png")


if __name__ == "__main__":
    main(tyro.cli(Options))
