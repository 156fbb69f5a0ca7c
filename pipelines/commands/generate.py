"""`emoaug generate`: make a bigger dataset."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from augment.checkpoints import is_finished, load_translator, never_shown, read_config
from augment.engines import EngineSettings, open_engine
from augment.exemplar_plans import ExemplarSettings, suitable_plan
from augment.expressions import known_as
from augment.generation import GenerateSettings, generate
from augment.intensities import IntensityScale
from augment.plans import PlanSettings, check_known, distinct
from augment.scoring.folder import ScoreSettings
from augment.scoring.rules import read_rules
from emoaug import EmoaugError, words
from pipelines.commands.datasets import DatasetOptions, open_dataset, tell_frames
from pipelines.judges import JudgeSettings, score_and_filter


@dataclass(frozen=True)
class Options:
    """Write a dataset folder with real and new faces, each with its provenance; a stopped run goes on.

    With weights whose conditions are measured, or of a system that recombines faces (ip-gan), every new face takes the
    expression of a labelled face, its exemplar.
    """

    data: Path
    """Folder of aligned faces."""
    out: Path
    """Folder to write."""
    weights: Path
    """Run folder of `emoaug train`, or its checkpoint; or `default`, the weights that come with the package."""
    plan: Annotated[PlanSettings, tyro.conf.arg(name="")] = field(default_factory=PlanSettings)
    exemplars: Annotated[ExemplarSettings, tyro.conf.arg(name="")] = field(default_factory=ExemplarSettings)
    settings: Annotated[GenerateSettings, tyro.conf.arg(name="")] = field(default_factory=GenerateSettings)
    engine: Annotated[EngineSettings, tyro.conf.arg(name="")] = field(default_factory=EngineSettings)
    filter: tuple[str, ...] = ()
    """Score the faces and reject those that fail a rule: lenient, strict, a file with one rule a line, or rules, as in
    emoaug score."""
    scoring: Annotated[ScoreSettings, tyro.conf.arg(name="scoring")] = field(default_factory=ScoreSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    reading: Annotated[DatasetOptions, tyro.conf.arg(name="")] = field(default_factory=DatasetOptions)


def run(options: Options) -> None:
    """Plan, make the faces, judge them if asked, and say what came of it."""
    rules = read_rules(options.filter) if options.filter else ()
    for name, policy in (("factor", "multiply"), ("count", "per-class")):
        if options.plan.policy != policy and getattr(options.plan, name) != getattr(PlanSettings, name):
            raise EmoaugError(f"--{name} is for --policy {policy}, and the policy is {options.plan.policy}")
    translator = load_translator(options.weights)
    config = read_config(options.weights)
    scale = IntensityScale.from_config(config)
    # Whoever takes the expressions of others, or takes any, needs no label.
    unlabelled = scale is not None or translator.takes_exemplars
    if not is_finished(options.weights):
        print(f"{options.weights}: its training is not finished; the same emoaug train goes on with it")
    elif reason := config["extra"].get("doubt"):
        print(f"{options.weights}: its training ended in a doubt: {reason}; look at its samples before using it")
    faces = open_dataset(options.data, options.reading, unlabelled=True)
    tell_frames(faces)
    labelled = faces.table["label"].notna().to_numpy(dtype=bool)
    if not unlabelled and (options.exemplars.sources or ("labelled" if labelled.any() else "all")) == "labelled":
        if not labelled.any():
            raise EmoaugError(f"{options.data}: no face has a label; take all as sources, with --sources all")
        faces = faces.select(labelled)
    shown = [name not in never_shown(config) for name in translator.condition_names]
    translator.speak(faces.vocabulary)
    learned = tuple(name for name, known in zip(translator.condition_names, shown, strict=True) if known)
    beyond: list[str] = []
    if labelled.any() and not unlabelled and not set(learned) & set(faces.vocabulary):
        check_known(faces.table["label"][labelled].to_numpy(dtype=object), learned)
    if len(faces.vocabulary) > 1:
        # Weights from elsewhere may know more; --vocabulary asks for it.
        beyond = [name for name in learned if name not in faces.vocabulary]
        learned = tuple(name for name in learned if name in faces.vocabulary)
    if not labelled.any() and not unlabelled:
        if options.plan.policy != "per-class":
            raise EmoaugError(
                f"{options.data}: no face has a label, so there are no classes to {options.plan.policy}; say how many "
                "faces of each: --policy per-class --count 500"
            )
        faces = replace(faces, vocabulary=learned)
    settings = replace(options.plan, targets=tuple(words(options.plan.targets)))
    missing = [name for name in settings.targets if name in beyond]
    if missing and not unlabelled:
        raise EmoaugError(
            f"targets name {', '.join(missing)}, which the weights know and the dataset does not; say that it may have "
            f"them: --vocabulary {','.join([*faces.vocabulary, *missing])}"
        )
    plan = suitable_plan(faces, translator, learned, settings, scale, options.exemplars)
    if settings.strength[0] < 0.5:
        print("below a strength of 0.5 a face shows more of its source's expression than of its label")
    for name, share in config["extra"].get("seldom_seen", {}).items():
        if any(known_as(name, (target,)) for target in plan["target"].unique()):
            print(f"{options.weights}: strangers asked to show {name} are seen so in {share:.0%}; look at the sheet")
    asked, plan = len(plan), distinct(plan)
    if len(plan) < asked:
        varies = settings.strength[0] == 1 and bool(labelled.all()) and not translator.takes_exemplars
        print(
            f"{len(plan):,} of {asked:,} faces are made: sources are few, and the others would be copies of these"
            + "; a range of --strength, such as 0.6 1, makes others" * varies
        )
    provenance = {"weights": str(options.weights)}
    with open_engine(options.engine, options.settings.device) as engine:
        print(generate(faces, translator, plan, options.out, options.settings, provenance, engine))
    if plan.empty:
        balanced = "nothing was missing: no class that was asked for is smaller than the largest"
        reason = balanced if settings.policy == "balance" else "no face was asked for"
        print(f"{reason}; --policy multiply --factor 1 makes each class twice as large")
    if rules:
        print(score_and_filter(options.out, faces, None, options.judge, options.scoring, rules))
