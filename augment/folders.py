"""Datasets on disk: read a folder or a table of labelled faces, write one back.

A dataset is CLASS/NAME.png, or SPLIT/CLASS/NAME.png, or a table (metadata.csv, labels.csv, any CSV) whose file names
are relative to its folder, or the published fer2013.csv. Whatever cannot be used is kept with its reason.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np
import pandas as pd

from augment.expressions import UnknownExpressionError, resolve_labels
from augment.listings import UNLABELLED, is_label
from augment.pictures import fit, read_file, read_picture, write_bytes
from augment.readers import from_names, read_records, root_and_table
from augment.workers import cores
from emoaug import EmoaugError

COLUMNS = (
    *("file_name", "label", "subject", "split", "is_synthetic"),
    *("source_file", "source_sha256", "exemplar_file", "source_label", "system", "checkpoint_sha256"),
    *("condition", "seed", "scores", "accepted", "reject_reason"),
)
"""The columns of metadata.csv in the order in which they are written; further columns follow."""

ORIGINS = (
    ("source", "source_file", "source_sha256"),
    ("exemplar", "exemplar_file", "exemplar_sha256"),
    ("second exemplar", "second_exemplar_file", "second_exemplar_sha256"),
)
"""What a synthetic face was made from, and the columns that say which file, and its hash."""

_SPECIAL = re.compile('[,"\r\n]')
"""What a cell of a CSV file has only between quotes."""

HELD_OUT_SPLITS = ("val", "test")
"""Splits whose faces, and whose subjects, no system learns from and no synthetic face is made from."""


@dataclass(frozen=True, eq=False)
class FaceTable:
    """A dataset's faces, one row each, not yet decoded."""

    root: Path
    """Folder that the file names are relative to."""
    table: pd.DataFrame
    """One row a face. file_name (with forward slashes), label (of `vocabulary`; None where unlabelled), subject (text
    or None), split (train, val, test or None), is_synthetic (bool); then the source table's other columns as text,
    None where empty, except accepted (bool) and seed (int); for fer2013.csv also pixels (text)."""
    vocabulary: tuple[str, ...]
    """The classes, in order."""
    rejected: pd.DataFrame
    """Files and rows that could not be used: file_name, reason."""
    notes: tuple[str, ...]
    """One-line remarks for the user."""

    def __len__(self) -> int:
        return len(self.table)

    def path(self, i: int) -> Path:
        """Return the path of one picture's file (which for fer2013.csv does not exist)."""
        return self.root / self._names[i]

    @cached_property
    def _names(self) -> np.ndarray:
        # A cell of a table takes longer to find than a small picture's file to open.
        return self.table["file_name"].to_numpy(object)

    def picture(self, i: int) -> np.ndarray:
        """Decode one picture.

        Returns:
            uint8 RGB, (H, W, 3).

        Raises:
            EmoaugError: the file cannot be read; the message names it.
        """
        if "pixels" not in self.table:
            return read_picture(self.path(i))
        try:
            values = np.array(str(self.table["pixels"].iat[i]).split(), dtype=np.uint8)
            side = math.isqrt(values.size)
            return np.repeat(values.reshape(side, side, 1), 3, axis=2)
        except (ValueError, OverflowError):
            raise EmoaugError(f"{self.path(i)}: pixels are not numbers from 0 to 255") from None

    def sha256(self, i: int) -> str:
        """Return the SHA-256 of one picture's file (for fer2013.csv, of its pixels' text) in hexadecimal."""
        if "pixels" in self.table:
            return hashlib.sha256(str(self.table["pixels"].iat[i]).encode()).hexdigest()
        return hashlib.sha256(self.path(i).read_bytes()).hexdigest()

    def read(self, i: int) -> tuple[np.ndarray, str]:
        """Return what `picture` and `sha256` give of one picture, from one look at its file.

        Raises:
            EmoaugError: the file cannot be read; the message names it.
        """
        if "pixels" in self.table:
            return self.picture(i), self.sha256(i)
        picture, data = read_file(self.path(i))
        return picture, hashlib.sha256(data).hexdigest()

    def label_indices(self) -> np.ndarray:
        """Return each face's place in the vocabulary, -1 where unlabelled, int64, (N,)."""
        places = {name: index for index, name in enumerate(self.vocabulary)}
        labels = self.table["label"]
        return np.array([places[label] if isinstance(label, str) else -1 for label in labels], dtype=np.int64)

    def originals(self) -> np.ndarray:
        """Say which faces count as given, (N,) bool: real ones, or all where none is real, as in simulated data."""
        synthetic = self.table["is_synthetic"].to_numpy(dtype=bool)
        return ~synthetic | synthetic.all()

    def for_training(self) -> np.ndarray:
        """Say which faces a system may learn from, (N,) bool: originals outside val and test, of nobody in these."""
        held_out = self.table["split"].isin(HELD_OUT_SPLITS)
        people = self.table.loc[held_out, "subject"].dropna().unique()
        return self.originals() & ~(held_out | self.table["subject"].isin(people)).to_numpy(dtype=bool)

    def select(self, which: np.ndarray | Sequence[int] | Sequence[bool]) -> "FaceTable":
        """Keep some faces.

        Args:
            which: a mask (N,) of bools, or indices in the order wanted.
        """
        chosen = np.asarray(which)
        rows = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return replace(self, table=self.table.iloc[rows].reset_index(drop=True))


def read_faces(
    path: Path,
    labels: Mapping[str, str] | None = None,
    vocabulary: Sequence[str] | None = None,
    subject_pattern: str | None = None,
    unlabelled: bool = False,
    label_pattern: str | None = None,
) -> FaceTable:
    """Read a dataset without decoding its pictures.

    Args:
        path: a folder or a CSV file. A folder with metadata.csv, labels.csv or fer2013.csv is read by that table,
            any other by its class folders, which may lie in split folders (train, val, test, Training, ...; PublicTest
            is val where PrivateTest exists too, else test).
        labels: from the dataset's labels to class names, see `augment.expressions.resolve_labels`.
        vocabulary: the classes in order. By default those that occur, or, where `labels` is not given either and the
            folder has a run.json, the vocabulary saved there.
        subject_pattern: regular expression searched in each file name (with its folders); its group "subject", or its
            first group, is the person. Takes precedence over a subject column.
        unlabelled: also take pictures without a label: those in no class folder or in one that is named "unlabelled",
            and a table's rows without one. Otherwise they are rejected.
        label_pattern: likewise; its group "label", or its first group, is the label. Takes precedence over folders and
            a label column. Names that it does not match are rejected.

    Raises:
        EmoaugError: nothing there to read, an unknown expression or split, a pattern that cannot work.
    """
    path = Path(path)
    root, table_path = root_and_table(path)
    if vocabulary is None and not labels and path.is_dir():
        vocabulary = _saved_vocabulary(root)
    named_apart = unlabelled or label_pattern is not None
    records, rejected, notes = read_records(root, table_path, path.is_dir(), named_apart)
    if label_pattern is not None:
        records, misses = from_names(records, "label", label_pattern)
        rejected += misses
    if subject_pattern is not None:
        records, misses = from_names(records, "subject", subject_pattern)
        rejected += misses
    if not len(records):
        where = root if table_path is None else table_path
        reasons = f" ({len(rejected)} rejected: {rejected[0][0]}: {rejected[0][1]}, ...)" if rejected else ""
        lacking = not unlabelled and any("class folder" in reason or "no label" in reason for _, reason in rejected)
        hint = (
            "; where file names say what is shown, --label-pattern finds it; "
            "without labels, align needs --unlabelled, and train --conditions blendshapes"
        )
        hint = hint if lacking else ""
        what = "no pictures to use" if rejected else "no pictures"
        expected = "" if rejected and table_path else "; expected DIR/CLASS/NAME.png or a metadata.csv"
        raise EmoaugError(f"{what} in {where}{expected}{reasons}{hint}")
    labels, written, more = _without_labels(records, labels or {}, unlabelled)
    try:
        named, classes, remarks = resolve_labels([label for label in written if label is not None], labels, vocabulary)
    except UnknownExpressionError as error:
        first = records.iloc[written.index(error.label)]
        place = root / first["file_name"] if table_path is None else f"{table_path}, line {first['line']}"
        # An album's folders are no classes, nor are those of a dataset that has one for each person.
        hint = f" To take its pictures without a label: --labels {quote(f'{error.label}={UNLABELLED}')}."
        hint = hint if unlabelled else ""
        if table_path is None and label_pattern is None:
            hint += " Where file names and not folders say what is shown, --label-pattern finds it."
        raise EmoaugError(f"{place}: {error}{hint}") from None
    found = iter(named)
    resolved = [None if label is None else next(found) for label in written]
    table = records.drop(columns="line").assign(label=pd.Series(resolved, dtype=object))
    leftover = pd.DataFrame(rejected, columns=["file_name", "reason"], dtype=object)
    return FaceTable(root, table, classes, leftover, (*remarks, *notes, *more))


def _without_labels(
    records: pd.DataFrame, labels: Mapping[str, str], unlabelled: bool
) -> tuple[dict[str, str], list[str | None], list[str]]:
    """Take away the labels of pictures that are renamed to "unlabelled".

    Returns:
        The other renamings, the labels as written or None, and notes on renamings that nothing is labelled with.
    """
    bare = {old.strip().casefold(): new for old, new in labels.items() if not is_label(new)}
    if bare and not unlabelled:
        old, new = next(iter(bare.items()))
        raise EmoaugError(
            f"--labels {old}={new}: pictures without a label are not taken here; --unlabelled does, where known"
        )
    words = [None if label is None else label.strip().casefold() for label in records["label"]]
    written = [None if word in bare else label for word, label in zip(words, records["label"], strict=True)]
    notes = [
        f"no picture is labelled '{old}', so the renaming {old}={bare[old]} did nothing"
        for old in bare
        if old not in words
    ]
    return {old: new for old, new in labels.items() if old.strip().casefold() not in bare}, written, notes


def _saved_vocabulary(root: Path) -> list[str] | None:
    """Read the vocabulary from a run.json, so that classes named in their user's own words keep their names."""
    try:
        saved = json.loads((root / "run.json").read_text(encoding="utf-8")).get("vocabulary")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return saved if isinstance(saved, list) and all(isinstance(name, str) for name in saved) else None


def check_outside(out: Path, source: Path, faces: FaceTable) -> None:
    """Raise EmoaugError if a result would lie in the folder of its own sources, where it would be taken for some.

    Args:
        out: where it is to lie.
        source: what the faces were read from; a table alone names its pictures, whatever lies beside them.
        faces: the sources.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()) and "pixels" not in faces.table.columns:
        raise EmoaugError(f"{out} lies in the folder of the sources, {source}; choose a folder outside it")


def write_metadata(folder: Path, table: pd.DataFrame | Iterable[pd.DataFrame]) -> None:
    """Write a folder's metadata.csv atomically.

    Args:
        folder: where the classes' folders are.
        table: as `FaceTable.table`, or several of the same columns, whose rows follow one another; the columns of
            `COLUMNS` that it has are written first. Missing values become empty cells, lists and mappings JSON. The
            column pixels is left out: a folder has its pictures as files.
    """
    pieces = (
        (table.iloc[at : at + 10_000] for at in range(0, max(1, len(table)), 10_000))
        if isinstance(table, pd.DataFrame)
        else table
    )
    write_bytes(Path(folder) / "metadata.csv", (line.encode("utf-8") for line in _lines(pieces)))


def _lines(pieces: Iterable[pd.DataFrame]) -> Iterator[str]:
    names: list[str] = []
    for piece in pieces:
        if not names:
            names = [name for name in COLUMNS if name in piece]
            names += [str(name) for name in piece if name not in COLUMNS and name != "pixels"]
            yield ",".join(map(_quoted, names)) + "\n"
        for row in zip(*(_cells(piece[name]) for name in names), strict=True):
            yield ",".join(row) + "\n"


def _cells(column: pd.Series) -> list[str]:
    """Write a column's values, without a look at each where there is nothing to write or to quote."""
    missing = column.isna()
    if missing.all():
        return [""] * len(column)
    cells = ["" if none else _cell(value) for value, none in zip(column.tolist(), missing.tolist(), strict=True)]
    if not _SPECIAL.search("".join(cells)):
        return cells
    quoted = {cell: _quoted(cell) for cell in set(cells)}
    return [quoted[cell] for cell in cells]


def _cell(value: Any) -> str:
    """Write one value as text."""
    return json.dumps(value) if isinstance(value, dict | list | tuple) else str(value)


def _quoted(cell: str) -> str:
    """Quote a cell where CSV needs it; Python 3.11's own writer forgets the carriage return."""
    return '"' + cell.replace('"', '""') + '"' if _SPECIAL.search(cell) else cell


def load_faces(faces: FaceTable, size: int | None) -> np.ndarray:
    """Decode all pictures into one array.

    Args:
        faces: which pictures.
        size: pixels a side of every picture of the result; None if all have one square size already.

    Returns:
        uint8 RGB, (N, 3, size, size).

    Raises:
        EmoaugError: a picture cannot be read, or `size` is None and the sizes differ or are not square.
    """

    def load(i: int) -> np.ndarray:
        picture = faces.picture(i)
        return (picture if size is None else fit(picture, size)).transpose(2, 0, 1)

    if not len(faces):
        return np.zeros((0, 3, size or 0, size or 0), dtype=np.uint8)
    first = load(0)
    if first.shape[1] != first.shape[2]:
        raise EmoaugError(_size_problem(faces, 0, first))
    stacked = np.empty((len(faces), *first.shape), dtype=np.uint8)

    def place(i: int) -> None:
        picture = load(i)
        if picture.shape != first.shape:
            raise EmoaugError(_size_problem(faces, i, picture))
        stacked[i] = picture

    with ThreadPoolExecutor(cores()) as pool:
        for _ in pool.map(place, range(len(faces))):
            pass
    return stacked


def _size_problem(faces: FaceTable, i: int, picture: np.ndarray) -> str:
    """Say which picture has which unfit size."""
    _, height, width = picture.shape
    return (
        f"{faces.path(i)} is {width}x{height} pixels; all pictures must have one square "
        "size. Align the faces first (emoaug align), or give a size to scale them to."
    )


def drop_unreadable(faces: FaceTable) -> FaceTable:
    """Decode every picture once and move those that cannot be read to `rejected`, with their reasons."""

    def problem(i: int) -> str:
        try:
            faces.picture(i)
        except EmoaugError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(cores()) as pool:
        problems = list(pool.map(problem, range(len(faces))))
    bad = np.array([bool(text) for text in problems], dtype=bool)
    added = pd.DataFrame(
        {"file_name": faces.table["file_name"][bad], "reason": [text for text in problems if text]}, dtype=object
    )
    rejected = pd.concat([faces.rejected, added], ignore_index=True)
    return replace(faces.select(~bad), rejected=rejected)
