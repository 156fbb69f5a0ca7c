"""Plans for systems with measured conditions: a labelled face's expression is given to other people's faces.

The label travels with what was measured: the condition is the exemplar's, so no system needs to know what its class
looks like, and faces of a class are as varied as the labelled ones are.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from augment.folders import FaceTable
from augment.intensities import IntensityScale
from augment.measured_conditions import measured_conditions
from augment.plans import (
    EXEMPLAR_COLUMNS,
    PLAN_COLUMNS,
    PlanSettings,
    draw_evenly,
    mixed,
    row_seeds,
    subject_codes,
    wanted_counts,
)
from emoaug import EmoaugError

Sources = Literal["all", "labelled"]


@dataclass(frozen=True)
class ExemplarSettings:
    """Whose expression is given to whom, with weights whose conditions are measured."""

    sources: Sources = "all"
    """Faces that take expressions: all measured training faces, or the labelled ones only."""
    mixing: float = 0.25
    """Most of a condition that comes from a second exemplar of the class, 0 to 0.5; drawn evenly for each row."""
    noise: float = 0.1
    """Standard deviation of the factor's logarithm by which each entry of a condition varies; 0 is none."""

    def __post_init__(self) -> None:
        if self.sources not in get_args(Sources):
            raise EmoaugError(f'sources is "{self.sources}"; it is one of {", ".join(get_args(Sources))}')
        if not 0 <= self.mixing <= 0.5 or not 0 <= self.noise <= 1:
            raise EmoaugError(f"mixing is {self.mixing} and noise {self.noise}; they are 0 to 0.5, and 0 to 1")


def build_exemplar_plan(
    faces: FaceTable, scale: IntensityScale, settings: PlanSettings, exemplars: ExemplarSettings | None = None
) -> pd.DataFrame:
    """Decide which faces to make, and whose expression each one takes.

    Exemplars are labelled training faces of the wanted class, sources are training faces of anybody, labelled or not;
    both are real faces outside the splits val and test, of subjects who have no face in those splits, on which
    something was measured. Either are taken in rounds: one face of each subject, then a second one of each, and no face
    again before all have been taken. Nobody gets an expression of their own where there is anybody else.

    Args:
        faces: the dataset.
        scale: how the system's conditions were measured.
        settings: how many, how strong, and the seed; what is not strength stays with what the source shows.
        exemplars: whose expression is given to whom.

    Returns:
        The plan as `augment.plans.build_plan` gives it, with `EXEMPLAR_COLUMNS` besides.

    Raises:
        EmoaugError: no labelled and measured training face of a wanted class, or nobody to take its expression.
    """
    exemplars = exemplars or ExemplarSettings()
    table = faces.table
    labels = table["label"].to_numpy(dtype=object)
    measured = measured_conditions(faces, scale)
    usable = faces.for_training() & np.isfinite(measured).all(1)
    labelled = usable & table["label"].notna().to_numpy(dtype=bool)
    classes = tuple(name for name in faces.vocabulary if name in set(labels[labelled]))
    if not classes:
        raise EmoaugError(
            f"{faces.root}: no labelled training face has blendshape scores; label some, or run emoaug align"
        )
    pool = np.flatnonzero(labelled if exemplars.sources == "labelled" else usable)
    groups = subject_codes(table)
    wanted = wanted_counts(Counter(labels[labelled].tolist()), classes, settings)
    sources, firsts, seconds = [], [], []
    for target, count in wanted.items():
        own = np.flatnonzero(labelled & (labels == target))
        firsts.append(draw_evenly(own, groups, count, f"exemplars of {target}", settings.seed))
        seconds.append(draw_evenly(own, groups, count, f"second exemplars of {target}", settings.seed))
        sources.append(draw_evenly(pool, groups, count, f"faces to become {target}", settings.seed))
    first, second, source = (np.concatenate(drawn) for drawn in (firsts, seconds, sources))
    seeds = row_seeds(settings.seed, np.arange(len(first)))
    source = _of_others(source, first, pool, groups, seeds)
    conditions, shares = _conditions(measured, (source, first, second), seeds, settings.strength, exemplars)
    return _table(faces, scale, settings, (source, first, np.where(shares > 0, second, -1)), conditions, wanted)


def _of_others(
    source: np.ndarray, exemplar: np.ndarray, pool: np.ndarray, groups: np.ndarray, seeds: np.ndarray
) -> np.ndarray:
    """Draw again, (N,), where a source shows the exemplar's person; where there is nobody else, another picture."""
    source = source.copy()
    alone = len(np.unique(groups[pool])) == 1
    person = np.arange(len(groups)) if alone else groups
    state = seeds.astype(np.uint64)
    for _ in range(64):
        same = person[source] == person[exemplar]
        if not same.any():
            return source
        state = mixed(state)
        source[same] = pool[(state[same] % np.uint64(len(pool))).astype(np.int64)]
    # Someone has nearly all the pictures: what is left over is looked for one by one.
    for row in np.flatnonzero(person[source] == person[exemplar]):
        others = pool[person[pool] != person[exemplar[row]]]
        if not len(others):
            raise EmoaugError("no face can take an expression: all training faces are one picture. Add faces")
        source[row] = others[int(seeds[row]) % len(others)]
    return source


def _conditions(
    measured: np.ndarray,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    seeds: np.ndarray,
    strength: tuple[float, float],
    exemplars: ExemplarSettings,
) -> tuple[np.ndarray, np.ndarray]:
    """Conditions (N, K) in [0, 1], and the share (N,) of each that comes from its second exemplar.

    The random numbers of a row follow from its seed alone.
    """
    source, first, second = rows
    low, high = strength
    conditions = np.empty((len(seeds), measured.shape[1]))
    # Uniform numbers in [0, 1), in steps of 2**-53, from the output function that also makes the seeds.
    state = mixed(seeds.astype(np.uint64))

    def uniform() -> np.ndarray:
        nonlocal state
        state = mixed(state)
        return (state >> np.uint64(11)).astype(np.float64) / 2**53

    shares = np.where(first == second, 0.0, exemplars.mixing * uniform())
    strengths = low + (high - low) * uniform()
    for entry in range(measured.shape[1]):
        shown = (1 - shares) * measured[first, entry] + shares * measured[second, entry]
        # Box and Muller's normal numbers.
        normal = np.sqrt(-2 * np.log(1 - uniform())) * np.cos(2 * np.pi * uniform())
        shown = np.clip(shown * np.exp(exemplars.noise * normal), 0, 1)
        conditions[:, entry] = strengths * shown + (1 - strengths) * measured[source, entry]
    return conditions, shares


def _table(
    faces: FaceTable,
    scale: IntensityScale,
    settings: PlanSettings,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    conditions: np.ndarray,
    wanted: dict[str, int],
) -> pd.DataFrame:
    """The plan as a table."""
    source, first, second = rows
    names = faces.table["file_name"].to_numpy(dtype=object)
    numbers = np.arange(len(source), dtype=np.int64)
    # In thousandths, so that the text is exact; what is 0 is left out.
    texts = [
        json.dumps({name: int(v) / 1000 for name, v in zip(scale.names, row, strict=True) if v})
        for row in np.rint(1000 * conditions).astype(np.int64).tolist()
    ]
    columns: dict[str, object] = {
        "row": numbers,
        "source_index": source,
        "file_name": names[source],
        "source_label": faces.table["label"].to_numpy(dtype=object)[source],
        "subject": faces.table["subject"].to_numpy(dtype=object)[source],
        "target": np.repeat(np.array(list(wanted), dtype=object), list(wanted.values())),
        "condition": np.array(texts, dtype=object),
        "seed": row_seeds(settings.seed, numbers),
        "exemplar_index": first,
        "exemplar_file": names[first],
        "second_exemplar_index": second,
        "second_exemplar_file": np.where(second >= 0, names[second], None),
    }
    whole = {
        name: pd.Series(values, dtype=None if name in ("row", "seed") or name.endswith("index") else object)
        for name, values in columns.items()
    }
    return pd.DataFrame(whole)[[*PLAN_COLUMNS, *EXEMPLAR_COLUMNS]]
