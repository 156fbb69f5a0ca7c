"""Train the same classifier with and without synthetic faces, over folds and seeds, and keep every trial as a file."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.action_units import PROTOTYPES
from augment.checkpoints import read_config, trained_people
from augment.devices import choose_device, one_thread
from augment.expressions import known_as
from augment.folders import FaceTable, read_faces
from augment.initial import check_initial
from augment.pictures import write_bytes, write_text
from augment.runs import LOCK, Hold, check_same_run, locked, read_json, read_run, remove_temporary_files, write_run
from augment.systems import SYSTEMS, get_system
from augment.workers import Engine, do_all
from classifiers.evaluation import evaluate
from emoaug import EmoaugError, __version__, bar_hidden, few
from pipelines.arms import GEOMETRY, MEASURED, PRETRAINED, get_arm
from pipelines.audit import audit
from pipelines.beginning import AUTO, package_weights, tell_size
from pipelines.fitting import Extra, choose, fit, synthetic_first
from pipelines.gain_data import GainData
from pipelines.gain_job import Job
from pipelines.gain_notes import found_in, known_before, missing_classes
from pipelines.leaks import check_fold, check_pixels
from pipelines.splits import Fold, unknown_people
from pipelines.synthetic import SyntheticSet, make_synthetic, read_synthetic, train_measured
from pipelines.trials import DEFAULT_ARMS, GainSettings, Trial

KIND = "gain trials"


def possible_arms(settings: GainSettings, data: GainData, folds: Sequence[Fold]) -> tuple[list[str], list[str]]:
    """The arms that a dataset can have, and a sentence on each that is left out.

    Without blendshapes there is no geometry. Of the arms that nobody asked for by name, the one with rendered faces and
    the package's weights goes too where either does not know an expression, or the weights have seen people who test.

    Raises:
        EmoaugError: an arm that was asked for takes weights that have seen people who test.
    """
    arms, notes = list(settings.arms), []
    if GEOMETRY in arms and (data.blendshapes is None or data.tested_blendshapes is None):
        arms.remove(GEOMETRY)
        notes.append("The faces have no blendshapes, so the arm geometry is left out; emoaug align measures them.")
    if settings.arms == DEFAULT_ARMS:
        known = tuple(PROTOTYPES), tuple(read_config(settings.weights)["condition_names"])
        unknown = [name for name in data.faces.vocabulary if not all(known_as(name, names) for names in known)]
        seen = _seen(settings.weights, data, folds)
        reason = f"it does not know how {', '.join(unknown)} looks" if unknown else ""
        reason = reason or (f"its weights were trained on {few(seen)}, who test" if seen else "")
        for arm in [arm for arm in arms if reason and PRETRAINED in get_arm(arm).sources]:
            arms.remove(arm)
            notes.append(f"The arm {arm} is left out: {reason}.")
    wanted = [settings.weights] if any(PRETRAINED in get_arm(arm).sources for arm in arms) else []
    begins = [] if settings.initial is None or str(settings.initial) == AUTO else [settings.initial]
    for weights in [*wanted, *begins]:
        if seen := _seen(weights, data, folds):
            using = [arm for arm in arms if PRETRAINED in get_arm(arm).sources]
            mend = f"leave {', '.join(using)} out of --arms" if weights in wanted else "leave --initial out"
            raise EmoaugError(
                f"{weights}: these weights were trained on {few(seen)}, who test; {mend}, or take other weights"
            )
    return arms, notes


def _check_label_counts(settings: GainSettings, data: GainData, folds: Sequence[Fold]) -> None:
    """EmoaugError where a number of labels a class is no limit, because no class has so many training faces."""
    labels = data.faces.label_indices()
    most = max(int(np.bincount(labels[fold.train]).max()) for fold in folds)
    for count in settings.label_counts:
        if count != "all" and count >= most > 0:
            raise EmoaugError(
                f"labels_per_class has {count}, and no class has more than {most} training faces; give fewer, or all"
            )


def _tested_people(data: GainData, folds: Sequence[Fold]) -> set[str]:
    """Who tests, where known."""
    tested = data.tested.table.subject.iloc[np.unique(np.concatenate([fold.test for fold in folds]))]
    return set(tested.dropna())


def _seen(weights: Path, data: GainData, folds: Sequence[Fold]) -> set[str]:
    """People who test and whom weights have seen, by their names."""
    return trained_people(read_config(weights)) & _tested_people(data, folds)


def run_gain(
    data: Path | FaceTable,
    out: Path,
    settings: GainSettings,
    test: FaceTable | None = None,
    engine: Engine | None = None,
) -> pd.DataFrame:
    """Run all trials that are not yet done.

    Args:
        data: an aligned dataset.
        out: folder for trials, systems, synthetic faces and the report; new, empty, or of the same run.
        settings: what to compare.
        test: another aligned dataset to test on, in the place of folds.
        engine: runs the trials on other machines, see `augment.engines.open_engine`; they must see the dataset and
            `out` under the same paths. By default they run on this machine.

    Returns:
        One row a trial, see `trial_table`.

    Raises:
        EmoaugError: data, settings or folder do not fit, or a training face, a synthetic face or a system has to do
            with a face that tests.
    """
    loaded = GainData.load(data if isinstance(data, FaceTable) else read_faces(data), test, settings.size)
    tell_size(loaded.pixels.shape[-1], settings.size)
    folds = loaded.folds(settings)
    unknown = [name for name in settings.synthetic_targets if name not in loaded.faces.vocabulary]
    if unknown:
        known = ", ".join(loaded.faces.vocabulary)
        raise EmoaugError(f"synthetic_targets has {', '.join(unknown)}; the faces show {known}")
    settings, begins = _begun(settings, loaded, [fold for _, fold in folds])
    job = Job(loaded, out, settings)
    if (settings.simulated_like or settings.rendered_beside) and loaded.blendshapes is None:
        raise EmoaugError("--simulated-like and --rendered-beside look at what emoaug align measures; align the faces")
    identity = _identity(settings, loaded)
    before = read_run(out, KIND)
    # A run that failed before it had made anything keeps nobody from mending the command.
    parts = [out / name for name in ("rendered", "systems", "synthetic", "trials")]
    if before is not None and any(path.is_file() for part in parts for path in part.rglob("*")):
        check_same_run(out, before, identity)
    for _, fold in folds:
        check_fold(fold, loaded)
    _check_label_counts(settings, loaded, [fold for _, fold in folds])
    arms, left_out = possible_arms(settings, loaded, [fold for _, fold in folds])
    caveats = unknown_people(loaded.tested)
    early = [*caveats, *begins, *left_out, *missing_classes(loaded, [fold for _, fold in folds])]
    for note in early:
        print(note)  # before the hours of work that it is about
    notes = [*loaded.notes, *early[len(caveats) :], *known_before(job, arms, folds[0][1], test is not None)]
    trials = [
        Trial(get_arm(name), fold, seed, labels)
        for labels in settings.label_counts
        for seed, fold in folds
        for name in arms
    ]
    with locked(out) as hold:
        remove_temporary_files(out)
        run = _run_entries(identity, loaded, folds) | {"caveats": caveats, "notes": notes}
        waiting = [trial for trial in trials if not job.result(trial).exists()]
        if waiting or not before or not before.get("finished"):
            write_run(out, KIND, run)
            write_text(out / "audit.json", json.dumps(audit(loaded.faces).to_json(), indent=1) + "\n", parents=False)
            _work(waiting, len(trials), job, hold, engine)
            write_run(out, KIND, run | {"finished": True, "notes": [*notes, *found_in(trials, job)]})
        rows = [read_json(job.result(trial)) for trial in trials]
    return trial_table(rows, loaded.faces.vocabulary)


def _work(waiting: list[Trial], trials: int, job: Job, hold: Hold, engine: Engine | None) -> None:
    """Run the trials that wait, of so many in all, and before them what they need."""
    # Arms of the same fold, seed and labels share their synthetic faces: these are made first, each set once.
    sets = {s.name: s for trial in waiting for part in job.sets(trial) for s in part}
    todo = [s for s in sets.values() if not s.done(job.out)]
    # A system that learns from measures needs no labels, so seeds and numbers of labels share it.
    systems = {s.system(job.out): s for s in todo if s.source.endswith(MEASURED)}
    _run_all("systems", _train_measured, list(systems.values()), len(systems), job, hold, engine)
    _run_all("synthetic faces", _make_set, todo, len(sets), job, hold, engine)
    _run_all("gain trials", _run_trial, waiting, trials, job, hold, engine)
    hold.check([f"trials/{job.result(trial).name}" for trial in waiting])


def trial_table(rows: list[dict[str, Any]], vocabulary: tuple[str, ...]) -> pd.DataFrame:
    """Trials as a table.

    Returns:
        One row a trial: arm, labels (a class, or "all"), fold, seed, train_faces, synthetic_faces, seconds (of the
        classifier), tuning_seconds, system_seconds (of its synthetic faces, also where arms share them), test_faces,
        accuracy, macro_f1, balanced_accuracy, calibration_error, recall_CLASS, and settings (JSON) that were chosen.
    """
    flat = []
    for row in rows:
        scores = row["scores"]
        names = ["arm", "labels", "fold", "seed", "train_faces", "synthetic_faces"]
        names += ["seconds", "tuning_seconds", "system_seconds"]
        flat.append(
            {k: row[k] for k in names}
            | {"test_faces": scores["count"]}
            | {k: scores[k] for k in ("accuracy", "macro_f1", "balanced_accuracy", "calibration_error")}
            | {f"recall_{c}": r for c, r in zip(vocabulary, scores["recall"], strict=True)}
            | {"settings": json.dumps(row["choice"]["settings"])}
        )
    return pd.DataFrame(flat)


def _identity(settings: GainSettings, data: GainData) -> dict[str, Any]:
    """All that decides the results."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(settings), default=str))
    del values["workers"]
    identity = {
        "settings": values,
        "vocabulary": list(data.faces.vocabulary),
        "faces": data.sha256(),
    }
    if any(PRETRAINED in get_arm(name).sources for name in settings.arms):
        identity |= {"weights": read_config(settings.weights)["weights_sha256"]}
    if settings.initial is not None:
        identity |= {"initial": _checked_initial(settings, data)["weights_sha256"]}
    return identity


def _run_entries(identity: dict[str, Any], data: GainData, folds: Sequence[tuple[int, Fold]]) -> dict[str, Any]:
    """What `run.json` says of a run that has begun; folds with their seeds."""
    return {
        "finished": False,
        "identity": identity,
        "vocabulary": list(data.faces.vocabulary),
        "units": _units(data),
        "folds": [
            {"number": fold.number, "seed": seed, "train": len(fold.train), "test": len(fold.test)}
            | {"sha256": data.fold_sha256(fold)}
            for seed, fold in folds
        ],
        "versions": {"emoaug": __version__, "torch": torch.__version__},
    }


def _begun(settings: GainSettings, data: GainData, folds: Sequence[Fold]) -> tuple[GainSettings, list[str]]:
    """The settings, with the weights that systems begin with where that was left to us, and a sentence on these."""
    if str(settings.initial) != AUTO:
        return settings, []
    sources = {source for name in settings.arms for source in get_arm(name).sources}
    for system in SYSTEMS:
        # One that learns from measures as well would begin with weights of labels there.
        if system in sources and system + MEASURED not in sources:
            own = replace(get_system(system).configurations["compact"], size=data.pixels.shape[-1])
            initial, said = package_weights(system, own, data.faces.vocabulary, _tested_people(data, folds))
            if said:
                return replace(settings, initial=initial), [f"System {said}."]
    return replace(settings, initial=None), []


def _checked_initial(settings: GainSettings, data: GainData) -> dict[str, Any]:
    """The configuration of the weights that systems begin with.

    Raises:
        EmoaugError: no arm trains their system, or their networks are others.
    """
    assert settings.initial is not None
    config = read_config(settings.initial)
    system = config["system"]
    if not any(system == source.removesuffix(MEASURED) for arm in settings.arms for source in get_arm(arm).sources):
        raise EmoaugError(
            f"--initial {settings.initial} holds weights of {system}, and no arm trains it; add {system} to --arms, or "
            "leave --initial out (arm pretrained takes --weights)"
        )
    own = replace(get_system(system).configurations["compact"], size=data.pixels.shape[-1])
    check_initial(settings.initial, own, data.faces.vocabulary)
    return config


def _units(data: GainData) -> str:
    """What the groups of test faces are, in a word."""
    unknown = data.tested.table.subject.isna()
    return "pictures" if unknown.all() else "people and pictures of nobody named" if unknown.any() else "people"


def _train_measured(wanted: SyntheticSet, job: Job) -> None:
    train_measured(wanted, job.data, job.out, job.settings)


def _make_set(wanted: SyntheticSet, job: Job) -> None:
    make_synthetic(wanted, job.data, job.out, job.settings)


def _run_trial(trial: Trial, job: Job) -> None:
    """Train and test one classifier, and write its scores and its probabilities."""
    data, settings, fold = job.data, job.settings, trial.fold
    rows = data.labelled(fold, trial.labels, trial.seed)
    check_fold(fold, data)
    check_pixels(data.pixels[rows], data.tested_pixels[fold.test], f"fold {fold.number}, its training faces")
    whole, apart = job.sets(trial)
    extras, system_seconds = _read_sets(whole, job)
    began = time.monotonic()
    tuning_extras, tuning_systems = _read_sets(apart, job)
    choice = choose(trial.arm, data, job.validation(trial), tuning_extras, fold, trial.seed, settings)
    tuning_seconds = time.monotonic() - began + tuning_systems
    began = time.monotonic()
    probabilities = fit(trial.arm, data, rows, extras, choice.chosen, fold, trial.seed, settings)
    labels = data.tested.label_indices()[fold.test]
    scores = evaluate(probabilities, labels, len(data.faces.vocabulary))
    made = np.concatenate([np.zeros(0, dtype=np.int64), *(classes for _, classes in extras)])
    units, packed = data.tested_groups[fold.test], io.BytesIO()
    np.savez(packed, probabilities=probabilities, rows=fold.test, labels=labels, units=units)
    write_bytes(job.result(trial).with_suffix(".npz"), packed.getvalue(), parents=False)
    result = {
        "arm": trial.arm.name,
        "labels": str(trial.labels),
        "fold": fold.number,
        "seed": trial.seed,
        "fold_sha256": data.fold_sha256(fold),
        "train_faces": len(rows),
        "synthetic_faces": len(made),
        "seconds": round(time.monotonic() - began, 2),
        "tuning_seconds": round(tuning_seconds, 2),
        "system_seconds": round(system_seconds, 2),
        "choice": choice.to_dict(),
        "synthetic_first": synthetic_first(made, data.faces.label_indices()[rows], settings),
        "scores": scores.to_dict(),
    }
    write_text(job.result(trial), json.dumps(result) + "\n", parents=False)


def _read_sets(sets: Sequence[SyntheticSet], job: Job) -> tuple[list[Extra], float]:
    """Synthetic faces and the seconds that making them took."""
    read = [read_synthetic(wanted, job.data, job.out, job.settings) for wanted in sets]
    return [(faces, labels) for faces, labels, _ in read], sum(seconds for *_, seconds in read)


def _run_all(
    name: str,
    run: Callable[[Any, Job], None],
    tasks: Sequence[Any],
    count: int,
    job: Job,
    hold: Hold,
    engine: Engine | None,
) -> None:
    """Run tasks, on the CPU several at a time in processes of one thread each.

    Networks this small gain little from a second thread, and one thread always gives the same numbers.
    """
    one_card = engine is None and choose_device(job.settings.training.device) != "cpu"
    with tqdm(total=count, initial=count - len(tasks), desc=name, disable=bar_hidden(count > 0)) as bar:

        def noted(_: Any, __: None) -> None:
            hold.check()
            bar.update()

        (engine or do_all)(tasks, 1 if one_card else job.settings.workers, partial(_runner, run, job), noted)


def _runner(run: Callable[[Any, Job], None], job: Job) -> Callable[[Any], None]:
    """Keep what every task needs, once a process, and give what runs one."""
    on_cpu = choose_device(job.settings.training.device) == "cpu"
    for path in (job.out / LOCK, job.data.faces.root):
        if not path.exists():
            raise EmoaugError(
                f"{socket.gethostname()} does not see {path.absolute()}; put dataset and result where every machine "
                "sees them under the same path"
            )

    def run_one(task: Any) -> None:
        with one_thread() if on_cpu else nullcontext():
            run(task, job)

    return run_one
