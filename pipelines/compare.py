"""Train several systems on the same people, and measure them on people whom none of them has seen."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tqdm import tqdm

from augment.checkpoints import load_translator, read_config, trained_people
from augment.devices import choose_device, make_fabric
from augment.duplicates import duplicate_groups, fingerprints
from augment.folders import FaceTable, drop_unreadable, load_faces
from augment.identity import IdentityEmbedding, train_embedding
from augment.initial import check_initial
from augment.pictures import write_text
from augment.runs import check_same_run, locked, read_run, remove_temporary_files, write_run
from augment.samples import load_floats
from augment.systems import SYSTEMS, get_system
from augment.training import TrainingSettings
from augment.training_data import data_hash, subjects_of
from augment.training_run import train
from classifiers.classifier import Classifier
from classifiers.training import ClassifierSettings, train_classifier
from emoaug import EmoaugError, __version__, check_least, few, words
from pipelines.beginning import NOTHING, tell_size
from pipelines.beside import faces_beside
from pipelines.measures import HeldOutFaces, Witnesses, changed_by, directions_of, measure_change, measure_real
from pipelines.recipes import suited_settings
from pipelines.splits import Fold, groups_of, hold_out, published_split, same_expressions, unknown_people
from pipelines.systems import pictures_per_second

KIND = "system comparison"
UNCHANGED = "unchanged"
"""Name of the figures of faces that nothing was done to."""


@dataclass(frozen=True)
class CompareSettings:
    """What is compared, and how."""

    systems: tuple[str, ...] = tuple(SYSTEMS)
    """Which systems, with commas or spaces."""
    hold_out: float | Literal["split"] = 0.25
    """People who are not trained on: how many, or which share of them; `split` takes the dataset's own train and test
    splits."""
    faces: int = 400
    """Most held-out faces that are looked at."""
    configuration: Literal["compact", "paper"] = "compact"
    """`compact` for small data and CPUs, `paper` for the published networks."""
    size: int | None = None
    """Side of the faces, pixels; by default the dataset's own, at which `paper` is looked at too, while its networks
    have the published one."""
    seed: int = 0
    """Who is held out, every training, who is on the sheets."""
    initial: Path | None = None
    """Checkpoint that the system of its kind begins with, such as default (lssl); by default, or with none, systems
    learn from the training faces alone. Names of people who test are refused; what else it was trained on is for you to
    know."""
    rendered_beside: int = 0
    """Rendered faces of each class, like the training faces, that systems learn from beside these (`train --also`)."""
    training: TrainingSettings = field(default_factory=TrainingSettings)
    """How each system is trained; its seed is the comparison's."""
    judge: ClassifierSettings = field(default_factory=ClassifierSettings)
    """How the classifier is trained that says whether a face shows what was asked; recipe classical moves faces that
    are not aligned further."""

    def __post_init__(self) -> None:
        if str(self.initial) == NOTHING:
            object.__setattr__(self, "initial", None)
        object.__setattr__(self, "systems", tuple(words(self.systems)))
        if not self.systems or len(set(self.systems)) != len(self.systems):
            raise EmoaugError(f"systems are {', '.join(self.systems)}; name each once")
        for name in self.systems:
            get_system(name)
        if self.hold_out != "split" and not self.hold_out > 0:
            raise EmoaugError(f"hold_out is {self.hold_out}; it is a number of people, a share of them, or split")
        check_least(self, 1, "faces")
        check_least(self, 0, "rendered_beside")


@dataclass(frozen=True)
class Sides:
    """Who is trained on, and who tests."""

    train: FaceTable
    """Real faces, all in the split `train`."""
    test: FaceTable
    groups: np.ndarray
    """Faces of the test side that belong together have one number, (N,)."""

    def unknown(self) -> list[str]:
        """What to say of people whom nobody knows, and who may stand on both sides."""
        return unknown_people(self.test) if self.test.root == self.train.root else []


@dataclass(frozen=True)
class Comparison:
    """What came of it."""

    sides: Sides
    held: HeldOutFaces
    figures: dict[str, dict[str, Any]]
    """Those of each system that was trained, in order."""
    real: dict[str, Any]
    """The same figures of real faces; see `measure_real`."""
    unchanged: dict[str, Any]
    """The same figures where nothing is done to the faces."""
    left_out: dict[str, str]
    """Systems that could not be trained, and why."""
    identity_note: str
    """How identity was measured, or why it was not."""


def run_comparison(data: FaceTable, out: Path, settings: CompareSettings, other: FaceTable | None = None) -> Comparison:
    """Train what is not trained yet, measure what is not measured yet.

    Args:
        data: an aligned dataset.
        out: folder for the runs and the figures; new, empty, or of the same comparison, perhaps of other systems.
        settings: what to compare.
        other: another aligned dataset; all its faces test that show what `data` shows, and all people of `data` are
            trained on.

    Raises:
        EmoaugError: data, settings or folder do not fit, or no system could be trained.
    """
    data = drop_unreadable(data)
    if other is not None:
        other, notes = same_expressions(drop_unreadable(other), data)
        for note in notes:
            tqdm.write(note, file=sys.stderr)
    sides = split_sides(data, settings, other)
    if len(present := sorted(set(sides.train.table.label))) < 2:
        raise EmoaugError(
            f"{data.root}: the faces to train on show {', '.join(present)} alone; two expressions are needed"
        )
    size = settings.size or load_faces(sides.train.select([0]), None).shape[-1]
    if settings.configuration == "compact":
        tell_size(size, settings.size)
    # Those that were measured here earlier keep their place beside the ones that are asked for now.
    earlier = [n for n in SYSTEMS if _figures(out, n).exists() and (out / "systems" / n).is_dir()]
    settings = replace(settings, systems=tuple(dict.fromkeys((*settings.systems, *earlier))))
    _check_initial(settings, sides, size)
    settings = replace(settings, judge=suited_settings(settings.judge, sides.train))
    identity = {
        "settings": _identity(settings),
        "vocabulary": list(sides.train.vocabulary),
        "training_faces": data_hash(sides.train),
        "test_faces": data_hash(sides.test),
    }
    before = read_run(out, KIND)
    if before is not None:
        check_same_run(out, before, identity)
    with locked(out):
        remove_temporary_files(out)
        versions = {"emoaug": __version__, "torch": torch.__version__}
        write_run(out, KIND, {"identity": identity, "versions": versions})
        # Before the hours, and with the figures again.
        for line in sides.unknown():
            print(line, file=sys.stderr)
        checkpoints, left_out = _trainings(sides.train, out, settings, size)
        held, note = _held_out(sides, out, settings, size)
        figures = {}
        for name, checkpoint in checkpoints.items():
            path, weights = _figures(out, name), read_config(checkpoint)["weights_sha256"]
            kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            # A system that was trained anew, its folder having been removed, is another one.
            if kept.get("weights_sha256") != weights:
                kept = {"weights_sha256": weights, "figures": _measured(name, checkpoint, held, settings)}
                write_text(path, json.dumps(kept, indent=1) + "\n")
            figures[name] = kept["figures"]
        path = out / "figures" / "references.json"
        if not path.exists():
            still = measure_change(lambda faces, _: faces, held, UNCHANGED)
            write_text(path, json.dumps({"real": measure_real(held), UNCHANGED: still}, indent=1) + "\n")
        references = json.loads(path.read_text(encoding="utf-8"))
    return Comparison(sides, held, figures, references["real"], references[UNCHANGED], left_out, note)


def _figures(out: Path, name: str) -> Path:
    """File of one system's figures."""
    return out / "figures" / f"{name}.json"


def _identity(settings: CompareSettings) -> dict[str, Any]:
    """The settings that decide the figures of one system."""
    values = json.loads(json.dumps(asdict(settings), default=str))
    del values["systems"]
    if settings.initial:
        values["initial"] = read_config(settings.initial)["weights_sha256"]
    for name in ("sample_every", "save_every", "device", "seed"):
        del values["training"][name]
    return values


def split_sides(data: FaceTable, settings: CompareSettings, other: FaceTable | None) -> Sides:
    """Decide who is trained on and who tests: no person and no picture, or one like it, is on both sides."""

    def alike(*tables: FaceTable) -> np.ndarray:
        return duplicate_groups(fingerprints(t.picture(i) for t in tables for i in range(len(t))))

    if other is None:
        groups = groups_of(data, alike(data))
        fold = _fold(data, groups, settings)
    else:
        # People of two datasets may bear the same numbers: here pictures alone decide who is who.
        everywhere = alike(data, other)
        given = np.flatnonzero(data.originals())
        new = np.flatnonzero(other.originals() & ~np.isin(everywhere[len(data) :], everywhere[given]))
        if not len(new):
            raise EmoaugError(f"{other.root}: every face of it is like one of {data.root}; test on another dataset")
        groups = groups_of(other, everywhere[len(data) :])
        fold = Fold(0, given, new)
    test = data if other is None else other
    chosen = np.sort(np.random.default_rng(settings.seed).permutation(fold.test)[: settings.faces])
    train_side = data.select(fold.train)
    train_side = replace(train_side, table=train_side.table.assign(split="train"))
    return Sides(train_side, test.select(chosen), groups[chosen])


def _fold(data: FaceTable, groups: np.ndarray, settings: CompareSettings) -> Fold:
    if settings.hold_out == "split":
        return published_split(data, groups, "test")
    return hold_out(data, groups, settings.hold_out, settings.seed)


def _check_initial(settings: CompareSettings, sides: Sides, size: int) -> None:
    """Raise EmoaugError if the weights to begin with have seen people who test, or are of no compared system."""
    if settings.initial is None:
        return
    config = read_config(settings.initial)
    if seen := trained_people(config) & set(sides.test.table.subject.dropna()):
        raise EmoaugError(
            f"{settings.initial}: these weights were trained on people of the names {few(seen)}, who test; take others"
        )
    if (system := config["system"]) not in settings.systems:
        raise EmoaugError(f"{settings.initial} holds weights of {system}, not of {', '.join(settings.systems)}")
    check_initial(settings.initial, _system_settings(system, settings, size), sides.train.vocabulary)


def _system_settings(name: str, settings: CompareSettings, size: int) -> Any:
    own = get_system(name).configurations[settings.configuration]
    return own if settings.size is None and settings.configuration == "paper" else replace(own, size=size)


def _held_out(sides: Sides, out: Path, settings: CompareSettings, size: int) -> tuple[HeldOutFaces, str]:
    """The held-out faces with those who look at them, trained or read; and how identity is measured."""
    pixels, names = load_faces(sides.train, size), sides.train.vocabulary
    if not (out / "judge" / "config.json").exists():
        device = choose_device(settings.training.device)
        labels = sides.train.label_indices()
        train_classifier(pixels, labels, len(names), settings.judge, seed=settings.seed, device=device).save(
            out / "judge"
        )
    judge = Classifier.load(out / "judge", choose_device(settings.training.device))
    people, known = subjects_of(sides.train)
    path = out / "identity.safetensors"
    embedding, note = None, f"Fisherfaces of {len(known)} training people"
    try:
        if not path.exists():
            train_embedding(pixels, people, settings.seed).save(path)
        embedding = IdentityEmbedding.load(path)
    except EmoaugError as error:
        note = f"not measured: {error}"
    shown = set(sides.train.table.label)
    witnesses = Witnesses(
        names, tuple(name for name in names if name in shown), judge, embedding, directions_of(sides.train)
    )
    faces = load_floats(sides.test, size)
    labels = sides.test.table.label.to_numpy()
    who = subjects_of(sides.test)[0].numpy()
    return HeldOutFaces(faces, labels, who, sides.groups, witnesses, settings.seed), note


def _trainings(
    train_side: FaceTable, out: Path, settings: CompareSettings, size: int
) -> tuple[dict[str, Path], dict[str, str]]:
    """Checkpoints by system, trained or found trained; and why others have none."""
    checkpoints: dict[str, Path] = {}
    left_out: dict[str, str] = {}
    begins = None if settings.initial is None else read_config(settings.initial)["system"]
    beside = None
    if settings.rendered_beside:
        beside = faces_beside(out / "rendered", train_side, settings.rendered_beside, size, settings.seed)
    for name in settings.systems:
        try:
            own = _system_settings(name, settings, size)
            training = replace(settings.training, seed=settings.seed)
            initial = settings.initial if name == begins else None
            checkpoints[name] = train(
                *(train_side, out / "systems" / name, name, own, training), initial=initial, also=beside
            )
        except EmoaugError as error:
            left_out[name] = str(error)
            print(f"{name} is left out: {error}", file=sys.stderr)
    if not checkpoints:
        raise EmoaugError("no system can be trained here. " + "; ".join(f"{n}: {why}" for n, why in left_out.items()))
    return checkpoints, left_out


def _measured(name: str, checkpoint: Path, held: HeldOutFaces, settings: CompareSettings) -> dict[str, Any]:
    fabric = make_fabric(settings.training.device, settings.training.precision)
    translator = load_translator(checkpoint, fabric.device.type)
    extra = read_config(checkpoint)["extra"]
    return {
        "system": name,
        **measure_change(changed_by(translator, fabric), held, name),
        "pictures_per_second": pictures_per_second(translator, fabric),
        "training_minutes": extra.get("seconds_per_step", math.nan) * extra["steps"] / 60,
        "device": fabric.device.type,
    }
