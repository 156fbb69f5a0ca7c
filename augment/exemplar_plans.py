"""Plans in which a labelled face, the exemplar, gives its expression to other people's faces; its label travels along.

A system with measured conditions is asked for what was measured on the exemplar; one that recombines faces is shown the
exemplar itself. Either way faces of a class are as varied as the labelled ones are.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
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
    build_plan,
    check_known,
    draw_evenly,
    mixed,
    row_seeds,
    subject_codes,
    wanted_counts,
)
from augment.systems.base import Translator
from emoaug import EmoaugError

Sources = Literal["all", "labelled"]


@dataclass(frozen=True)
class ExemplarSettings:
    """Who is given an expression, and whose, with weights that take expressions from exemplars."""

    sources: Sources | None = None
    """Faces that take expressions: all training faces, measured ones where conditions are, or only the labelled. By
    default all with weights that take expressions from exemplars; with others the labelled, and all where none is."""
    mixing: float = 0.25
    """Most of a measured condition that comes from a second exemplar of the class, 0 to 0.5; drawn evenly for each
    row."""
    noise: float = 0.1
    """Standard deviation of the factor's logarithm by which each entry of a measured condition varies; 0 is none."""

    def __post_init__(self) -> None:
        if self.sources not in (None, *get_args(Sources)):
            raise EmoaugError(f'sources is "{self.sources}"; it is one of {", ".join(get_args(Sources))}')
        if not 0 <= self.mixing <= 0.5 or not 0 <= self.noise <= 1:
            raise EmoaugError(f"mixing is {self.mixing} and noise {self.noise}; they are 0 to 0.5, and 0 to 1")


def suitable_plan(
    faces: FaceTable,
    translator: Translator,
    names: tuple[str, ...],
    settings: PlanSettings,
    scale: IntensityScale | None = None,
    exemplars: ExemplarSettings | None = None,
) -> pd.DataFrame:
    """Decide which faces to make, in the way that a system wants it.

    Every row has an exemplar where the system's conditions were measured, or where it recombines faces; otherwise rows
    are as `augment.plans.build_plan` gives them.

    Args:
        faces: the dataset.
        translator: the trained system.
        names: the expressions to make, all of which it knows; of no account with a scale.
        settings: how many, how strong, and the seed.
        scale: how its conditions were measured; None where they are classes.
        exemplars: whose expression is given to whom, where there are exemplars; its `sources` is looked at there alone:
            without exemplars all faces can be sources.
    """
    if scale is not None or translator.takes_exemplars:
        return build_exemplar_plan(faces, scale or names, settings, exemplars)
    if exemplars is not None and replace(exemplars, sources=None) != ExemplarSettings():
        raise EmoaugError(
            f"--mixing and --noise are for weights that take expressions from exemplars; this {translator.name} was "
            "trained on labels. Leave them out"
        )
    return build_plan(faces, names, settings)


def build_exemplar_plan(
    faces: FaceTable,
    asked: IntensityScale | tuple[str, ...],
    settings: PlanSettings,
    exemplars: ExemplarSettings | None = None,
) -> pd.DataFrame:
    """Decide which faces to make, and whose expression each one takes.

    Exemplars are labelled training faces of the wanted class, sources are training faces of anybody, labelled or not;
    both are real faces outside the splits val and test, of subjects who have no face in those splits. Either are taken
    in rounds: one face of each subject, then a second one of each, and no face again before all have been taken. Nobody
    gets an expression of their own where there is anybody else, and faces that are known to show the class already are
    left alone where two people show something else.

    Args:
        faces: the dataset.
        asked: how the system's conditions were measured, for one that is asked for what was measured on the exemplar;
            only faces on which something was measured are used. Or the expressions to make, for one that is shown the
            exemplar itself; conditions then name its class.
        settings: how many, how strong, and the seed; what is not strength stays with what the source shows. Of the
            exemplar itself there is one strength only.
        exemplars: whose expression is given to whom; an exemplar itself is neither mixed nor varied.

    Returns:
        The plan as `augment.plans.build_plan` gives it, with `EXEMPLAR_COLUMNS` besides.

    Raises:
        EmoaugError: no labelled (and measured) training face, nobody to take its expression, a label that is none of
            the expressions, or settings that make no sense for exemplars that are shown themselves.
    """
    exemplars = exemplars or ExemplarSettings()
    table = faces.table
    labels = table["label"].to_numpy(dtype=object)
    training = faces.for_training()
    if isinstance(asked, IntensityScale):
        names, shown = asked.names, measured_conditions(faces, asked)
    else:
        exemplars = _as_they_are(settings, exemplars)
        check_known(labels[training], asked)
        names, shown = asked, (labels[:, None] == np.array(asked, dtype=object)).astype(np.float32)
    usable = training & np.isfinite(shown).all(1)
    labelled = usable & table["label"].notna().to_numpy(dtype=bool)
    classes = tuple(name for name in faces.vocabulary if name in set(labels[labelled]))
    if not classes:
        lacks = "is there; label some"
        if isinstance(asked, IntensityScale):
            lacks = "has blendshape scores; label some, or run emoaug align"
        raise EmoaugError(f"{faces.root}: no labelled training face {lacks}")
    pool = np.flatnonzero(labelled if exemplars.sources == "labelled" else usable)
    groups = subject_codes(table)
    wanted = wanted_counts(Counter(labels[labelled].tolist()), classes, settings)
    seeds = row_seeds(settings.seed, np.arange(sum(wanted.values())))
    sources, firsts, seconds = [], [], []
    for (target, count), own_seeds in zip(
        wanted.items(), np.split(seeds, np.cumsum(list(wanted.values()))[:-1]), strict=True
    ):
        own = np.flatnonzero(labelled & (labels == target))
        others = _showing_something_else(pool, labels, groups, target)
        # Shifted by one whenever the sources would meet the same exemplars again, so that every two meet before that.
        turns = np.arange(count) // math.lcm(len(own), len(others))
        in_turn = draw_evenly(own, groups, len(own), f"exemplars of {target}", settings.seed)
        firsts.append(in_turn[(np.arange(count) + turns) % len(own)])
        seconds.append(draw_evenly(own, groups, count, f"second exemplars of {target}", settings.seed))
        drawn = draw_evenly(others, groups, count, f"faces to become {target}", settings.seed)
        sources.append(_of_others(drawn, firsts[-1], others, groups, own_seeds))
    first, second, source = (np.concatenate(parts) for parts in (firsts, seconds, sources))
    conditions, shares = _conditions(shown, (source, first, second), seeds, settings.strength, exemplars)
    return _table(faces, names, settings, (source, first, np.where(shares > 0, second, -1)), conditions, wanted)


def _as_they_are(settings: PlanSettings, exemplars: ExemplarSettings) -> ExemplarSettings:
    """Whose expression is given to whom where exemplars are shown themselves; EmoaugError if they are to be varied."""
    default, (low, high) = ExemplarSettings(), settings.strength
    varied = exemplars.mixing not in (0, default.mixing) or exemplars.noise not in (0, default.noise)
    if varied or (low, high) != (1, 1):
        raise EmoaugError(
            f"strength is {low} to {high}, mixing {exemplars.mixing} and noise {exemplars.noise}; a system that "
            "recombines faces takes exemplars as they are. Leave --strength, --mixing and --noise out"
        )
    return replace(exemplars, mixing=0.0, noise=0.0)


def _showing_something_else(pool: np.ndarray, labels: np.ndarray, groups: np.ndarray, target: str) -> np.ndarray:
    """The faces of a pool that are not known to show the target, if they are of two people or nobody else is there.

    A face that shows it already would hardly change.
    """
    others = pool[labels[pool] != target]
    people = len(np.unique(groups[others]))
    return others if people > 1 or (people == 1 and len(np.unique(groups[pool])) == 1) else pool


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
    names: tuple[str, ...],
    settings: PlanSettings,
    rows: tuple[np.ndarray, np.ndarray, np.ndarray],
    conditions: np.ndarray,
    wanted: dict[str, int],
) -> pd.DataFrame:
    """The plan as a table."""
    source, first, second = rows
    files = faces.table["file_name"].to_numpy(dtype=object)
    numbers = np.arange(len(source), dtype=np.int64)
    # In thousandths, so that the text is exact; what is 0 is left out.
    texts = [
        json.dumps({name: int(v) / 1000 for name, v in zip(names, row, strict=True) if v})
        for row in np.rint(1000 * conditions).astype(np.int64).tolist()
    ]
    columns: dict[str, object] = {
        "row": numbers,
        "source_index": source,
        "file_name": files[source],
        "source_label": faces.table["label"].to_numpy(dtype=object)[source],
        "subject": faces.table["subject"].to_numpy(dtype=object)[source],
        "target": np.repeat(np.array(list(wanted), dtype=object), list(wanted.values())),
        "condition": np.array(texts, dtype=object),
        "seed": row_seeds(settings.seed, numbers),
        "exemplar_index": first,
        "exemplar_file": files[first],
        "second_exemplar_index": second,
        "second_exemplar_file": np.where(second >= 0, files[second], None),
    }
    whole = {
        name: pd.Series(values, dtype=None if name in ("row", "seed") or name.endswith("index") else object)
        for name, values in columns.items()
    }
    return pd.DataFrame(whole)[[*PLAN_COLUMNS, *EXEMPLAR_COLUMNS]]
