"""What a gain run compares, and how often."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from augment.checkpoints import DEFAULT
from augment.plans import PlanSettings
from augment.simulation.scenes import SceneSettings
from augment.systems import SYSTEMS
from augment.training import TrainingSettings
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError, check_least, words
from pipelines.arms import GEOMETRY, OVERSAMPLE, PRETRAINED, REFINED, SHUFFLED, SIMULATED, Arm, get_arm
from pipelines.beginning import AUTO, NOTHING
from pipelines.splits import Fold

Labels = int | Literal["all"]
"""Labelled training faces of each class."""


DEFAULT_ARMS = ("real", "classical", "lssl", f"{SIMULATED}+{PRETRAINED}", GEOMETRY, SHUFFLED)
"""What is compared where nothing else is asked for: both baselines, a system trained on the spot, what helped most with
few labels, and two references."""

_LEAST_FACTOR, _MOST_FACTOR, _ENOUGH = 3.0, 24.0, 16_800.0
"""Bounds of `synthetic_factor`, and how many faces are enough: as many as were tried, see benchmarks/gain."""


@dataclass(frozen=True)
class GainSettings:
    """What is compared, and how often."""

    arms: tuple[str, ...] = DEFAULT_ARMS
    """Training recipes, with commas or spaces. Pictures: real (as they are), classical, randaugment, trivialaugment;
    mixed: mixup, cutmix; drawn by class: oversample; with synthetic faces: a system, a system with -measured,
    pretrained, simulated, or refined. Joined by + they work together (mixup+lssl); what is not named is as in
    classical. Alone: geometry, a linear model on blendshapes, and shuffled, with labels in random order, which must
    not beat chance. The default leaves out what a dataset cannot have."""
    folds: int = 4
    """Folds that no person crosses; of no account with --test-split or --test."""
    test_split: Literal["val", "test"] | None = None
    """Train on the dataset's own train split and test on this one, in place of folds. With --test: the split of that
    dataset to test on."""
    seeds: int = 3
    """Trials of each arm in each fold, from seed 0 on."""
    labels_per_class: tuple[str, ...] = ("all",)
    """Labelled training faces of each class, drawn by the seed; several, such as 5,25,100,all, give a curve."""
    unlabelled: Literal["all", "none"] = "all"
    """Whether the training faces beyond these are used without their labels, by what can: pretrained, refined, and
    systems with -measured."""
    weights: Path = Path(DEFAULT)
    """Checkpoint that makes the faces of the arm pretrained; by default the weights that come with the package. What
    it was trained on is for you to know: no face that tests may be among it."""
    initial: Path | None = Path(AUTO)
    """Checkpoint that training begins with in the arms of its system, such as default (lssl), or none. auto does as
    emoaug train: it takes the package's weights where they suit and saw nobody who tests, for systems that learn from
    labels. As for weights, what it was trained on is for you to know."""
    rendered_beside: int = 0
    """Rendered faces of each class, like the training faces, that systems learn from beside these (`train --also`); for
    small sets of faces that are hard to read. Not for those with -measured."""
    tuning: Literal["none", "small"] = "none"
    """small chooses, for every arm and trial, the best of 4 candidates on a quarter of the training people: learning
    rates, and shares of synthetic faces where there are any. Takes 3 to 4 times as long."""
    synthetic_factor: float | None = None
    """Synthetic faces to make for each real training face, over all classes, as many of every class; by default 24, and
    as many as make 16,800 faces where more than 700 are real, but 3 at least. No face is made twice, so they are fewer
    where sources are few. `synthetic_kept` says which are learnt from."""
    synthetic_targets: tuple[str, ...] = ()
    """Expressions that synthetic faces show, such as a rare one, with a small `synthetic_share`; by default all that
    the labelled training faces show."""
    synthetic_share: float = 0.2
    """Share of a batch that is synthetic, in arms that have synthetic faces, after `synthetic_first`; less where so few
    are there that each would be seen more often than a real face."""
    synthetic_first: float = 0.5
    """Share of a classifier's steps, at the beginning, that see synthetic faces alone; none where these are fewer than
    the real ones, or their rarest class is rarer."""
    synthetic_kept: Literal["seen", "all"] = "seen"
    """Which of the faces made by a system, or by weights, a classifier learns from: those that another one, of the
    labelled training faces, sees as what they are labelled, or all. Rendered faces are all kept."""
    simulated_per_class: int = 400
    """Rendered faces of each class, in the arms simulated and refined."""
    simulated_expressions: Literal["measured", "prototypes"] = "prototypes"
    """Where rendered expressions come from: published action units, or what MediaPipe measured on the labelled training
    faces."""
    simulated_intensity: tuple[float, float] = (1.0, 1.4)
    """Strength of the faintest and the strongest of the former, 1 for a full expression."""
    simulated_typical: float = 0.0
    """Share of them, 0 to 1, that show an expression in the one way that is recognised most surely (`simulate
    --typical`)."""
    simulated_like: bool = False
    """Whether rendered faces are held, lit and photographed like the labelled training faces (`simulate --like`)."""
    face_model: Path | None = None
    """Face model of the rendered faces, as for `emoaug simulate`."""
    size: int | None = None
    """Side of the faces, pixels; by default the dataset's own."""
    workers: int = 0
    """Trials at a time on the CPU, or on a cluster; 0 for one a core. The results do not depend on it."""
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(steps=2000))
    """How a system is trained; its seed is the trial's."""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    """How a classifier is trained; its recipe and mixing are the arm's."""

    def __post_init__(self) -> None:
        if str(self.initial) == NOTHING:
            object.__setattr__(self, "initial", None)
        object.__setattr__(self, "arms", tuple(words(self.arms)))
        object.__setattr__(self, "labels_per_class", tuple(words(self.labels_per_class)))
        object.__setattr__(self, "synthetic_targets", tuple(words(self.synthetic_targets)))
        if self.folds < 2 or self.seeds < 1:
            raise EmoaugError(
                f"folds is {self.folds} and seeds {self.seeds}; folds are 2 or more (the dataset's own split is "
                "--test-split test), seeds 1 or more"
            )
        if len(set(self.arms)) != len(self.arms) or not self.arms:
            raise EmoaugError(f"arms are {', '.join(self.arms)}; name each once")
        if any(get_arm(name).oversample for name in self.arms) and self.classifier.class_balanced:
            raise EmoaugError(
                f"{OVERSAMPLE} has nothing to add while every arm draws all classes equally often; with "
                "--classifier.no-class-balanced the other arms draw all faces equally often"
            )
        # Raises where they make no sense.
        SceneSettings(intensity=self.simulated_intensity, typical=self.simulated_typical)
        check_least(self, 1, "simulated_per_class")
        check_least(self, 0, "rendered_beside")
        sources = {source for name in self.arms for source in get_arm(name).sources}
        if self.rendered_beside and not sources & set(SYSTEMS):
            raise EmoaugError("--rendered-beside is for arms that train a system on labels; name one, such as lssl")
        if self.synthetic_targets and (not sources or REFINED in sources):
            raise EmoaugError(
                "--synthetic-targets is for arms with synthetic faces, and not for refined, which learns from all "
                "expressions; name such arms alone"
            )
        rendered = sources & {SIMULATED, REFINED} and self.simulated_expressions == "prototypes"
        if self.simulated_typical and not rendered:
            raise EmoaugError(
                f"--simulated-typical is for the arms {SIMULATED} and {REFINED} with expressions of published action "
                "units; leave it out"
            )
        if self.simulated_like and not sources & {SIMULATED, REFINED}:
            raise EmoaugError(f"--simulated-like is for the arms {SIMULATED} and {REFINED}; name one")
        if len(set(self.label_counts)) != len(self.labels_per_class) or not self.labels_per_class:
            raise EmoaugError(f"labels_per_class is {','.join(self.labels_per_class)}; name each number once")
        if self.synthetic_factor is not None and not 0 < self.synthetic_factor < math.inf:
            raise EmoaugError(f"synthetic_factor is {self.synthetic_factor}; it is a number above 0")
        if not 0 < self.synthetic_share < 1:
            raise EmoaugError(f"synthetic_share is {self.synthetic_share}; it is between 0 and 1")
        if not 0 <= self.synthetic_first < 1:
            raise EmoaugError(f"synthetic_first is {self.synthetic_first}; it is 0 or more and below 1")

    def plan(self, real: int, classes: int, seed: int) -> PlanSettings:
        """What a system makes for so many real training faces of so many classes."""
        factor = self.synthetic_factor or min(_MOST_FACTOR, max(_LEAST_FACTOR, _ENOUGH / max(1, real)))
        count = max(1, round(factor * real / classes))
        return PlanSettings("per-class", count=count, targets=self.synthetic_targets, seed=seed)

    @property
    def label_counts(self) -> tuple[Labels, ...]:
        """`labels_per_class` as numbers."""
        counts: list[Labels] = []
        for text in self.labels_per_class:
            if text != "all" and not (text.isdecimal() and int(text) > 0):
                raise EmoaugError(f'labels_per_class has "{text}"; it is 1 or more, or all')
            counts.append("all" if text == "all" else int(text))
        return tuple(counts)


@dataclass(frozen=True)
class Trial:
    """One classifier: an arm, a fold, a seed, and how many labels."""

    arm: Arm
    fold: Fold
    seed: int
    labels: Labels = "all"

    @property
    def name(self) -> str:
        """Name of the trial's files."""
        return trial_name(self.fold.number, self.seed, self.labels, self.arm.name)


def trial_name(fold: int, seed: int, labels: object, what: str) -> str:
    """Name of the files of a trial, or of a set of synthetic faces, where `what` is an arm or a source."""
    return f"fold{fold}-seed{seed}-{labels}-{what}"
