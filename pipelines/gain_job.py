"""What every task of a gain run needs, and what a trial trains with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.arms import SIMULATED
from pipelines.gain_data import GainData
from pipelines.splits import validation_split
from pipelines.synthetic import SyntheticSet
from pipelines.trials import GainSettings, Trial, trial_name


@dataclass(frozen=True, eq=False)
class Job:
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
            measured = self.settings.simulated_like or self.settings.simulated_expressions == "measured"
            if source == SIMULATED and not measured:
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

    def result(self, trial: Trial) -> Path:
        """The file of a finished trial's scores."""
        return self.out / "trials" / f"{trial.name}.json"
