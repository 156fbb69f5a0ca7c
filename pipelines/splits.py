"""Who is trained on and who is tested on: splits that no person and no near-duplicate crosses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from augment.duplicates import joined
from augment.folders import FaceTable
from emoaug import EmoaugError


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to test on, (N,) int64 each; the latter may be those of another table of faces."""

    number: int
    train: np.ndarray
    test: np.ndarray


def groups_of(faces: FaceTable, near_duplicates: np.ndarray) -> np.ndarray:
    """Number the sets of faces that must stay on one side of a split.

    Two faces belong together when they show the same subject or are near-duplicates, and so on from face to face.

    Args:
        faces: N faces.
        near_duplicates: (N,) int64, faces of one number are near-duplicates.

    Returns:
        (N,) int64.
    """
    subjects = faces.table.subject
    people = pd.factorize(subjects.where(subjects.notna() & (subjects != ""), None))[0]
    return joined(np.asarray(near_duplicates), people)


def unknown_people(tested: FaceTable) -> list[str]:
    """What to say of faces that test and of whom nobody knows whom they show; nothing where all are known."""
    unknown = int((tested.table.subject.isna() | (tested.table.subject == "")).sum())
    if not unknown:
        return []
    return [
        f"Who is shown is unknown for {unknown:,} of {len(tested):,} faces in {tested.root}: one person may be trained "
        "on and tested on, which flatters all figures; --subject-pattern or a column `subject` would prevent it."
    ]


def real_rows(faces: FaceTable, split: str | None = None) -> np.ndarray:
    """Rows of the faces that count as given (`FaceTable.originals`), of one split or of all."""
    chosen = faces.originals()
    if split is not None:
        chosen &= (faces.table.split == split).to_numpy(bool)
    return np.flatnonzero(chosen)


def make_folds(faces: FaceTable, groups: np.ndarray, folds: int, seed: int = 0) -> Iterator[Fold]:
    """Split the real faces so that each is tested once.

    Args:
        faces: N faces.
        groups: (N,) int64 from `groups_of`.
        folds: how many.
        seed: which folds.

    Raises:
        EmoaugError: too few groups, or too few faces of every class.
    """
    real, labels = real_rows(faces), faces.label_indices()
    present = len(np.unique(groups[real]))
    enough = min(present, int(np.bincount(labels[real]).max())) > 1
    advice = "use fewer folds" if folds > 2 and enough else "two are the fewest: add faces of other people"
    if present < folds:
        who = "person or group" if present == 1 else "people or groups"
        raise EmoaugError(f"--folds {folds}: only {present} {who} of like pictures; {advice}")
    if np.bincount(labels[real]).max() < folds:
        raise EmoaugError(f"--folds {folds}: every class has fewer than {folds} real faces; {advice}")
    for number, (train, test) in enumerate(_grouped_parts(labels[real], groups[real], folds, seed)):
        yield Fold(number, real[train], real[test])


def published_split(faces: FaceTable, groups: np.ndarray, test_split: str) -> Fold:
    """The dataset's own split: all of train, and of `test_split` what does not stand, as a group, in train too.

    Raises:
        EmoaugError: no such split, or nothing of it is left.
    """
    train, test = real_rows(faces, "train"), real_rows(faces, test_split)
    if not len(train) or not len(test):
        raise EmoaugError(
            f"{faces.root}: the dataset's own split has {len(train)} faces of train and {len(test)} of {test_split}; "
            "both are needed, or folds"
        )
    kept = test[~np.isin(groups[test], groups[train])]
    if not len(kept):
        raise EmoaugError(
            f"{faces.root}: every face of {test_split} shows a person, or is like a picture, of train; test by folds"
        )
    return Fold(0, train, kept)


def other_dataset(
    faces: FaceTable, groups: np.ndarray, tested: FaceTable, tested_groups: np.ndarray, test_split: str | None
) -> Fold:
    """Test on another dataset, and train on what does not stand, as a group, in the test faces too.

    Args:
        faces: N faces to train on.
        groups: (N,) int64.
        tested: M faces of the other dataset.
        tested_groups: (M,) int64, in the same numbers as `groups`.
        test_split: the split of the other dataset that tests; None takes all of it.

    Raises:
        EmoaugError: nothing to test on, or nothing left to train on.
    """
    test = real_rows(tested, test_split)
    if not len(test):
        raise EmoaugError(f"{tested.root}: no real face" + (f" of split {test_split}" if test_split else "") + " in it")
    train = real_rows(faces)
    kept = train[~np.isin(groups[train], tested_groups[test])]
    if not len(kept):
        raise EmoaugError(f"{faces.root}: every face shows a person, or is like a picture, of {tested.root}")
    return Fold(0, kept, test)


def hold_out(faces: FaceTable, groups: np.ndarray, count: float, seed: int) -> Fold:
    """Hold out some people.

    Args:
        faces: N faces.
        groups: (N,) int64 from `groups_of`; one is never on both sides.
        count: how many groups, or, below 1, which share of them.
        seed: which.

    Raises:
        EmoaugError: fewer groups than are to be held out.
    """
    given = np.flatnonzero(faces.originals())
    names: dict[int, str] = {}
    subjects, files = faces.table.subject.tolist(), faces.table.file_name.tolist()
    for row in given.tolist():
        name = subjects[row] if isinstance(subjects[row], str) else files[row]
        group = int(groups[row])
        names[group] = min(str(name), names.get(group, str(name)))
    # By name: who is held out does not depend on the order of the files.
    ordered = sorted(names, key=lambda group: (names[group], group))
    if len(ordered) < 2:
        raise EmoaugError("all faces are of one person or group of like pictures, and nobody is left to hold out")
    wanted = round(count * len(ordered)) if count < 1 else int(count)
    if not 0 < wanted < len(ordered) or (count >= 1 and wanted != count):
        raise EmoaugError(
            f"--hold-out {count:g}: of {len(ordered)} people or groups of like pictures, 1 to {len(ordered) - 1} can "
            "be held out; give such a number, or a share between 0 and 1"
        )
    held = np.isin(groups[given], np.random.default_rng(seed).permutation(ordered)[:wanted])
    return Fold(0, given[~held], given[held])


def limit_labels(faces: FaceTable, rows: np.ndarray, per_class: int | None, seed: int) -> np.ndarray:
    """At most so many faces of each class, drawn by the seed; None keeps all. Rows in ascending order."""
    if per_class is None:
        return rows
    # The same order whatever the number, so that few labels are a part of more.
    generator = np.random.default_rng(seed)
    labels = faces.label_indices()[rows]
    kept = [generator.permutation(rows[labels == c])[:per_class] for c in range(len(faces.vocabulary))]
    return np.sort(np.concatenate(kept))


def validation_split(
    faces: FaceTable, groups: np.ndarray, rows: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Set a quarter of the labelled training faces aside, by person, to choose settings on.

    Args:
        faces: N faces.
        groups: (N,) int64 from `groups_of`.
        rows: the labelled training faces of a trial.
        seed: which quarter.

    Returns:
        Rows to train on and rows to choose on; None where no quarter leaves every class something to learn from.
    """
    labels = faces.label_indices()[rows]
    if len(np.unique(groups[rows])) < 4 or np.bincount(labels).max() < 4:
        return None
    for train, held_out in _grouped_parts(labels, groups[rows], 4, seed):
        if len(held_out) and set(labels[train]) == set(labels):
            return rows[train], rows[held_out]
    return None


def _grouped_parts(
    labels: np.ndarray, groups: np.ndarray, parts: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Places on either side of each of so many splits, stratified by label, that no group crosses."""
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # It warns of classes with fewer members than parts: these cannot be alike, and need not be.
        warnings.simplefilter("ignore", UserWarning)
        return list(splitter.split(labels, labels, groups))


def same_expressions(test: FaceTable, faces: FaceTable) -> tuple[FaceTable, tuple[str, ...]]:
    """The faces of a dataset whose expressions the other one shows, under its vocabulary; what was left out."""
    present = set(faces.table.label)
    known = test.table.label.isin(present)
    if not known.any():
        raise EmoaugError(
            f"{test.root} shows {', '.join(sorted(set(test.table.label)))}, {faces.root} {', '.join(sorted(present))}: "
            "nothing to test; map its labels with --test-labels OLD=NEW"
        )
    notes: tuple[str, ...] = ()
    if not known.all():
        lost: pd.Series = test.table.label[~known].value_counts()
        counts = ", ".join(f"{count:,} {name}" for name, count in lost.items())
        notes = (f"Of {test.root} are left out, because the training faces do not show them: {counts}.",)
    return replace(test.select(known.to_numpy(bool)), vocabulary=faces.vocabulary), notes
