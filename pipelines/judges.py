"""Judges of synthetic faces: classifiers of real faces, none of which has seen the people that it judges."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from augment.devices import Device, choose_device, seed_from
from augment.duplicates import duplicate_groups, fingerprints
from augment.folders import FaceTable, drop_unreadable, load_faces
from augment.networks import scaled
from augment.pictures import fit
from augment.runs import check_same_run, explained_errors, locked, read_run, write_run
from augment.scoring.filtering import filter_folder
from augment.scoring.folder import FolderScores, ScoreSettings, score_folder
from augment.scoring.reference import Jury, pictures_of
from augment.scoring.rows import MadeFaces
from augment.scoring.rules import Rule
from augment.scoring.summary import summary, write_sheet
from classifiers.classifier import Classifier
from classifiers.evaluation import balanced_accuracy
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError, __version__
from pipelines.recipes import suited_settings
from pipelines.splits import groups_of, make_folds

KIND = "judges"


@dataclass(frozen=True)
class JudgeSettings:
    """How the judges are trained."""

    folds: int = 3
    """Judges; each is trained on the people of all folds but one, and judges that one."""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    """Network and schedule of each judge; recipe classical moves faces that are not aligned further."""
    size: int = 64
    """Side at which judges see larger faces, pixels: expressions can be read at 64, and learning to read them at twice
    the side takes four times as long."""
    device: Device = "auto"
    """Where they are trained and asked."""
    seed: int = 0
    """Of the folds and of the training."""

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise EmoaugError(f"folds is {self.folds}; two or more are needed, so that a judge knows nobody it judges")
        if self.size < 16:
            raise EmoaugError(f"size is {self.size}; judges see faces of 16 pixels or more")


@dataclass(frozen=True)
class ReducingJudge:
    """A classifier that sees faces (N, 3, S, S) of any size at its own."""

    classifier: Classifier
    side: int
    """Of the faces that it learned from, pixels."""

    def __call__(self, faces: Tensor) -> Tensor:
        """Probabilities (N, K)."""
        return self.classifier(scaled(faces, self.side))


def train_jury(real: FaceTable, pixels: np.ndarray, out: Path, settings: JudgeSettings) -> Jury:
    """Train the judges, or load those that are in the folder; a stopped call goes on.

    No person, and no picture that is nearly the same, is in two folds.

    Args:
        real: real faces for training, of two classes or more.
        pixels: the same, uint8 RGB, (M, 3, S, S).
        out: folder of the judges; new, empty, or of the same faces and settings.
        settings: how to train.

    Raises:
        EmoaugError: too few people or classes, or another run's folder.
    """
    if len(set(real.table.label)) < 2:
        raise EmoaugError(f"{real.root}: a judge needs real faces of two expressions or more")
    settings = replace(settings, classifier=suited_settings(settings.classifier, real))
    labels, classes = real.label_indices(), len(real.vocabulary)
    groups = groups_of(real, duplicate_groups(fingerprints(pictures_of(pixels))))
    folds = np.full(len(real), -1, np.int64)
    for fold in make_folds(real, groups, settings.folds, settings.seed):
        folds[fold.test] = fold.number
    digest = hashlib.sha256(pixels.tobytes() + labels.tobytes() + folds.tobytes()).hexdigest()
    side = min(settings.size, pixels.shape[-1])
    chosen = asdict(settings) | {"size": side}
    del chosen["device"]
    if side < pixels.shape[-1]:
        pixels = np.stack([fit(picture, side).transpose(2, 0, 1) for picture in pictures_of(pixels)])
    identity = {"faces": digest, "settings": chosen, "vocabulary": list(real.vocabulary)}
    before = read_run(out, KIND)
    if before is not None:
        mend = "Remove it, or give emoaug score another folder for judges (--judges)"
        check_same_run(out, before, identity, mend)
    device = choose_device(settings.device)
    judges = []
    probabilities = np.zeros((len(real), classes), np.float32)
    with locked(out), explained_errors(out):
        if before is None:
            write_run(
                out, KIND, {"identity": identity, "versions": {"emoaug": __version__, "torch": torch.__version__}}
            )
        for number in range(settings.folds):
            folder = out / f"fold{number}"
            if (folder / "config.json").exists():
                judge = Classifier.load(folder, device)
            else:
                print(f"judge {number + 1} of {settings.folds}: trained on {int((folds != number).sum()):,} real faces")
                seen = folds != number
                seed = seed_from("judge", number, settings.seed) % 2**32
                judge = train_classifier(pixels[seen], labels[seen], classes, settings.classifier, seed, device=device)
                judge.save(folder)
            judges.append(ReducingJudge(judge, side))
            own = np.flatnonzero(folds == number)
            probabilities[own] = judge.of_pictures(pixels[own])
    return Jury(tuple(judges), folds, balanced_accuracy(probabilities, labels), json.dumps(identity))


def judge_folder(
    folder: Path, real: FaceTable, judges: Path | None, settings: JudgeSettings, scoring: ScoreSettings
) -> FolderScores:
    """Score the made faces of a folder by judges that are trained first, if they are not there yet.

    Args:
        folder: from `emoaug generate`.
        real: the dataset that it was made from; its val and test splits, and faces without a label, are left out.
        judges: their folder; by default FOLDER-judges.
        settings: how they are trained.
        scoring: what else is measured.
    """
    size = MadeFaces(folder).size()
    known = drop_unreadable(real.select(real.for_training() & real.table["label"].notna().to_numpy(dtype=bool)))
    if not len(known):
        raise EmoaugError(f"{real.root}: no labelled face to compare with, outside the splits val and test")
    jury = train_jury(known, load_faces(known, size), judges or beside(folder), settings)
    return score_folder(folder, known, jury, scoring)


def beside(folder: Path) -> Path:
    """Where the judges of a folder's faces lie by default."""
    return folder.with_name(folder.name + "-judges")


def score_and_filter(
    folder: Path,
    real: FaceTable,
    judges: Path | None,
    settings: JudgeSettings,
    scoring: ScoreSettings,
    rules: tuple[Rule, ...],
) -> str:
    """Score as `judge_folder` does, reject what fails a rule, write the sheet; what there is to say about it."""
    found = judge_folder(folder, real, judges, settings, scoring)
    said = [summary(found)]
    if rules:
        said.append(str(filter_folder(found, rules)))
    write_sheet(found)
    return "\n".join(said)
