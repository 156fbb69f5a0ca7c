"""What a gain run compares, and how often."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from augment.training import TrainingSettings
from classifiers.training import ClassifierSettings
from emoaug import EmoaugError
from pipelines.arms import Arm, get_arm, words
from pipelines.splits import Fold


@dataclass(frozen=True)
class GainSettings:
    """What is compared, and how often."""

    arms: tuple[str, ...] = ("real", "classical", "lssl")
    """Training recipes, with commas or spaces: real (no augmentation), classical, or a source of synthetic faces
    (classical plus its faces): a system, a system with -measured, simulated, or refined."""
    folds: int = 4
    """Folds that no person crosses; 1 takes the dataset's own train and test splits."""
    seeds: int = 3
    """Trials of each arm in each fold, from seed 0 on."""
    labels_per_class: int | Literal["all"] = "all"
    """Labelled training faces of each class, drawn by the seed."""
    synthetic_factor: float = 3.0
    """Synthetic faces for each real training face, over all classes; every class gets as many."""
    synthetic_share: float = 0.5
    """Share of every batch that is synthetic, in arms that have synthetic faces."""
    simulated_per_class: int = 300
    """Rendered faces of each class, in the arms simulated and refined."""
    simulated_expressions: Literal["measured", "prototypes"] = "measured"
    """Where rendered expressions come from: what MediaPipe measured on the labelled training faces, or published
    action units."""
    face_model: Path | None = None
    """Face model of the rendered faces, as for `emoaug simulate`."""
    size: int | None = None
    """Side of the faces, pixels; by default the dataset's own."""
    workers: int = 0
    """Trials at a time on the CPU; 0 for one a core. The results do not depend on it."""
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(steps=2000))
    """How a system is trained; its seed is the trial's."""
    classifier: ClassifierSettings = field(default_factory=ClassifierSettings)
    """How a classifier is trained; its recipe is the arm's."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "arms", tuple(words(self.arms)))
        if self.folds < 1 or self.seeds < 1:
            raise EmoaugError(f"folds is {self.folds} and seeds {self.seeds}; both are 1 or more")
        if len(set(self.arms)) != len(self.arms) or not self.arms:
            raise EmoaugError(f"arms are {', '.join(self.arms)}; name each once")
        for name in self.arms:
            get_arm(name)
        if self.simulated_per_class < 1:
            raise EmoaugError(f"simulated_per_class is {self.simulated_per_class}; it is 1 or more")
        if self.labels_per_class != "all" and self.labels_per_class < 1:
            raise EmoaugError(f"labels_per_class is {self.labels_per_class}; it is 1 or more, or all")
        if not self.synthetic_factor > 0:
            raise EmoaugError(f"synthetic_factor is {self.synthetic_factor}; it is above 0")
        if not 0 < self.synthetic_share < 1:
            raise EmoaugError(f"synthetic_share is {self.synthetic_share}; it is between 0 and 1")


@dataclass(frozen=True)
class Trial:
    """One classifier: an arm, a fold, a seed."""

    arm: Arm
    fold: Fold
    seed: int

    @property
    def name(self) -> str:
        """Name of the trial's files."""
        return f"fold{self.fold.number}-seed{self.seed}-{self.arm.name}"
