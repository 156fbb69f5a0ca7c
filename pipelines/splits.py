"""Who is trained on and who is tested on: folds that no person and no near-duplicate crosses."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from augment.folders import FaceTable
from emoaug import EmoaugError


@dataclass(frozen=True)
class Fold:
    """Rows of a face table, (N,) int64 each."""

    number: int
    train: np.ndarray
    test: np.ndarray

    def sha256(self, faces: FaceTable) -> str:
        """A hash of which files are trained on and which are tested on."""
        names = faces.table.file_name.to_numpy()
        text = "\n".join(sorted(names[self.train])) + "\n\n" + "\n".join(sorted(names[self.test]))
        return hashlib.sha256(text.encode()).hexdigest()


def groups_of(faces: FaceTable, near_duplicates: np.ndarray) -> np.ndarray:
    """Number the sets of faces that must stay on one side of a split.

    Two faces belong together when they show the same subject or are near-duplicates, and so on from face to face.

    Args:
        faces: N faces.
        near_duplicates: (N,) int64, faces of one number are near-duplicates.

    Returns:
        (N,) int64.
    """
    parent = np.arange(len(faces))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    first: dict[object, int] = {}
    for i, (subject, duplicate) in enumerate(zip(faces.table.subject, near_duplicates, strict=True)):
        keys: list[object] = [("duplicate", int(duplicate))]
        if isinstance(subject, str) and subject:
            keys.append(("subject", subject))
        for key in keys:
            j = first.setdefault(key, i)
            parent[root(i)] = root(j)
    return np.unique([root(i) for i in range(len(faces))], return_inverse=True)[1].astype(np.int64)


def make_folds(faces: FaceTable, groups: np.ndarray, folds: int, seed: int = 0) -> Iterator[Fold]:
    """Split real faces for training and testing.

    Args:
        faces: N faces.
        groups: (N,) int64 from `groups_of`.
        folds: how many; 1 takes the dataset's own `train` and `test` splits, and leaves out of the training faces what
            stands, as a group, in the test faces too.
        seed: which folds.

    Raises:
        EmoaugError: too few groups, or no published split where one is asked for.
    """
    real = np.flatnonzero(~faces.table.is_synthetic.to_numpy(bool))
    if folds == 1:
        split = faces.table.split.to_numpy()
        train, test = real[split[real] == "train"], real[split[real] == "test"]
        if not len(train) or not len(test):
            raise EmoaugError(
                "--folds 1 takes the dataset's own split, and it has no train and test faces; use --folds 4"
            )
        kept = train[~np.isin(groups[train], groups[test])]
        if not len(kept):
            raise EmoaugError(
                "--folds 1: every train face shows a person, or is like a picture, of test; use --folds 4"
            )
        yield Fold(0, kept, test)
        return
    labels = faces.label_indices()
    present = len(np.unique(groups[real]))
    if present < folds:
        raise EmoaugError(f"--folds {folds}: only {present} people or groups of like pictures; use fewer folds")
    if np.bincount(labels[real]).max() < folds:
        raise EmoaugError(f"--folds {folds}: every class has fewer than {folds} real faces; use fewer folds")
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # It warns of classes with fewer members than folds: their folds cannot be alike, and need not be.
        warnings.simplefilter("ignore", UserWarning)
        parts = list(splitter.split(real, labels[real], groups[real]))
    for number, (train, test) in enumerate(parts):
        yield Fold(number, real[train], real[test])


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
