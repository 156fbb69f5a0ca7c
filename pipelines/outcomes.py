"""What the classifiers of a gain run said of their test faces, read from the files of its trials."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from classifiers.comparison import Tally
from emoaug import EmoaugError
from pipelines.trials import trial_name


class Key(NamedTuple):
    """Names a trial."""

    labels: str
    arm: str
    fold: int
    seed: int


def keys_of(trials: pd.DataFrame) -> list[Key]:
    """The keys of a table of trials, row by row."""
    columns = (trials[name] for name in Key._fields)
    return [Key(str(labels), str(arm), int(fold), int(seed)) for labels, arm, fold, seed in zip(*columns, strict=True)]


def file_name(trial: Any) -> str:
    """Name of a trial's files, without suffix, from its key or its row of the table."""
    return trial_name(trial.fold, trial.seed, trial.labels, trial.arm)


def read_tallies(out: Path, trials: pd.DataFrame, classes: int) -> dict[Key, Tally]:
    """Count what every trial's classifier said, by person.

    Raises:
        EmoaugError: a trial's file is missing or damaged.
    """
    tallies = {}
    for key in keys_of(trials):
        path = out / "trials" / f"{file_name(key)}.npz"
        try:
            with np.load(path, allow_pickle=False) as stored:
                said = np.argmax(stored["probabilities"], axis=1)
                tallies[key] = Tally.of(said, stored["labels"], stored["units"], classes)
        except (OSError, ValueError, KeyError, IndexError, EOFError, zipfile.BadZipFile) as error:
            raise EmoaugError(
                f"{path} is damaged or not there ({error}); remove the .json beside it, and give the command again"
            ) from None
    return tallies
