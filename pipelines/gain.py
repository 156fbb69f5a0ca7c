"""Train the same classifier with and without synthetic faces, over folds and seeds, and keep every trial as a file."""

from __future__ import annotations

import io
import json
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tqdm import tqdm

from augment.action_units import PROTOTYPES
from augment.checkpoints import read_config
from augment.devices import choose_device, one_thread
from augment.folders import FaceTable, read_faces
from augment.pictures import write_bytes, write_text
from augment.runs import LOCK, Hold, check_same_run, locked, read_json, read_run, remove_temporary_files, write_run
from augment.training_log import doubt
from augment.workers import Engine, do_all
from classifiers.evaluation import evaluate
from emoaug import EmoaugError, __version__, bar_hidden
from pipelines.arms import GEOMETRY, MEASURED, PRETRAINED, REFINED, SIMULATED, get_arm
from pipelines.audit import audit
from pipelines.fitting import Extra, choose, fit, synthetic_first
from pipelines.gain_data import GainData
from pipelines.leaks import check_fold, check_pixels, few, trained_people
from pipelines.splits import Fold, validation_split
from pipelines.synthetic import SyntheticSet, make_synthetic, read_synthetic, train_measured
from pipelines.trials import DEFAULT_ARMS, GainSettings, Trial, trial_name

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
        known = set(PROTOTYPES) & set(read_config(settings.weights)["condition_names"])
        unknown = [name for name in data.faces.vocabulary if name not in known]
        seen = _seen(settings.weights, data, folds)
        reason = f"it does not know how {', '.join(unknown)} looks" if unknown else ""
        reason = reason or (f"its weights were trained on {few(seen)}, who test" if seen else "")
        for arm in [arm for arm in arms if reason and PRETRAINED in get_arm(arm).sources]:
            arms.remove(arm)
            notes.append(f"The arm {arm} is left out: {reason}.")
    wanted = [settings.weights] if any(PRETRAINED in get_arm(arm).sources for arm in arms) else []
    for weights in [*wanted, *([settings.initial] if settings.initial else [])]:
        if seen := _seen(weights, data, folds):
            raise EmoaugError(f"{weights}: these weights were trained on {few(seen)}, who test; take others")
    return arms, notes


def _seen(weights: Path, data: GainData, folds: Sequence[Fold]) -> set[str]:
    """People who test and whom weights have seen, by their names."""
    tested = data.tested.table.subject.iloc[np.unique(np.concatenate([fold.test for fold in folds]))]
    return trained_people(read_config(weights)) & set(tested.dropna())


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
    job = _Job(loaded, out, settings)
    identity = {
        "settings": {k: v for k, v in json.loads(json.dumps(asdict(settings), default=str)).items() if k != "workers"},
        "vocabulary": list(loaded.faces.vocabulary),
        "faces": loaded.sha256(),
    }
    if any(PRETRAINED in get_arm(name).sources for name in settings.arms):
        identity |= {"weights": read_config(settings.weights)["weights_sha256"]}
    if settings.initial is not None:
        identity |= {"initial": _checked_initial(settings)["weights_sha256"]}
    before = read_run(out, KIND)
    # A run that failed before it had made anything keeps nobody from mending the command.
    parts = [out / name for name in ("rendered", "systems", "synthetic", "trials")]
    if before is not None and any(path.is_file() for part in parts for path in part.rglob("*")):
        check_same_run(out, before, identity)
    folds = loaded.folds(settings)
    for _, fold in folds:
        check_fold(fold, loaded)
    arms, left_out = possible_arms(settings, loaded, [fold for _, fold in folds])
    notes = [*loaded.notes, *left_out, *_notes(settings, loaded, arms, folds[0][1], test is not None)]
    trials = [
        Trial(get_arm(name), fold, seed, labels)
        for labels in settings.label_counts
        for seed, fold in folds
        for name in arms
    ]
    with locked(out) as hold:
        remove_temporary_files(out)
        run = {
            "finished": False,
            "identity": identity,
            "vocabulary": list(loaded.faces.vocabulary),
            "notes": notes,
            "units": _units(loaded),
            "folds": [
                {"number": f.number, "seed": s, "train": len(f.train), "test": len(f.test)}
                | {"sha256": loaded.fold_sha256(f)}
                for s, f in folds
            ],
            "versions": {"emoaug": __version__, "torch": torch.__version__},
        }
        waiting = [trial for trial in trials if not _result(out, trial).exists()]
        if waiting or not before or not before.get("finished"):
            write_run(out, KIND, run)
            write_text(out / "audit.json", json.dumps(audit(loaded.faces).to_json(), indent=1) + "\n", parents=False)
            # Arms of the same fold, seed and labels share their synthetic faces: these are made first, each set once.
            sets = {s.name: s for trial in waiting for part in job.sets(trial) for s in part}
            todo = [s for s in sets.values() if not s.done(out)]
            # A system that learns from measures needs no labels, so seeds and numbers of labels share it.
            systems = {s.system(out): s for s in todo if s.source.endswith(MEASURED)}
            _run_all("systems", _train_measured, list(systems.values()), len(systems), job, hold, engine)
            _run_all("synthetic faces", _make_set, todo, len(sets), job, hold, engine)
            _run_all("gain trials", _run_trial, waiting, len(trials), job, hold, engine)
            hold.check([f"trials/{_result(out, trial).name}" for trial in waiting])
            found = [*_kept(trials, job), *_too_few(trials, job), *_doubts(trials, job)]
            write_run(out, KIND, run | {"finished": True, "notes": [*notes, *found]})
        rows = [read_json(_result(out, trial)) for trial in trials]
    return trial_table(rows, loaded.faces.vocabulary)


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


def _notes(settings: GainSettings, data: GainData, arms: Sequence[str], fold: Fold, elsewhere: bool) -> list[str]:
    """What a reader of the result should know, a sentence each; `elsewhere` is whether another dataset tests."""
    notes = []
    if not data.aligned:
        notes.append(
            "The faces are not aligned, so the recipe classical moves them four times as far as it would aligned ones; "
            "classifiers need fewer labels for faces from emoaug align."
        )
    notes += filter(None, [data.left_out(fold, settings)])
    if any(PRETRAINED in get_arm(name).sources for name in arms):
        notes.append(
            f"The arm pretrained takes weights ({settings.weights}) that were trained elsewhere: whether faces that "
            "test were among what they learnt from cannot be seen here beyond their people's names."
        )
    once = [arm for arm in arms if any(source.endswith(MEASURED) for source in get_arm(arm).sources)]
    if once and (settings.test_split or elsewhere):
        notes.append(
            f"The system of {', '.join(once)} is trained once, whatever the seed, as it sees the same faces: intervals "
            "do not allow for another training of it."
        )
    if settings.initial is not None:
        notes.append(
            f"Systems of their kind begin with weights ({settings.initial}) that were trained elsewhere: whether faces "
            "that test were among what they learnt from cannot be seen here beyond their people's names."
        )
    return notes


def _kept(trials: Sequence[Trial], job: _Job) -> list[str]:
    """How many of the faces that were made are learnt from, a sentence for each source of which some are not."""
    sets = {part.name: part for trial in trials for part in job.sets(trial)[0]}
    sentences = []
    for source in sorted({part.source for part in sets.values()}):
        paths = [part.record(job.out) for part in sets.values() if part.source == source]
        # Those of finished trials may have been cleared away.
        records = [read_json(path) for path in paths if path.is_file()]
        made, kept = sum(record["faces"] for record in records), sum(len(record["kept"]) for record in records)
        if kept < made:
            empty = sum(not record["kept"] for record in records)
            sentences.append(
                f"Of {made:,} faces of {source}, a classifier of the labelled faces sees {kept:,} as what they are "
                "labelled; the others are left out (--synthetic-kept all keeps them)."
                + f" None is left in {empty} of {len(records)} sets, whose arms learn without."
                * (empty > 0)
            )
    return sentences


def _too_few(trials: Sequence[Trial], job: _Job) -> list[str]:
    """In how many trials synthetic faces were too few to come first, a sentence for each arm that has such."""
    sentences = []
    for arm in dict.fromkeys(trial.arm for trial in trials if trial.arm.sources and job.settings.synthetic_first):
        rows = [read_json(_result(job.out, trial)) for trial in trials if trial.arm == arm]
        few_faces = sum(row["synthetic_faces"] > 0 and not row["synthetic_first"] for row in rows)
        if few_faces:
            sentences.append(
                f"In {few_faces} of {len(rows)} trials of {arm.name} synthetic faces were too few, or too few of a "
                "class, to be shown alone at first; they are a part of every batch there."
            )
    return sentences


def _doubts(trials: Sequence[Trial], job: _Job) -> list[str]:
    """Which trainings of systems ended in a doubt of what they make, a sentence for each system."""
    names, sentences = job.data.faces.vocabulary, []
    runs = {(part.source, part.system(job.out)) for trial in trials for part in job.sets(trial)[0]}
    for source in sorted({source for source, _ in runs}):
        logs = [run / "log.jsonl" for kind, run in sorted(runs) if kind == source]
        # Neither strengths nor refined faces are labelled by what was asked of the system.
        labelled = not source.endswith(MEASURED) and source != REFINED
        reasons = [doubt(log, names) for log in logs if labelled and log.is_file()]
        found = [reason for reason in reasons if reason is not None]
        if found:
            sentences.append(
                f"Of {source}, {len(found)} of {len(reasons)} trainings ended in a doubt, such as: {found[0]}. A copy "
                "that is labelled as something else is a wrong label; look at the samples, and train for longer."
            )
    return sentences


def _checked_initial(settings: GainSettings) -> dict[str, Any]:
    """The configuration of the weights that systems begin with.

    Raises:
        EmoaugError: no arm trains their system.
    """
    config = read_config(settings.initial or "")
    system = config["system"]
    if not any(system == source.removesuffix(MEASURED) for arm in settings.arms for source in get_arm(arm).sources):
        raise EmoaugError(
            f"--initial {settings.initial} holds weights of {system}, and no arm trains it; add {system} to --arms, or "
            "leave --initial out (arm pretrained takes --weights)"
        )
    return config


def _units(data: GainData) -> str:
    """What the groups of test faces are, in a word."""
    unknown = data.tested.table.subject.isna()
    return "pictures" if unknown.all() else "people and pictures of nobody named" if unknown.any() else "people"


@dataclass(frozen=True, eq=False)
class _Job:
    """What every task needs."""

    data: GainData
    out: Path
    settings: GainSettings

    def validation(self, trial: Trial) -> tuple[np.ndarray, np.ndarray] | None:
        """Labelled training faces to train on and to choose settings on; None if nothing is chosen."""
        if self.settings.tuning == "none":
            return None
        rows = self.data.labelled(trial.fold, trial.labels, trial.seed)
        return validation_split(self.data.faces, self.data.groups, rows, trial.seed)

    def sets(self, trial: Trial) -> tuple[list[SyntheticSet], list[SyntheticSet]]:
        """The synthetic faces that a trial trains with, and those that know nothing of its validation faces."""
        rows = self.data.labelled(trial.fold, trial.labels, trial.seed)
        none = np.zeros(0, dtype=np.int64)
        rest = np.setdiff1d(trial.fold.train, rows) if self.settings.unlabelled == "all" else none
        split = self.validation(trial)

        def wanted(source: str, train: np.ndarray, unlabelled: np.ndarray, held_out: np.ndarray) -> SyntheticSet:
            what = f"{source}-tuning" if len(held_out) else source
            name = trial_name(trial.fold.number, trial.seed, trial.labels, what)
            if source == SIMULATED and self.settings.simulated_expressions == "prototypes":
                # Rendered from the seed and the names of the classes alone, so that trials of one seed share them.
                shown = np.unique(self.data.faces.label_indices()[train])
                name = f"seed{trial.seed}-{'-'.join(map(str, shown))}-{source}"
            return SyntheticSet(name, source, trial.seed, train, unlabelled, held_out, trial.fold.test)

        whole = [wanted(source, rows, rest, none) for source in trial.arm.sources]
        if split is None:
            return whole, []
        train, held_out = split
        apart = rest[~np.isin(self.data.groups[rest], self.data.groups[held_out])]
        return whole, [wanted(source, train, apart, held_out) for source in trial.arm.sources]


def _result(out: Path, trial: Trial) -> Path:
    return out / "trials" / f"{trial.name}.json"


def _train_measured(wanted: SyntheticSet, job: _Job) -> None:
    train_measured(wanted, job.data, job.out, job.settings)


def _make_set(wanted: SyntheticSet, job: _Job) -> None:
    make_synthetic(wanted, job.data, job.out, job.settings)


def _run_trial(trial: Trial, job: _Job) -> None:
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
    write_bytes(_result(job.out, trial).with_suffix(".npz"), packed.getvalue(), parents=False)
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
    write_text(_result(job.out, trial), json.dumps(result) + "\n", parents=False)


def _read_sets(sets: Sequence[SyntheticSet], job: _Job) -> tuple[list[Extra], float]:
    """Synthetic faces and the seconds that making them took."""
    read = [read_synthetic(wanted, job.data, job.out, job.settings) for wanted in sets]
    return [(faces, labels) for faces, labels, _ in read], sum(seconds for *_, seconds in read)


def _run_all(
    name: str,
    run: Callable[[Any, _Job], None],
    tasks: Sequence[Any],
    count: int,
    job: _Job,
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


def _runner(run: Callable[[Any, _Job], None], job: _Job) -> Callable[[Any], None]:
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
