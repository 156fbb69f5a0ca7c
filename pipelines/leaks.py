"""What a gain trial refuses: training faces, synthetic faces or systems that have to do with the faces that test.

Everything is compared by content, at the moment of its use: a picture is the same one wherever it lies, whatever its
name, and whoever put it there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from augment.checkpoints import trained_people
from augment.folders import ORIGINS, FaceTable
from augment.training_data import data_hash
from emoaug import EmoaugError, few
from pipelines.gain_data import GainData
from pipelines.splits import Fold


@dataclass(frozen=True)
class HeldOut:
    """Faces that nothing may have seen that has a part in training."""

    pictures: frozenset[str]
    """SHA-256 of their files."""
    subjects: frozenset[str]
    """Who they show, where known."""

    @classmethod
    def of(cls, parts: Iterable[tuple[FaceTable, np.ndarray]]) -> HeldOut:
        """Hold out rows (n,) of tables."""
        pictures: set[str] = set()
        subjects: set[str] = set()
        for faces, rows in parts:
            pictures |= {faces.sha256(int(i)) for i in rows}
            subjects |= {s for s in faces.table.subject.to_numpy()[rows] if isinstance(s, str) and s}
        return cls(frozenset(pictures), frozenset(subjects))


def check_fold(fold: Fold, data: GainData) -> None:
    """Raise EmoaugError if a fold trains and tests on one face, person or near-duplicate."""
    shared = np.isin(data.groups[fold.train], data.tested_groups[fold.test]).sum()
    if shared:
        raise EmoaugError(
            f"fold {fold.number}: {shared} training faces show a person, or are like a picture, that tests; "
            "nothing was trained on them"
        )


def check_pixels(faces: np.ndarray, held_out: np.ndarray, what: str) -> None:
    """Raise EmoaugError if a face to train on has the pixels of one that is held out, or mirrors it.

    Args:
        faces: uint8 (N, 3, S, S).
        held_out: uint8 (M, 3, S, S).
        what: what to call the former.
    """
    seen = {hashlib.sha256(side.tobytes()).digest() for face in held_out for side in (face, face[..., ::-1])}
    leaked = sum(hashlib.sha256(face.tobytes()).digest() in seen for face in faces)
    if leaked:
        raise EmoaugError(f"{what}: {leaked} of {len(faces)} faces have the very pixels of faces that are held out")


def check_lineage(
    made: FaceTable, config: dict[str, Any] | None, seen: FaceTable | None, held_out: HeldOut, rendered: bool = False
) -> None:
    """Make sure that no synthetic face, and no system that made it, has seen a face or person that is held out.

    Args:
        made: synthetic faces with their provenance.
        config: the `config.json` of the checkpoint that made them; None if no checkpoint did.
        seen: the faces that the system was given; None if it was trained elsewhere, on what only its maker knows.
        held_out: what it must not have seen.
        rendered: whether the people of the synthetic faces do not exist, whatever their names.

    Raises:
        EmoaugError: it has.
    """
    for *_, column in ORIGINS:
        from_test = made.table[column].isin(held_out.pictures).sum() if column in made.table else 0
        if from_test:
            raise EmoaugError(f"{made.root}: {from_test} synthetic faces were made from faces that are held out")
    used = set(made.table.subject.dropna()) & held_out.subjects
    if used and not rendered:
        raise EmoaugError(f"{made.root}: it has synthetic faces of {few(used)}, held out")
    if config is None:
        return
    trained = config["extra"].get("training_data", {})
    strangers = trained_people(config) & held_out.subjects
    if strangers:
        raise EmoaugError(f"{made.root}: its system was trained on {few(strangers)}, held out")
    # Where nobody is named, and against everything else that is no training face of this trial.
    if seen is not None and trained.get("sha256") != data_hash(seen):
        raise EmoaugError(f"{made.root}: its system was trained on other faces than the trial's training faces")
