"""How every command names a dataset."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from augment.expressions import CANONICAL, LABEL_ORDERS, known_as, label_order
from augment.faces import lie_aligned, read_measures
from augment.folders import FaceTable, drop_unreadable, read_faces
from emoaug import EmoaugError, words


@dataclass(frozen=True)
class DatasetOptions:
    """How to read a dataset's labels."""

    labels: tuple[str, ...] = ()
    """Renames expressions, OLD=NEW each: --labels irritated=angry joyful=happy. The name of a published dataset stands
    for what its numbers or letters mean: AffectNet-8, CFEE-22, CK+, FER2013, JAFFE, KDEF, RaFD, RAF-DB."""
    vocabulary: tuple[str, ...] = ()
    """The classes, in order, with commas or spaces; by default those that the dataset has."""
    label_pattern: str | None = None
    """Regular expression whose group finds the expression in a file name, in the place of class folders, for example
    '_([a-z]+)_frontal'; other files are left out."""
    subject_pattern: str | None = None
    """Regular expression whose group finds the subject in a file name, for example '(S[0-9]+)_'."""


def open_dataset(path: Path, options: DatasetOptions, unlabelled: bool = False) -> FaceTable:
    """Read a dataset, with or without its unlabelled pictures, and say what is worth saying about it."""
    vocabulary = words(options.vocabulary) or None
    faces = read_faces(
        path,
        _renames(options.labels, "--labels"),
        vocabulary,
        options.subject_pattern,
        unlabelled,
        options.label_pattern,
    )
    return _told(faces, options.labels)


def tell_frames(faces: FaceTable) -> None:
    """Say where faces are not known to lie where systems look for them."""
    measures = read_measures(faces.root, list(faces.table.file_name))
    if measures is None:
        print(
            f"{faces.root}: no landmarks beside the pictures; if these are not aligned, emoaug align puts faces where "
            "systems look for them"
        )
    elif not lie_aligned(measures.landmarks):
        print(
            f"{faces.root}: most faces do not lie where aligned ones do, and there systems look for eyes and mouths; "
            "emoaug align puts them there"
        )


def open_test(
    path: Path | None, labels: Sequence[str], subject_pattern: str | None, faces: FaceTable
) -> FaceTable | None:
    """Read the folder that `--test` names, if any, in the words of the dataset that is trained on.

    Args:
        path: the folder.
        labels: `--test-labels`, as `DatasetOptions.labels`.
        subject_pattern: see `DatasetOptions`.
        faces: what is trained on.
    """
    if path is None:
        if labels:
            raise EmoaugError("--test-labels renames expressions of the folder that --test names; there is none")
        return None
    # Words of its own are known to no list.
    own = {name: name for name in faces.vocabulary if name not in CANONICAL}
    try:
        test = read_faces(path, own | _renames(labels, "--test-labels"), None, subject_pattern)
    except EmoaugError as error:
        text = re.sub(", or add it with --vocabulary .*", ".", str(error)).replace(" --labels ", " --test-labels ")
        raise EmoaugError(text) from None
    test = _told(test, labels)
    called = {label: known_as(label, faces.vocabulary) or label for label in set(test.table.label)}
    return replace(test, table=test.table.assign(label=test.table.label.map(called).astype(object)))


def _renames(labels: Sequence[str], option: str) -> dict[str, str]:
    """Read OLD=NEW, or the name of a published dataset."""
    renames: dict[str, str] = {}
    for text in words(labels):
        old, equals, new = text.partition("=")
        if not equals and (order := label_order(text)):
            renames |= order.renames()
        elif old and new:
            renames[old] = new
        else:
            raise EmoaugError(
                f'{option} "{text}": write OLD=NEW, for example irritated=angry, '
                f"or the name of a dataset: {', '.join(LABEL_ORDERS)}"
            )
    return renames


def _told(faces: FaceTable, labels: Sequence[str]) -> FaceTable:
    """Say what is worth saying, and keep no more: not that renamings which nobody wrote had no effect."""
    written = [text.casefold() for text in words(labels)]
    idle = [re.search("the renaming (.*) did nothing$", note) for note in faces.notes]
    kept = [match is None or match[1].casefold() in written for match in idle]
    faces = replace(faces, notes=tuple(note for note, keep in zip(faces.notes, kept, strict=True) if keep))
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
