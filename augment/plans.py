"""The plan of a generation: one row for each face to make, decided before the first face is made."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd

from augment.expressions import known_as
from augment.folders import HELD_OUT_SPLITS, FaceTable
from emoaug import EmoaugError, check_seed

Policy = Literal["balance", "multiply", "per-class"]

PLAN_COLUMNS = ("row", "source_index", "file_name", "source_label", "subject", "target", "condition", "seed")
EXEMPLAR_COLUMNS = ("exemplar_index", "exemplar_file", "second_exemplar_index", "second_exemplar_file")
"""Columns besides, where faces take the expression of others; a second index of -1 is no second exemplar."""


@dataclass(frozen=True)
class PlanSettings:
    """How many faces to make of each expression, and how strong."""

    policy: Policy = "balance"
    """balance: each class up to the biggest class's real count; multiply: `factor` synthetic faces for each real one;
    per-class: `count` synthetic faces in each class."""
    targets: tuple[str, ...] = ()
    """Expressions to make, such as the rare ones; by default all that the dataset and the weights have in common."""
    factor: float = 1.0
    """Synthetic faces for each real one of the class, for the policy multiply."""
    count: int = 500
    """Synthetic faces in each class, for the policy per-class."""
    seed: int = 0
    """Decides which face becomes what; 0 or more."""
    strength: tuple[float, float] = (1.0, 1.0)
    """Lowest and highest strength of the wanted expression, in (0, 1]; drawn evenly for each row in steps of 0.001.
    The rest of the condition stays with what the source shows. Systems that recombine faces have no other than 1."""

    def __post_init__(self) -> None:
        low, high = self.strength
        if self.policy not in get_args(Policy):
            raise EmoaugError(f'unknown policy "{self.policy}"; it is one of {", ".join(get_args(Policy))}')
        if not 0 <= self.factor < 1e6:
            raise EmoaugError(
                f"factor is {self.factor}; it is the number of synthetic faces for each real one, 0 or more"
            )
        if self.count < 0:
            raise EmoaugError(f"count is {self.count}; it is the number of synthetic faces in each class, 0 or more")
        check_seed(self.seed)
        if not 0.001 <= low <= high <= 1:
            raise EmoaugError(f"strength is {low} to {high}; give two numbers from 0.001 to 1, the lower one first")


def build_plan(faces: FaceTable, condition_names: tuple[str, ...], settings: PlanSettings) -> pd.DataFrame:
    """Decide which faces to make.

    Sources are real faces outside the splits val and test, of subjects who have no face in those splits. For each
    target, the sources are those that show something else, taken in rounds: one face of each subject, then a second
    one of each, and no face again before all have been taken.

    Args:
        faces: the dataset, real and synthetic faces together; those without a label can be sources for any target.
        condition_names: the expressions that the system can make, in its order.
        settings: how many, how strong, and the seed.

    Returns:
        The plan, one row a face to make, with `PLAN_COLUMNS`: `row` from 0; `source_index` the source's place in
        `faces`; `condition` a JSON object from name to value, where a name that is left out is 0; `seed` in [0, 2**53).
        Rows are sorted by target in the order of `condition_names`.

    Raises:
        EmoaugError: an unknown label or target, a class that has no possible source, or a source without a label that
            is to keep a part of what it shows.
    """
    table = faces.table
    labels = table["label"].to_numpy(dtype=object)
    training = faces.originals() & ~table["split"].isin(HELD_OUT_SPLITS).to_numpy(dtype=bool)
    sources = np.flatnonzero(faces.for_training())
    check_known(labels[training], condition_names)

    named = training & table["label"].notna().to_numpy(dtype=bool)
    wanted = wanted_counts(Counter(labels[named].tolist()), condition_names, settings)
    groups = subject_codes(table)
    drawn = [
        draw_evenly(_others(sources, labels, target, count), groups, count, target, settings.seed)
        for target, count in wanted.items()
    ]
    source_index = np.concatenate(drawn) if drawn else np.empty(0, dtype=np.int64)
    rows = np.arange(len(source_index), dtype=np.int64)
    targets = np.repeat(np.array(list(wanted), dtype=object), list(wanted.values()))
    seeds = row_seeds(settings.seed, rows)
    source_labels = labels[source_index]
    if settings.strength[0] < 1 and pd.isna(source_labels).any():
        raise EmoaugError(
            f"strength is {settings.strength[0]} to {settings.strength[1]}: what is not strength stays with what the "
            "source shows, which nobody knows of faces without a label. Leave --strength out, or these faces"
        )
    texts = {
        "file_name": table["file_name"].to_numpy(dtype=object)[source_index],
        "source_label": source_labels,
        "subject": table["subject"].to_numpy(dtype=object)[source_index],
        "target": targets,
        "condition": _conditions(targets, source_labels, seeds, settings.strength),
    }
    # Plain objects in every version of pandas, so that an unknown subject stays None.
    columns = {name: pd.Series(values, dtype=object) for name, values in texts.items()}
    plan = pd.DataFrame({"row": rows, "source_index": source_index, "seed": seeds, **columns})
    return plan[list(PLAN_COLUMNS)]


def check_known(labels: np.ndarray, condition_names: tuple[str, ...]) -> None:
    """Raise EmoaugError if a label of faces, (N,) texts or None, is none that the system knows."""
    unknown = sorted({str(label) for label in labels if label is not None} - set(condition_names))
    if unknown:
        raise EmoaugError(
            f"the system does not know {', '.join(unknown)}; it knows {', '.join(condition_names)}. "
            "Map the labels, leave those faces out, or train a system on them"
        )


def condition_array(plan: pd.DataFrame, condition_names: tuple[str, ...]) -> np.ndarray:
    """The conditions of a plan as an array.

    Returns:
        (rows, len(condition_names)) float32 in [0, 1].

    Raises:
        EmoaugError: a condition is no JSON object from a known name to a number in [0, 1].
    """
    # A plan has few different conditions, or at most some thousand: each is read once.
    codes, texts = pd.factorize(plan["condition"].to_numpy(dtype=object))
    values = np.zeros((len(texts), len(condition_names)), dtype=np.float32)
    column = {name: i for i, name in enumerate(condition_names)}
    for i, text in enumerate(texts):
        for name, value in _read_condition(text, column).items():
            values[i, column[name]] = value
    return values[codes]


def check_plan(plan: pd.DataFrame, faces: FaceTable, condition_names: tuple[str, ...]) -> None:
    """Raise EmoaugError unless a plan, perhaps edited by hand, fits these faces and this system."""
    missing = [c for c in PLAN_COLUMNS if c not in plan.columns]
    if missing:
        raise EmoaugError(f"the plan has no column {', '.join(missing)}; it needs {', '.join(PLAN_COLUMNS)}")
    rows = plan["row"].to_numpy()
    if len(rows) and (rows.dtype.kind not in "iu" or rows.min() < 0 or len(np.unique(rows)) != len(rows)):
        raise EmoaugError("the plan's column row must hold different whole numbers from 0")
    # A refiner's conditions are no expressions: there the target is the class of the source.
    unknown = sorted(set(map(str, plan["target"])) - set(condition_names) - set(faces.vocabulary))
    if unknown:
        raise EmoaugError(f"the plan asks for {', '.join(unknown)}; the system knows {', '.join(condition_names)}")
    _check_faces(plan, faces, "source_index", "file_name")
    if "exemplar_file" in plan.columns:
        _check_faces(plan, faces, "exemplar_index", "exemplar_file")
        _check_faces(plan[plan["second_exemplar_index"] >= 0], faces, "second_exemplar_index", "second_exemplar_file")
    condition_array(plan, condition_names)


def _check_faces(plan: pd.DataFrame, faces: FaceTable, place: str, name: str) -> None:
    """Check one kind of the faces that a plan uses: where they stand in the table, and how they are called."""
    rows, index = plan["row"].to_numpy(), plan[place].to_numpy()
    if len(index) and (index.dtype.kind not in "iu" or index.min() < 0 or index.max() >= len(faces.table)):
        raise EmoaugError(f"the plan's column {place} must hold whole numbers from 0 to {len(faces.table) - 1}")
    names = faces.table["file_name"].to_numpy(dtype=object)[index]
    differs = np.flatnonzero(names != plan[name].to_numpy(dtype=object))
    if len(differs):
        at = differs[0]
        raise EmoaugError(
            f"the plan was made for other faces: row {rows[at]} wants {plan[name].iloc[at]} "
            f"where this folder has {names[at]}; build the plan again"
        )
    held_out = ~(faces.for_training() | faces.table["is_synthetic"].to_numpy(dtype=bool))[index]
    if held_out.any():
        at = np.flatnonzero(held_out)[0]
        raise EmoaugError(
            f"row {rows[at]} of the plan uses {names[at]}, a face or a person of the splits "
            f"{' or '.join(HELD_OUT_SPLITS)}; synthetic faces are made from training faces only"
        )


def plan_summary(plan: pd.DataFrame) -> dict[str, object]:
    """What a plan asks for, as JSON: faces of each class, sources used, and rows that repeat an earlier one."""
    return {
        "faces": len(plan),
        "classes": {str(k): int(v) for k, v in plan["target"].value_counts(sort=False).items()},
        "sources": int(plan["source_index"].nunique()),
        "repeats": int(repeated(plan).sum()),
    }


def repeated(plan: pd.DataFrame) -> pd.Series:
    """Which rows repeat an earlier one, (N,) bool, and will add nothing.

    A system gives the same picture when the same source is asked for the same condition, or given the same exemplar,
    twice; a range of strengths avoids it, other faces do.
    """
    return plan.duplicated([name for name in ("source_index", "condition", "exemplar_index") if name in plan])


def distinct(plan: pd.DataFrame) -> pd.DataFrame:
    """A plan without the rows that repeat an earlier one (`repeated`), numbered anew."""
    kept = plan[~repeated(plan)].reset_index(drop=True)
    return kept.assign(row=np.arange(len(kept)))


def row_seeds(seed: int, rows: np.ndarray) -> np.ndarray:
    """Seeds (N,) int64 in [0, 2**53) that depend on the run's seed and the row's number only."""
    # 53 bits: a table with empty seeds (real faces) is read as float64, which must not change a seed.
    return (mixed(mixed(np.uint64(seed)) + np.asarray(rows).astype(np.uint64)) >> np.uint64(11)).astype(np.int64)


def mixed(x: np.ndarray | np.uint64) -> np.ndarray:
    """SplitMix64's output function, (N,) uint64 to (N,) uint64, one to one (Steele et al., OOPSLA 2014).

    Used in place of NumPy's generators because their streams may change between versions.
    """
    z = np.atleast_1d(np.asarray(x, dtype=np.uint64)) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def subject_codes(table: pd.DataFrame) -> np.ndarray:
    """A number for each subject, (N,); a face of unknown subject is its own."""
    codes, subjects = pd.factorize(table["subject"].to_numpy(dtype=object))
    return np.where(codes >= 0, codes, len(subjects) + np.arange(len(table)))


def wanted_counts(real: Mapping[str, int], condition_names: tuple[str, ...], settings: PlanSettings) -> dict[str, int]:
    """Synthetic faces to make of each class that is a target, from the counts of its real ones."""
    asked = {name: known_as(name, condition_names) for name in settings.targets}
    unknown = [name for name, known in asked.items() if known is None]
    if unknown:
        near = difflib.get_close_matches(unknown[0], condition_names, 1)
        raise EmoaugError(
            f"targets name {', '.join(unknown)}; what can be made here is {', '.join(condition_names)}"
            + "".join(f"; did you mean {name}?" for name in near)
        )
    targets = [name for name in condition_names if not asked or name in asked.values()]
    if settings.policy == "per-class":
        return {name: settings.count for name in targets}
    if settings.policy == "multiply":
        return {name: int(np.floor(settings.factor * real.get(name, 0) + 0.5)) for name in targets}
    biggest = max(real.values(), default=0)
    return {name: biggest - real.get(name, 0) for name in targets}


def _others(sources: np.ndarray, labels: np.ndarray, target: str, count: int) -> np.ndarray:
    """Those of the sources that show something else; EmoaugError if there are none and some are wanted."""
    pool = sources[labels[sources] != target]
    if count and not len(pool):
        raise EmoaugError(
            f'no face can become "{target}": sources are real faces that show something else, outside the splits '
            f"{' and '.join(HELD_OUT_SPLITS)} and of people who are not in them. Add such faces or split by subject"
        )
    return pool


def draw_evenly(pool: np.ndarray, groups: np.ndarray, count: int, purpose: str, seed: int) -> np.ndarray:
    """Draw faces in rounds over subjects: one of each, then a second of each, and none again before all were drawn.

    Args:
        pool: places of the faces to choose from, (P,) int64.
        groups: the subject's number of every face of the dataset; see `subject_codes`.
        count: how many.
        purpose: what they are for; draws for another purpose are in another order.
        seed: the run's seed.

    Returns:
        Places, (count,) int64.
    """
    if count == 0:
        return np.empty(0, dtype=np.int64)
    name = int.from_bytes(hashlib.sha256(purpose.encode()).digest()[:8], "little")
    keys = mixed(mixed(mixed(np.uint64(seed)) ^ np.uint64(name)) + pool.astype(np.uint64))
    by_subject = np.lexsort((keys, groups[pool]))
    subject = groups[pool][by_subject]
    first = np.flatnonzero(np.r_[True, subject[1:] != subject[:-1]])
    rounds = np.empty(len(pool), dtype=np.int64)
    rounds[by_subject] = np.arange(len(pool)) - np.repeat(first, np.diff(np.r_[first, len(pool)]))
    return np.resize(pool[np.lexsort((keys, rounds))], count)


def _conditions(
    targets: np.ndarray, source_labels: np.ndarray, seeds: np.ndarray, strength: tuple[float, float]
) -> np.ndarray:
    """JSON texts (N,): strength * target + (1 - strength) * source, in thousandths so that the text is exact."""
    low, high = (round(1000 * s) for s in strength)
    steps = mixed(seeds.astype(np.uint64)) % np.uint64(high - low + 1)
    thousandths = (low + steps.astype(np.int64)) if len(seeds) else np.empty(0, dtype=np.int64)
    texts: dict[tuple[str, str, int], str] = {}
    out = np.empty(len(targets), dtype=object)
    for i, key in enumerate(zip(targets, source_labels, thousandths.tolist(), strict=True)):
        if key not in texts:
            target, source, t = key
            values = {target: t / 1000} if t == 1000 else {target: t / 1000, source: (1000 - t) / 1000}
            texts[key] = json.dumps(values, ensure_ascii=False)
        out[i] = texts[key]
    return out


def _read_condition(text: object, known: Mapping[str, int]) -> dict[str, float]:
    try:
        values = json.loads(str(text))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in values.values()
    ):
        raise EmoaugError(f'condition {text!r} is no JSON object with values from 0 to 1, such as {{"happy": 1.0}}')
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise EmoaugError(f"condition {text} names {', '.join(unknown)}; the system knows {', '.join(known)}")
    return values
