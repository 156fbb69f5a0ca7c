"""Train the same classifier with and without synthetic faces, over folds and seeds, and keep every trial as a file."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.devices import choose_device, seed_from
from augment.duplicates import duplicate_groups, fingerprints
from augment.folders import FaceTable, drop_unreadable, load_faces, read_faces
from augment.pictures import write_text
from augment.runs import check_same_run, explained_errors, locked, read_run, write_run
from augment.workers import cores, worker_pool
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
    with locked(out), explained_errors(out):
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
            write_text(out / "audit.json", json.dumps(audit(faces).to_json(), indent=1) + "\n")
            _run_all(waiting, len(trials), faces, pixels, out, settings)
            write_run(out, KIND, run | {"finished": True})
        rows = [json.loads(_result(out, trial).read_text(encoding="utf-8")) for trial in trials]
    return trial_table(rows, faces.vocabulary)


def _hash(faces: FaceTable, pixels: np.ndarray) -> str:
    """A hash of everything in a dataset that decides a trial: pictures, labels, people, splits."""
    digest = hashlib.sha256(pixels.tobytes())
    digest.update(faces.table[["file_name", "label", "subject", "split", "is_synthetic"]].to_json().encode())
    return digest.hexdigest()


def _result(out: Path, trial: Trial) -> Path:
    return out / "trials" / f"{trial.name}.json"


def _run_all(
    trials: list[Trial], count: int, faces: FaceTable, pixels: np.ndarray, out: Path, settings: GainSettings
) -> None:
    """Run trials, on the CPU several at a time in processes of one thread each.

    Networks this small gain little from a second thread, and one thread always gives the same numbers.
    """
    bar = tqdm(total=count, initial=count - len(trials), desc="gain trials", unit="trial")
    # Those that train a system take longest; begun last, one of them would run alone at the end.
    trials = sorted(trials, key=lambda trial: trial.arm.source is None)
    with bar:
        if choose_device(settings.training.device) != "cpu":
            for trial in trials:
                _run_trial(trial, faces, pixels, out, settings)
                bar.update()
            return
        workers = min(settings.workers or cores(), len(trials))
        if not workers:
            return
        others = set(multiprocessing.active_children())
        with _quiet(), worker_pool(workers, _start_worker, (faces, pixels, out, settings)) as pool:
            try:
                for future in as_completed([pool.submit(_work, trial) for trial in trials]):
                    future.result()
                    bar.update()
            except BrokenProcessPool as error:
                raise EmoaugError(
                    f"{out}: a worker process ended unexpectedly, perhaps for want of memory; what is done is kept. "
                    "Give the same command again, with --workers 1"
                ) from error
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                # A trial takes minutes, and whoever pressed Ctrl-C has waited long enough; it will be taken up again.
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
                raise


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, new processes show no progress bars: several at once would write over one another."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


_shared: tuple[FaceTable, np.ndarray, Path, GainSettings]


def _start_worker(faces: FaceTable, pixels: np.ndarray, out: Path, settings: GainSettings) -> None:
    """Keep what every trial needs, once a process."""
    global _shared
    torch.set_num_threads(1)
    _shared = (faces, pixels, out, settings)


def _work(trial: Trial) -> None:
    _run_trial(trial, *_shared)


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
    folder = out / "trials"
    folder.mkdir(exist_ok=True)
    np.savez(folder / f".{trial.name}.npz", probabilities=probabilities, rows=trial.fold.test)
    (folder / f".{trial.name}.npz").replace(folder / f"{trial.name}.npz")
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
    write_text(_result(out, trial), json.dumps(result) + "\n")
