"""How every command names a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from augment.expressions import LABEL_ORDERS, label_order
from augment.folders import FaceTable, drop_unreadable, read_faces
from emoaug import EmoaugError, words


@dataclass(frozen=True)
class DatasetOptions:
    """How to read a dataset's labels."""

    labels: tuple[str, ...] = ()
    """Renames expressions, OLD=NEW each: --labels irritated=angry joyful=happy. The name of a published dataset stands
    for what its numbers or letters mean: AffectNet-8, CFEE-22, CK+, FER2013, KDEF, RaFD, RAF-DB."""
    vocabulary: tuple[str, ...] = ()
    """The classes, in order, with commas or spaces; by default those that the dataset has."""
    subject_pattern: str | None = None
    """Regular expression whose group finds the subject in a file name, for example '(S[0-9]+)_'."""


def open_dataset(path: Path, options: DatasetOptions, unlabelled: bool = False) -> FaceTable:
    """Read a dataset, with or without its unlabelled pictures, and say what is worth saying about it."""
    renames: dict[str, str] = {}
    for text in words(options.labels):
        old, equals, new = text.partition("=")
        if not equals and (order := label_order(text)):
            renames |= order.renames()
        elif old and new:
            renames[old] = new
        else:
            raise EmoaugError(
                f'--labels "{text}": write OLD=NEW, for example irritated=angry, '
                f"or the name of a dataset: {', '.join(LABEL_ORDERS)}"
            )
    faces = read_faces(path, renames, words(options.vocabulary) or None, options.subject_pattern, unlabelled)
    for note in faces.notes:
        print(note)
    _say_rejected(faces.rejected)
    return faces


def readable(faces: FaceTable) -> FaceTable:
    """Leave out pictures that cannot be decoded, and say so."""
    decoded = drop_unreadable(faces)
    _say_rejected(decoded.rejected.iloc[len(faces.rejected) :])
    if not len(decoded):
        raise EmoaugError(f"{faces.root}: no picture can be read")
    return decoded


def _say_rejected(rejected: pd.DataFrame) -> None:
    if len(rejected):
        first = rejected.iloc[0]
        print(f"{len(rejected)} files or rows cannot be used, the first: {first.file_name}: {first.reason}")
