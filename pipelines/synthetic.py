"""The synthetic faces of one gain trial: made from its training faces alone, by what saw its training faces alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from augment.checkpoints import load_translator, read_config
from augment.exemplar_plans import build_exemplar_plan
from augment.folders import FaceTable, read_faces
from augment.generation import GenerateSettings, generate
from augment.intensities import IntensityScale
from augment.plans import PlanSettings, build_plan
from augment.refinement import RealSide, refine, train_refiner
from augment.refiner import RefinerSettings
from augment.simulation.behaviour import ExpressionSource, Prototypes
from augment.simulation.measured import MeasuredExpressions
from augment.simulation.scenes import SceneSettings
from augment.simulation.simulate import SimulateSettings, simulate
from augment.systems import get_system
from augment.training import train
from emoaug import EmoaugError
from pipelines.arms import MEASURED, REFINED, SIMULATED
from pipelines.splits import Fold
from pipelines.trials import GainSettings, Trial


def make_synthetic(
    trial: Trial, faces: FaceTable, rows: np.ndarray, size: int, out: Path, settings: GainSettings
) -> FaceTable:
    """Make the synthetic faces of a trial's arm.

    Args:
        trial: names the arm, the fold and the seed.
        faces: the dataset.
        rows: the labelled training faces of this trial, (n,).
        size: side of the faces, pixels.
        out: the run's folder.
        settings: how many faces, how to train.

    Returns:
        The synthetic faces.

    Raises:
        EmoaugError: a synthetic face or what made it has seen what it must not see.
    """
    chosen = faces.select(rows)
    chosen = replace(chosen, table=chosen.table.assign(split="train"))
    if trial.arm.source == SIMULATED:
        return _simulated(trial, chosen, size, out / "synthetic" / trial.name, settings)
    if trial.arm.source == REFINED:
        folder, config = _refined(trial, chosen, size, out, settings)
    elif trial.arm.source is not None and trial.arm.source.endswith(MEASURED):
        folder, config = _exemplified(trial, with_unlabelled(faces, rows, trial.fold), size, out, settings)
    else:
        folder, config = _translated(trial, chosen, size, out, settings)
    made = read_faces(folder, vocabulary=faces.vocabulary)
    check_lineage(made, config, faces, trial.fold)
    return made


def _translated(
    trial: Trial, chosen: FaceTable, size: int, out: Path, settings: GainSettings
) -> tuple[Path, dict[str, Any]]:
    """Train the arm's system, and change the expressions of the training faces."""
    assert trial.arm.source is not None
    own = replace(get_system(trial.arm.source).configurations["compact"], size=size)
    training = replace(settings.training, seed=trial.seed)
    checkpoint = train(chosen, out / "systems" / trial.name, trial.arm.source, own, training, chosen.vocabulary)
    translator = load_translator(checkpoint)
    per_class = max(1, round(settings.synthetic_factor * len(chosen) / len(chosen.vocabulary)))
    # A class that no training face shows is one that the system cannot make.
    learned = tuple(name for name in translator.condition_names if name in set(chosen.table.label))
    plan = build_plan(chosen, learned, PlanSettings("per-class", count=per_class, seed=trial.seed))
    folder = out / "synthetic" / trial.name
    generate(chosen, translator, plan, folder, _generating(settings), {"data": str(chosen.root)})
    return folder, read_config(checkpoint)


def with_unlabelled(faces: FaceTable, rows: np.ndarray, fold: Fold) -> FaceTable:
    """All training faces of a fold, of which only those of some rows keep their labels."""
    table = faces.table.assign(split="train")
    table.loc[np.setdiff1d(np.arange(len(table)), rows), "label"] = None
    return replace(faces, table=table).select(fold.train)


def _exemplified(
    trial: Trial, training_faces: FaceTable, size: int, out: Path, settings: GainSettings
) -> tuple[Path, dict[str, Any]]:
    """Train on what was measured on all training faces, and give the labelled ones' expressions to other people."""
    assert trial.arm.source is not None
    system = trial.arm.source.removesuffix(MEASURED)
    own = replace(get_system(system).configurations["compact"], size=size)
    training = replace(settings.training, seed=trial.seed)
    checkpoint = train(training_faces, out / "systems" / trial.name, system, own, training, conditions="blendshapes")
    config = read_config(checkpoint)
    scale = IntensityScale.from_config(config)
    assert scale is not None
    labelled = int(training_faces.table.label.notna().sum())
    per_class = max(1, round(settings.synthetic_factor * labelled / len(training_faces.vocabulary)))
    plan = build_exemplar_plan(training_faces, scale, PlanSettings("per-class", count=per_class, seed=trial.seed))
    folder = out / "synthetic" / trial.name
    provenance = {"data": str(training_faces.root)}
    generate(training_faces, load_translator(checkpoint), plan, folder, _generating(settings), provenance)
    return folder, config


def _simulated(trial: Trial, chosen: FaceTable, size: int, folder: Path, settings: GainSettings) -> FaceTable:
    """Render faces with the expressions of the training faces, or with the published ones of their classes."""
    labels = tuple(name for name in chosen.vocabulary if name in set(chosen.table.label))
    source: ExpressionSource = Prototypes()
    if settings.simulated_expressions == "measured":
        source = MeasuredExpressions.from_folder(chosen.root, chosen)
        labels = tuple(name for name in labels if name in source.labels)
    scenes = SceneSettings(expressions=labels, per_subject=len(labels), seed=trial.seed)
    rendering = SimulateSettings(
        count=settings.simulated_per_class * len(labels), size=size, face_model=settings.face_model, workers=1
    )
    simulate(folder, scenes, rendering, source)
    return read_faces(folder, vocabulary=chosen.vocabulary)


def _refined(
    trial: Trial, chosen: FaceTable, size: int, out: Path, settings: GainSettings
) -> tuple[Path, dict[str, Any]]:
    """Render faces, and make them look like the training faces."""
    rendered = _simulated(trial, chosen, size, out / "rendered" / trial.name, settings)
    training = replace(settings.training, seed=trial.seed, batch_size=2 * settings.training.batch_size)
    checkpoint = train_refiner(
        rendered, chosen, out / "systems" / trial.name, RefinerSettings(size=size), training, RealSide()
    )
    folder = out / "synthetic" / trial.name
    refine(rendered, checkpoint, folder, _generating(settings), {"data": str(rendered.root)})
    return folder, read_config(checkpoint)


def _generating(settings: GainSettings) -> GenerateSettings:
    return GenerateSettings(include_real="no", device=settings.training.device, precision="auto", threads=1)


def check_lineage(made: FaceTable, config: dict[str, Any], faces: FaceTable, fold: Fold) -> None:
    """Raise EmoaugError if a synthetic face, or the system that made it, has seen a face or person of the test set.

    Args:
        made: synthetic faces with their provenance.
        config: the checkpoint's `config.json`.
        faces: the dataset.
        fold: who is trained on and who is tested on.
    """
    subjects = faces.table.subject.to_numpy()
    test_subjects = {s for s in subjects[fold.test] if isinstance(s, str)}
    # By content, not by name: a picture is the same one wherever it lies.
    test_pictures = {faces.sha256(int(i)) for i in fold.test}
    for column in ("source_sha256", "exemplar_sha256", "second_exemplar_sha256"):
        from_test = made.table[column].isin(test_pictures).sum() if column in made.table else 0
        if from_test:
            raise EmoaugError(
                f"{made.root}: {from_test} synthetic faces were made from test faces of fold {fold.number}"
            )
    seen = set(config["extra"].get("training_data", {}).get("subjects", []))
    if seen & test_subjects:
        raise EmoaugError(
            f"{made.root}: its system was trained on {', '.join(sorted(seen & test_subjects)[:3])}, who test"
        )
    used = set(made.table.subject.dropna())
    if used & test_subjects:
        raise EmoaugError(f"{made.root}: synthetic faces of {', '.join(sorted(used & test_subjects)[:3])}, who test")
