"""Refine a simulated dataset: train the refiner on it and on real faces, then write the same faces refined."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from augment.checkpoints import load_translator
from augment.faces import MEASURES_FILE, read_measures, write_measures
from augment.folders import FaceTable, load_faces, read_faces
from augment.generation import GenerateSettings, generate
from augment.generation_folder import GenerateSummary
from augment.plans import PLAN_COLUMNS, row_seeds
from augment.refiner import DOMAINS, Refiner, RefinerSettings
from augment.systems import Translator
from augment.training import TrainingSettings
from augment.training_data import TrainingFaces, data_hash, landmarks_of
from augment.training_run import run_training
from emoaug import EmoaugError


@dataclass(frozen=True)
class RealSide:
    """How the real faces are used."""

    labelled: bool = True
    """Whether labels of real faces count: the critic learns expressions from them, and where every real face has one,
    both sides show the same expressions, as often. An expression that one side alone shows gives that side away, and a
    refiner takes it from the faces."""


def train_refiner(
    simulated: FaceTable,
    real: FaceTable,
    out: Path,
    refiner: RefinerSettings,
    training: TrainingSettings,
    side: RealSide | None = None,
    restart: bool = False,
) -> Path:
    """Train a refiner, or go on with the run in `out`.

    Args:
        simulated: labelled faces with landmarks, as `emoaug simulate` writes them.
        real: aligned faces; those for training (`FaceTable.for_training`) are used, labels or not.
        out: run folder.
        refiner: networks and objective; `expressions` is set to the number of simulated classes.
        training: how to train.
        side: how the real faces are used.
        restart: begin anew.

    Returns:
        The checkpoint folder.
    """
    side = side or RealSide()
    real = real.select(real.for_training())
    for what, faces in (("simulated", simulated), ("real", real)):
        if not len(faces):
            raise EmoaugError(f"{faces.root}: no {what} faces to train on")
    settings = replace(refiner, expressions=len(simulated.vocabulary))

    def prepare() -> tuple[Translator, TrainingFaces]:
        return Refiner(DOMAINS, settings), two_sides(simulated, real, settings.size, side.labelled)

    identity = {
        "system": Refiner.name,
        "system_settings": asdict(settings),
        "real_side": asdict(side),
        "simulated_sha256": data_hash(simulated),
        "real_sha256": data_hash(real),
    }
    subjects = sorted({str(subject) for subject in real.table.subject.dropna()})
    seen = {"subjects": subjects, "faces": len(real), "simulated": len(simulated), "sha256": identity["real_sha256"]}
    return run_training(out, identity, training, prepare, {"training_data": seen}, restart)


def two_sides(simulated: FaceTable, real: FaceTable, size: int, labelled: bool) -> TrainingFaces:
    """Both domains as training faces: the class is the domain, the attributes are the expression where it is known.

    See `RealSide.labelled` for which faces are taken, and how often.
    """
    places = {name: i for i, name in enumerate(simulated.vocabulary)}
    shared = set(simulated.table.label) & set(real.table.label)
    matched = labelled and bool(shared) and bool(real.table.label.notna().all())
    if matched:
        simulated, real = (faces.select(faces.table.label.isin(shared).to_numpy()) for faces in (simulated, real))
    attributes = torch.zeros(len(simulated) + len(real), len(places))
    labels = [*simulated.table.label, *(real.table.label if labelled else [])]
    for row, label in enumerate(labels):
        if label in places:
            attributes[row, places[label]] = 1
    pixels = [torch.from_numpy(load_faces(faces, size)) for faces in (simulated, real)]
    domain = torch.cat([torch.full((len(p),), i) for i, p in enumerate(pixels)])
    points = torch.cat([landmarks_of(simulated), landmarks_of(real)])
    groups = attributes.argmax(1) if matched else None
    return TrainingFaces(torch.cat(pixels), domain, points, len(DOMAINS), attributes, groups=groups)


def refine(
    simulated: FaceTable,
    weights: Path,
    out: Path,
    settings: GenerateSettings,
    provenance: dict[str, Any],
    domain: str = "real",
) -> GenerateSummary:
    """Write a simulated dataset with every face refined: the same labels, the same people, with provenance.

    Args:
        simulated: the faces to refine, all of them.
        weights: a refiner's checkpoint, or its run folder.
        out: folder to write; absent, empty, or one that this same call began.
        settings: how to carry it out; real faces are never taken over.
        provenance: what `run.json` should say of the origin.
        domain: what to ask for, of `DOMAINS`.
    """
    translator = load_translator(weights, systems={Refiner.name: Refiner})
    plan = refinement_plan(simulated, domain)
    summary = generate(simulated, translator, plan, out, replace(settings, include_real="no"), provenance)
    # Not only after a generation that was done now: it may have been killed before this.
    if not (out / MEASURES_FILE).exists():
        _carry_measures(simulated, out)
    return summary


def refinement_plan(simulated: FaceTable, domain: str) -> pd.DataFrame:
    """A plan that asks for every face once, under its own label."""
    table, rows = simulated.table, np.arange(len(simulated))
    texts = {
        "file_name": table.file_name,
        "source_label": table.label,
        "subject": table.subject,
        "target": table.label,
        "condition": pd.Series([json.dumps({domain: 1.0})] * len(table), index=table.index),
    }
    columns = {name: pd.Series(values.to_numpy(dtype=object), dtype=object) for name, values in texts.items()}
    plan = pd.DataFrame({"row": rows, "source_index": rows, "seed": row_seeds(0, rows), **columns})
    return plan[list(PLAN_COLUMNS)]


def _carry_measures(simulated: FaceTable, out: Path) -> None:
    """Landmarks and blendshapes of the sources hold for the refined faces too: a refiner keeps the content."""
    refined = read_faces(out)
    measures = read_measures(simulated.root, list(refined.table.source_file))
    if measures is not None:
        write_measures(out, list(refined.table.file_name), measures)
