"""What a reader of a gain report should know beside the numbers, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

from augment.checkpoints import read_config
from augment.expressions import known_as
from augment.runs import read_json
from augment.training_log import doubt
from pipelines.arms import MEASURED, PRETRAINED, REFINED, get_arm
from pipelines.gain_data import GainData
from pipelines.gain_job import Job
from pipelines.splits import Fold
from pipelines.trials import Trial


def missing_classes(data: GainData, folds: Sequence[Fold]) -> list[str]:
    """Which expressions some folds do not learn, or only some test: one sentence, or none."""
    learnt = [set(data.faces.label_indices()[fold.train]) for fold in folds]
    tested = [set(data.tested.label_indices()[fold.test]) for fold in folds]
    found = []
    for i, name in enumerate(data.faces.vocabulary):
        unlearnt, untested = (sum(i not in seen for seen in sides) for sides in (learnt, tested))
        if unlearnt or 0 < untested < len(folds):
            found.append(f"{name} is not learnt in {unlearnt} and not tested in {untested} of {len(folds)} folds")
    if not found:
        return []
    return [
        f"Too few faces: {', '.join(found)}. Macro F1 is of the classes that a fold tests, so their folds measure "
        "different things; leave such a class out, or use fewer folds."
    ]


def known_before(job: Job, arms: Sequence[str], fold: Fold, elsewhere: bool) -> list[str]:
    """What a reader of the result should know before anything is trained, a sentence each.

    Args:
        job: the run.
        arms: what is compared.
        fold: any of its folds.
        elsewhere: whether another dataset tests.
    """
    data, settings, notes = job.data, job.settings, []
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
        known = tuple(read_config(settings.weights)["condition_names"])
        unknown = [name for name in data.faces.vocabulary if known_as(name, known) is None]
        if unknown:
            notes.append(f"They know no {', '.join(unknown)}: pretrained has no faces of it.")
    once = [arm for arm in arms if any(source.endswith(MEASURED) for source in get_arm(arm).sources)]
    if once and (settings.test_split or elsewhere):
        notes.append(
            f"The system of {', '.join(once)} is trained once, whatever the seed, as it sees the same faces: intervals "
            "do not allow for another training of it."
        )
    if settings.rendered_beside:
        notes.append(
            f"Systems also learn from {settings.rendered_beside:,} rendered faces of each expression, made like the "
            "trial's training faces, beside these."
        )
    if settings.simulated_typical:
        notes.append(
            f"Of the rendered faces {settings.simulated_typical:.0%} show an expression in the one way that is "
            "recognised most surely."
        )
    if settings.simulated_like:
        notes.append("Rendered faces are held, lit and photographed like the trial's labelled training faces.")
    if settings.initial is not None:
        notes.append(
            f"Systems of the kind of the weights {settings.initial} begin with these, which were trained elsewhere: "
            "whether faces that test were among what they learnt from cannot be seen beyond their people's names."
        )
    return notes


def found_in(trials: Sequence[Trial], job: Job) -> list[str]:
    """What a reader should know of the synthetic faces of finished trials, a sentence each."""
    return [*_kept(trials, job), *_too_few(trials, job), *_doubts(trials, job)]


def _kept(trials: Sequence[Trial], job: Job) -> list[str]:
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


def _too_few(trials: Sequence[Trial], job: Job) -> list[str]:
    """In how many trials synthetic faces were too few to come first, a sentence for each arm that has such."""
    sentences = []
    for arm in dict.fromkeys(trial.arm for trial in trials if trial.arm.sources and job.settings.synthetic_first):
        rows = [read_json(job.result(trial)) for trial in trials if trial.arm == arm]
        few_faces = sum(row["synthetic_faces"] > 0 and not row["synthetic_first"] for row in rows)
        if few_faces:
            sentences.append(
                f"In {few_faces} of {len(rows)} trials of {arm.name} synthetic faces were too few, or too few of a "
                "class, to be shown alone at first; they are a part of every batch there."
            )
    return sentences


def _doubts(trials: Sequence[Trial], job: Job) -> list[str]:
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
