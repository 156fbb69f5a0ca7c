"""Train the same classifier with and without synthetic faces, over folds and seeds, and keep every trial as a file."""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.devices import choose_device, one_thread, seed_from
from augment.duplicates import duplicate_groups, fingerprints
from augment.folders import FaceTable, drop_unreadable, load_faces, read_faces
from augment.pictures import write_bytes, write_text
from augment.runs import Hold, check_same_run, locked, read_json, read_run, remove_temporary_files, write_run
from augment.workers import cores, do_all
from classifiers.evaluation import evaluate
from classifiers.training import train_classifier
from emoaug import EmoaugError, __version__
from pipelines.arms import get_arm
from pipelines.audit import audit
from pipelines.splits import groups_of, limit_labels, make_folds
from pipelines.synthetic import make_synthetic
from pipelines.trials import GainSettings, Trial

KIND = "gain trials"


def run_gain(data: Path | FaceTable, out: Path, settings: GainSettings) -> pd.DataFrame:
    """Run all trials that are not yet done.

    Args:
        data: an aligned dataset.
        out: folder for trials, systems, synthetic faces and the report; new, empty, or of the same run.
        settings: what to compare.

    Returns:
        One row a trial: arm, fold, seed, accuracy, macro_f1, balanced_accuracy, calibration_error, recall_CLASS,
        train_faces, synthetic_faces, test_faces, seconds, system_seconds.

    Raises:
        EmoaugError: data, settings or folder do not fit, or a synthetic face could have seen a test person.
    """
    faces = drop_unreadable(data if isinstance(data, FaceTable) else read_faces(data))
    present = sorted(set(faces.table.label))
    if len(present) < 2:
        shown = f"only the expression {present[0]}" if present else "no face that can be read"
        raise EmoaugError(f"{faces.root}: {shown}; a classifier needs two expressions or more")
    pixels = load_faces(faces, settings.size)
    identity = {
        "settings": {k: v for k, v in json.loads(json.dumps(asdict(settings), default=str)).items() if k != "workers"},
        "vocabulary": list(faces.vocabulary),
        "faces": _hash(faces, pixels),
    }
    before = read_run(out, KIND)
    if before is not None:
        check_same_run(out, before, identity)
    alike = duplicate_groups(fingerprints(np.ascontiguousarray(p.transpose(1, 2, 0)) for p in pixels))
    groups = groups_of(faces, alike)
    # Each seed draws folds of its own: trials on the same folds again would be no new evidence.
    folds = [(seed, fold) for seed in range(settings.seeds) for fold in make_folds(faces, groups, settings.folds, seed)]
    trials = [Trial(get_arm(name), fold, seed) for seed, fold in folds for name in settings.arms]
    with locked(out) as hold:
        remove_temporary_files(out)
        run = {
            "finished": False,
            "identity": identity,
            "vocabulary": list(faces.vocabulary),
            "folds": [
                {"number": f.number, "seed": s, "train": len(f.train), "test": len(f.test), "sha256": f.sha256(faces)}
                for s, f in folds
            ],
            "versions": {"emoaug": __version__, "torch": torch.__version__},
        }
        waiting = [trial for trial in trials if not _result(out, trial).exists()]
        if waiting or not before or not before.get("finished"):
            write_run(out, KIND, run)
            write_text(out / "audit.json", json.dumps(audit(faces).to_json(), indent=1) + "\n", parents=False)
            _run_all(waiting, len(trials), faces, pixels, out, settings, hold)
            write_run(out, KIND, run | {"finished": True})
        rows = [read_json(_result(out, trial)) for trial in trials]
    return trial_table(rows, faces.vocabulary)


def _hash(faces: FaceTable, pixels: np.ndarray) -> str:
    """A hash of everything in a dataset that decides a trial: pictures, labels, people, splits."""
    digest = hashlib.sha256(pixels.tobytes())
    digest.update(faces.table[["file_name", "label", "subject", "split", "is_synthetic"]].to_json().encode())
    return digest.hexdigest()


def _result(out: Path, trial: Trial) -> Path:
    return out / "trials" / f"{trial.name}.json"


def _run_all(
    trials: list[Trial],
    count: int,
    faces: FaceTable,
    pixels: np.ndarray,
    out: Path,
    settings: GainSettings,
    hold: Hold,
) -> None:
    """Run trials, on the CPU several at a time in processes of one thread each.

    Networks this small gain little from a second thread, and one thread always gives the same numbers.
    """
    on_cpu = choose_device(settings.training.device) == "cpu"
    # Those that train a system take longest; begun last, one of them would run alone at the end.
    trials = sorted(trials, key=lambda trial: trial.arm.source is None)
    with tqdm(total=count, initial=count - len(trials), desc="gain trials", unit="trial") as bar:

        def noted(_: Trial, __: None) -> None:
            hold.check()
            bar.update()

        workers = settings.workers or cores() if on_cpu else 1
        do_all(trials, workers, partial(_trier, faces, pixels, out, settings), noted)
    hold.check([f"trials/{_result(out, trial).name}" for trial in trials])


def _trier(faces: FaceTable, pixels: np.ndarray, out: Path, settings: GainSettings) -> Callable[[Trial], None]:
    """Keep what every trial needs, once a process, and give what runs one."""
    on_cpu = choose_device(settings.training.device) == "cpu"

    def run(trial: Trial) -> None:
        with one_thread() if on_cpu else nullcontext():
            _run_trial(trial, faces, pixels, out, settings)

    return run


def trial_table(rows: list[dict[str, Any]], vocabulary: tuple[str, ...]) -> pd.DataFrame:
    """Trials as a table, one row each."""
    flat = []
    for row in rows:
        scores = row["scores"]
        flat.append(
            {k: row[k] for k in ("arm", "fold", "seed", "train_faces", "synthetic_faces", "seconds", "system_seconds")}
            | {"test_faces": scores["count"]}
            | {k: scores[k] for k in ("accuracy", "macro_f1", "balanced_accuracy", "calibration_error")}
            | {f"recall_{c}": r for c, r in zip(vocabulary, scores["recall"], strict=True)}
        )
    return pd.DataFrame(flat)


def _run_trial(trial: Trial, faces: FaceTable, pixels: np.ndarray, out: Path, settings: GainSettings) -> None:
    """Train and test one classifier, and write its scores and its probabilities."""
    few = None if settings.labels_per_class == "all" else settings.labels_per_class
    rows = limit_labels(faces, trial.fold.train, few, trial.seed)
    labels = faces.label_indices()
    extra, system_seconds = None, 0.0
    if trial.arm.source is not None:
        began = time.monotonic()
        size = pixels.shape[-1]
        synthetic = make_synthetic(trial, faces, rows, size, out, settings)
        extra = (load_faces(synthetic, size), synthetic.label_indices())
        system_seconds = time.monotonic() - began
    began = time.monotonic()
    classifier = train_classifier(
        pixels[rows],
        labels[rows],
        len(faces.vocabulary),
        replace(settings.classifier, recipe=trial.arm.recipe),
        # Arms of one fold and seed start from the same weights, so that their difference is the faces'.
        seed=seed_from("classifier", trial.fold.number, trial.seed) % 2**32,
        extra=extra,
        extra_share=settings.synthetic_share,
        device=choose_device(settings.training.device),
        progress=False,
    )
    parts = np.array_split(trial.fold.test, len(trial.fold.test) // 1024 + 1)
    probabilities = np.concatenate(
        [classifier(torch.from_numpy(pixels[part]).float() / 127.5 - 1).numpy() for part in parts]
    )
    scores = evaluate(probabilities, labels[trial.fold.test], len(faces.vocabulary))
    packed = io.BytesIO()
    np.savez(packed, probabilities=probabilities, rows=trial.fold.test)
    write_bytes(_result(out, trial).with_suffix(".npz"), packed.getvalue(), parents=False)
    result = {
        "arm": trial.arm.name,
        "fold": trial.fold.number,
        "seed": trial.seed,
        "fold_sha256": trial.fold.sha256(faces),
        "train_faces": len(rows),
        "synthetic_faces": 0 if extra is None else len(extra[1]),
        "seconds": round(time.monotonic() - began, 2),
        "system_seconds": round(system_seconds, 2),
        "scores": scores.to_dict(),
    }
    write_text(_result(out, trial), json.dumps(result) + "\n", parents=False)
