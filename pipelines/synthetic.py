"""Sets of synthetic faces for gain trials: each made from training faces alone, by what saw training faces alone."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from augment.checkpoints import load_translator, read_config
from augment.devices import seed_from
from augment.exemplar_plans import suitable_plan
from augment.folders import FaceTable, load_faces, read_faces
from augment.generation import GenerateSettings, generate
from augment.intensities import IntensityScale
from augment.measured_conditions import are_measured
from augment.pictures import write_text
from augment.plans import distinct
from augment.refinement import RealSide, refine, train_refiner
from augment.refiner import RefinerSettings
from augment.runs import read_json
from augment.simulation.behaviour import ExpressionSource
from augment.simulation.measured import MeasuredExpressions
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from augment.simulation.surroundings import Surroundings
from augment.systems import get_system
from augment.training_run import train
from emoaug import EmoaugError
from pipelines.arms import MEASURED, PRETRAINED, REFINED, SIMULATED, uses_unlabelled
from pipelines.beside import faces_beside
from pipelines.fitting import seen_as_labelled
from pipelines.gain_data import GainData
from pipelines.leaks import HeldOut, check_lineage, check_pixels
from pipelines.trials import GainSettings


@dataclass(frozen=True)
class SyntheticSet:
    """One set of synthetic faces; arms of the same fold, seed and labels share it."""

    name: str
    """Name of its files."""
    source: str
    """A system, perhaps with the ending `MEASURED`, `pretrained`, `simulated` or `refined`."""
    seed: int
    train: np.ndarray
    """Rows of the labelled training faces, (n,)."""
    unlabelled: np.ndarray
    """Rows of training faces that may be used without their labels, (m,)."""
    validation: np.ndarray
    """Rows of training faces that are held out besides the test faces, (v,)."""
    test: np.ndarray
    """Rows of the test faces, (t,)."""

    def given(self, data: GainData) -> FaceTable:
        """What a system may see: the labelled faces, and for what can use them those without labels."""
        rest = self.unlabelled if uses_unlabelled(self.source) else self.unlabelled[:0]
        chosen = data.faces.select(np.concatenate([self.train, rest]))
        labels = chosen.table.label.where(np.arange(len(chosen)) < len(self.train), None)
        chosen = replace(chosen, table=chosen.table.assign(split="train", label=labels))
        return chosen.select(are_measured(chosen)) if self.source.endswith(MEASURED) else chosen

    def measured(self, data: GainData) -> FaceTable:
        """What a system that learns from measures may see, in one order and without labels, whichever are labelled."""
        chosen = data.faces.select(np.union1d(self.train, self.unlabelled))
        chosen = replace(chosen, table=chosen.table.assign(split="train", label=None))
        return chosen.select(are_measured(chosen))

    def system(self, out: Path) -> Path:
        """The run folder of its system; those that learn from measures on the same faces are one."""
        if not self.source.endswith(MEASURED):
            return out / "systems" / self.name
        seen = np.union1d(self.train, self.unlabelled).astype(np.int64).tobytes()
        return out / "systems" / f"{self.source}-{hashlib.sha256(seen).hexdigest()[:12]}"

    def labelled(self, data: GainData) -> FaceTable:
        """The labelled training faces."""
        chosen = data.faces.select(self.train)
        return replace(chosen, table=chosen.table.assign(split="train"))

    def folder(self, out: Path) -> Path:
        """Where its faces lie."""
        return out / "synthetic" / self.name

    def record(self, out: Path) -> Path:
        """The file that says that it is done, and what it took."""
        return out / "synthetic" / f"{self.name}.json"

    def done(self, out: Path) -> bool:
        """Whether nothing is left to make."""
        return self.record(out).is_file() and (self.folder(out) / "metadata.csv").is_file()


def make_synthetic(wanted: SyntheticSet, data: GainData, out: Path, settings: GainSettings) -> None:
    """Make a set of synthetic faces, or what is missing of it, and its record."""
    began, size = time.monotonic(), data.pixels.shape[-1]
    if wanted.source == SIMULATED:
        _simulated(wanted, data, size, wanted.folder(out), settings)
    elif wanted.source == REFINED:
        _refined(wanted, data, size, out, settings)
    elif wanted.source.endswith(MEASURED):
        _exemplified(wanted, data, out, settings)
    elif wanted.source == PRETRAINED:
        _pretrained(wanted, data, out, settings)
    else:
        _translated(wanted, data, size, out, settings)
    made = read_faces(wanted.folder(out), vocabulary=data.faces.vocabulary)
    kept = np.arange(len(made))
    if settings.synthetic_kept == "seen" and wanted.source not in (SIMULATED, REFINED):
        shown = load_faces(made, size), made.label_indices()
        kept = seen_as_labelled(shown, data, wanted.train, wanted.seed, settings)
    # The time of a set that was stopped and taken up again is that of its last part.
    record = {"faces": len(made), "seconds": round(time.monotonic() - began, 2), "kept": kept.tolist()}
    write_text(wanted.record(out), json.dumps(record) + "\n", parents=False)


def read_synthetic(
    wanted: SyntheticSet, data: GainData, out: Path, settings: GainSettings
) -> tuple[np.ndarray, np.ndarray, float]:
    """Read a set that `make_synthetic` made, and check that it has seen nothing that it must not see.

    Returns:
        Faces uint8 RGB (n, 3, S, S), their classes (n,) int64, and the seconds that making them took.

    Raises:
        EmoaugError: a synthetic face, or the system that made it, has seen what is held out.
    """
    made = read_faces(wanted.folder(out), vocabulary=data.faces.vocabulary)
    config: dict[str, Any] | None = None
    if wanted.source != SIMULATED:
        config = read_config(settings.weights if wanted.source == PRETRAINED else wanted.system(out) / "checkpoint")
    held_out = HeldOut.of([(data.faces, wanted.validation), (data.tested, wanted.test)])
    shown: FaceTable | None = wanted.measured(data) if wanted.source.endswith(MEASURED) else wanted.given(data)
    if wanted.source == PRETRAINED:
        shown = None
    check_lineage(made, config, shown, held_out, rendered=wanted.source in (SIMULATED, REFINED))
    pixels = load_faces(made, data.pixels.shape[-1])
    for array in (data.pixels[wanted.validation], data.tested_pixels[wanted.test]):
        check_pixels(pixels, array, str(made.root))
    record = read_json(wanted.record(out))
    kept = np.array(record["kept"], dtype=np.int64)
    return pixels[kept], made.label_indices()[kept], float(record["seconds"])


def _translated(wanted: SyntheticSet, data: GainData, size: int, out: Path, settings: GainSettings) -> None:
    """Train a system, and change the expressions of the training faces."""
    chosen = wanted.given(data)
    own = replace(get_system(wanted.source).configurations["compact"], size=size)
    training = replace(settings.training, seed=wanted.seed)
    beside = None
    if settings.rendered_beside:
        folder, count = out / "rendered" / wanted.name, settings.rendered_beside
        beside = faces_beside(folder, chosen, count, size, wanted.seed, settings.face_model)
    initial = _initial(wanted.source, settings)
    checkpoint = train(
        *(chosen, wanted.system(out), wanted.source, own, training, chosen.vocabulary), initial=initial, also=beside
    )
    translator = load_translator(checkpoint)
    # A class that no training face shows is one that the system cannot make.
    learned = tuple(name for name in translator.condition_names if name in set(chosen.table.label))
    plan = suitable_plan(chosen, translator, learned, settings.plan(len(chosen), len(chosen.vocabulary), wanted.seed))
    generate(chosen, translator, distinct(plan), wanted.folder(out), _generating(settings, translator.size), {})


def _pretrained(wanted: SyntheticSet, data: GainData, out: Path, settings: GainSettings) -> None:
    """Change the expressions of the training faces with weights from elsewhere."""
    given, translator = wanted.given(data), load_translator(settings.weights)
    translator.speak(data.faces.vocabulary)
    known = set(data.faces.table.label.to_numpy()[wanted.train]) & set(translator.condition_names)
    targets = tuple(name for name in data.faces.vocabulary if name in known)
    if not targets:
        raise EmoaugError(
            f"arm pretrained: {settings.weights} makes {', '.join(translator.condition_names)}, and no labelled face "
            f"shows one of these; they show {', '.join(data.faces.vocabulary)}"
        )
    # Of other classes there can be sources, whatever they are called.
    labels = given.table.label.where(given.table.label.isin(targets), None)
    given = replace(given, table=given.table.assign(label=labels))
    counts = settings.plan(len(wanted.train), len(data.faces.vocabulary), wanted.seed)
    plan = suitable_plan(given, translator, targets, counts)
    provenance = {"weights": str(settings.weights)}
    how = _generating(settings, translator.size)
    generate(given, translator, distinct(plan), wanted.folder(out), how, provenance)


def train_measured(wanted: SyntheticSet, data: GainData, out: Path, settings: GainSettings) -> None:
    """Train the system of a set on what was measured on all faces that it may see; nothing where that is done."""
    system = wanted.source.removesuffix(MEASURED)
    own = replace(get_system(system).configurations["compact"], size=data.pixels.shape[-1])
    faces, run = wanted.measured(data), wanted.system(out)
    initial = _initial(system, settings)
    train(faces, run, system, own, settings.training, conditions="blendshapes", initial=initial)


def _exemplified(wanted: SyntheticSet, data: GainData, out: Path, settings: GainSettings) -> None:
    """Give the measured expressions of the labelled faces to other people."""
    chosen, checkpoint = wanted.given(data), wanted.system(out) / "checkpoint"
    scale = IntensityScale.from_config(read_config(checkpoint))
    assert scale is not None
    translator = load_translator(checkpoint)
    counts = settings.plan(len(wanted.train), len(chosen.vocabulary), wanted.seed)
    plan = distinct(suitable_plan(chosen, translator, translator.condition_names, counts, scale))
    generate(chosen, translator, plan, wanted.folder(out), _generating(settings, translator.size), {})


def _simulated(wanted: SyntheticSet, data: GainData, size: int, folder: Path, settings: GainSettings) -> FaceTable:
    """Render faces with the published expressions of the training faces' classes, or with those measured on them."""
    chosen = wanted.labelled(data)
    shown = settings.synthetic_targets or set(chosen.table.label)
    labels = tuple(name for name in chosen.vocabulary if name in shown)
    source: ExpressionSource | None = None
    if settings.simulated_expressions == "measured":
        source = MeasuredExpressions.from_folder(chosen.root, chosen)
        labels = tuple(name for name in labels if name in source.labels)
    # Not the people of `emoaug simulate --seed 0`, who may be those that test.
    seed = seed_from("gain", wanted.seed)
    scenes = SceneSettings(
        labels, settings.simulated_intensity, settings.simulated_typical, per_subject=len(labels), seed=seed
    )
    rendering = SimulateSettings(
        count=settings.simulated_per_class * len(labels),
        size=size,
        face_model=settings.face_model,
        device=settings.training.device,
        workers=1,
    )
    like = Surroundings.from_folder(chosen.root, chosen) if settings.simulated_like else None
    simulate(folder, scenes, rendering, source, like)
    return read_faces(folder, vocabulary=chosen.vocabulary)


def _refined(wanted: SyntheticSet, data: GainData, size: int, out: Path, settings: GainSettings) -> None:
    """Render faces, and make them look like the training faces."""
    rendered = _simulated(wanted, data, size, out / "rendered" / wanted.name, settings)
    training = replace(settings.training, seed=wanted.seed, batch_size=2 * settings.training.batch_size)
    run = wanted.system(out)
    checkpoint = train_refiner(rendered, wanted.given(data), run, RefinerSettings(size=size), training, RealSide())
    refine(rendered, checkpoint, wanted.folder(out), _generating(settings), {})


def _initial(system: str, settings: GainSettings) -> Path | None:
    """The weights that a system begins with; None for nothing learnt."""
    if settings.initial is None or read_config(settings.initial)["system"] != system:
        return None
    return settings.initial


def _generating(settings: GainSettings, size: int = 0) -> GenerateSettings:
    device = settings.training.device
    return GenerateSettings(include_real="no", device=device, precision="auto", threads=1, size=size)
