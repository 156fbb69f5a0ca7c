"""The ways in which a dataset lists its faces: class folders, tables of file names, the published fer2013.csv.

Each reader gives a table with one row a face (file_name, label as written, subject, split, is_synthetic, line, and the
source's other columns), and what cannot be used with the reason. Pictures without a label have None for one.
"""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from augment.expressions import FER2013
from augment.listings import (
    Rows,
    check_name,
    class_folder,
    find_pictures,
    is_label,
    read_rows,
    split_names,
    subject_name,
)
from emoaug import EmoaugError

TABLE_NAMES = ("metadata.csv", "labels.csv", "fer2013.csv")
"""Tables that are looked for in a dataset's folder, in this order."""

_ALIASES = {
    "file_name": ("file_name", "path", "file", "image", "filename"),
    "label": ("label", "expression", "emotion"),
    "subject": ("subject", "person", "identity"),
    "split": ("split", "usage"),
    "is_synthetic": ("is_synthetic",),
}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def _records(columns: Mapping[str, Sequence[object]]) -> pd.DataFrame:
    """Build a table whose columns are plain objects, except is_synthetic and line."""
    frame = pd.DataFrame({name: pd.Series(list(values), dtype=object) for name, values in columns.items()})
    return frame.astype({"is_synthetic": bool, "line": np.int64})


def root_and_table(path: Path) -> tuple[Path, Path | None]:
    """Find the folder of a dataset's pictures, and its table if it has one.

    Raises:
        EmoaugError: neither a folder nor a table.
    """
    if path.is_dir():
        return path, next((path / name for name in TABLE_NAMES if (path / name).is_file()), None)
    if path.is_file() and path.suffix.lower() in (".csv", ".tsv"):
        return path.parent, path
    packed = "; unpack it first" if path.suffix.lower() in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar") else ""
    raise EmoaugError(
        f"{path} is neither a folder nor a CSV file; expected a folder of faces or a table of them{packed}"
    )


def read_records(
    root: Path, table_path: Path | None, whole_folder: bool, unlabelled: bool
) -> tuple[pd.DataFrame, list[tuple[str, str]], list[str]]:
    """Read a dataset in whichever way it lists its faces.

    Args:
        root: see `root_and_table`, as the next.
        table_path: its table; None for class folders.
        whole_folder: whether the folder was named, and not the table; see `read_table`.
        unlabelled: whether pictures without a label are taken.

    Returns:
        A row a face, what is rejected with the reason, and notes.
    """
    if table_path is None:
        return *read_class_folders(root, unlabelled), []
    rows = read_rows(table_path)
    if "pixels" in (name.lower() for name in rows.columns):
        return *read_fer2013(table_path, rows), []
    return read_table(root, table_path, rows, whole_folder, unlabelled)


def read_class_folders(root: Path, unlabelled: bool) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Read CLASS/.../NAME and SPLIT/CLASS/.../NAME; pictures in no class folder, or in "unlabelled", only on demand."""
    listing = find_pictures(root)
    places = [(name, *class_folder(name)) for name in listing.names]
    used = [(name, label if is_label(label) else None, split) for name, label, split in places]
    outside = [] if unlabelled else [(name, "not in a class folder") for name, label, _ in used if label is None]
    used = [place for place in used if unlabelled or place[1] is not None]
    splits = split_names({split.lower() for _, _, split in used if split})
    records = _records(
        {
            "file_name": [name for name, _, _ in used],
            "label": [label for _, label, _ in used],
            "subject": [None] * len(used),
            "split": [splits[split.lower()] if split else None for _, _, split in used],
            "is_synthetic": [False] * len(used),
            "line": [0] * len(used),
        }
    )
    return records, listing.rejected + outside


def _columns(path: Path, rows: Rows) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Separate the columns that have a meaning here, under their own names, from the others."""
    lower = [name.lower() for name in rows.columns]
    known = {
        meaning: next(alias for alias in aliases if alias in lower)
        for meaning, aliases in _ALIASES.items()
        if any(alias in lower for alias in aliases)
    }
    meant = {meaning: rows.cells[lower.index(alias)] for meaning, alias in known.items()}
    others = {
        name: cells
        for name, cells in zip(rows.columns, rows.cells, strict=True)
        if name.lower() not in known.values() and name
    }
    return meant, others


def _splits(path: Path, cells: Sequence[str], lines: Sequence[int]) -> list[str | None]:
    """Turn a table's words for the splits into train, val, test and None."""
    words = [cell.strip().lower() for cell in cells]
    names = split_names(set(words)) | {"": None}
    for word, line in zip(words, lines, strict=True):
        if word not in names:
            raise EmoaugError(f'{path}, line {line}: unknown split "{word}"; allowed are train, val, test or nothing')
    return [names[word] for word in words]


def _truths(path: Path, column: str, cells: Sequence[str], lines: Sequence[int]) -> list[bool | None]:
    """Turn a table's words for yes and no into bools, empty cells into None."""
    words = [cell.strip().lower() for cell in cells]
    for word, line in zip(words, lines, strict=True):
        if word and word not in _TRUTH:
            raise EmoaugError(f'{path}, line {line}: {column} is "{word}"; allowed are True and False')
    return [_TRUTH.get(word) for word in words]


def read_table(
    root: Path, path: Path, rows: Rows, whole_folder: bool, unlabelled: bool
) -> tuple[pd.DataFrame, list[tuple[str, str]], list[str]]:
    """Read a table of file names; rejected are rows without a file, files without a row, and, if unwanted, unlabelled
    ones."""
    meant, others = _columns(path, rows)
    if "file_name" not in meant:
        raise EmoaugError(f"{path} has no column file_name (or path, file, image); it has {', '.join(rows.columns)}")
    listing = find_pictures(root)
    on_disk = set(listing.names)
    checked = [check_name(root, name, on_disk) for name in meant["file_name"]]
    names = [name for name, _ in checked]
    folders = [class_folder(name) for name in names]
    labels = meant.get("label") or [label or "" for label, _ in folders]
    columns: dict[str, Sequence[object]] = {
        "file_name": names,
        "label": [label if is_label(label) else None for label in labels],
        "subject": [subject_name(cell) for cell in meant.get("subject", [""] * len(names))],
        "split": _splits(path, meant.get("split") or [split or "" for _, split in folders], rows.lines),
        "is_synthetic": [
            bool(truth)
            for truth in _truths(path, "is_synthetic", meant.get("is_synthetic", [""] * len(names)), rows.lines)
        ],
        "line": rows.lines,
        **{name: [cell or None for cell in cells] for name, cells in others.items()},
    }
    if "accepted" in others:
        columns["accepted"] = _truths(path, "accepted", others["accepted"], rows.lines)
    if "seed" in others:
        columns["seed"] = [int(cell) if re.fullmatch(r"-?\d+", cell) else cell or None for cell in others["seed"]]
    records = _records(columns)

    rejected = list(rows.rejected)
    first_line: dict[str, int] = {}
    keep = np.ones(len(names), dtype=bool)
    for i, (name, reason) in enumerate(checked):
        if reason == "no such file" and "accepted" in columns and columns["accepted"][i] is False:
            reason = f"not accepted: {(columns.get('reject_reason') or [None] * len(names))[i] or 'no reason given'}"
        elif not reason and name in first_line:
            reason = f"listed already in line {first_line[name]}"
        elif not reason and not unlabelled and not is_label(labels[i]):
            lacking = f": no column label in {', '.join(rows.columns)}" if "label" not in meant else ""
            reason = f"no label{lacking}"
        first_line.setdefault(name, rows.lines[i])
        if reason:
            keep[i] = False
            rejected.append((name, f"{path.name}, line {rows.lines[i]}: {reason}"))
    unlisted = sorted(on_disk.difference(names))
    notes = []
    if whole_folder:
        rejected += listing.rejected + [(name, f"not listed in {path.name}") for name in unlisted]
    elif unlisted:
        notes.append(f"{len(unlisted)} pictures in {root} are not listed in {path.name}")
    return _tidy(records[keep]), rejected, notes


def _tidy(records: pd.DataFrame) -> pd.DataFrame:
    """Number the rows from 0, and give accepted and seed their own types where no row lacks them."""
    records = records.reset_index(drop=True)
    for name, kind in (("accepted", bool), ("seed", int)):
        if name in records and len(records) and all(isinstance(value, kind) for value in records[name]):
            records[name] = records[name].infer_objects()
    return records


def read_fer2013(path: Path, rows: Rows) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Read the published table whose pictures are lists of grey values, under file names made from the row numbers."""
    meant, others = _columns(path, rows)
    pixels = next(cells for name, cells in others.items() if name.lower() == "pixels")
    if "label" not in meant:
        raise EmoaugError(f"{path} has no column emotion; it has {', '.join(rows.columns)}")
    splits = _splits(path, meant.get("split", [""] * len(pixels)), rows.lines)
    keep, rejected = [], list(rows.rejected)
    for i, text in enumerate(pixels):
        count = text.count(" ") + 1
        if math.isqrt(count) ** 2 == count > 1:
            keep.append(i)
        else:
            rejected.append((f"{path.name}, line {rows.lines[i]}", f"{count} pixels, which is no square picture"))
    labels = [FER2013.label(cell) if cell.strip().isdigit() else cell for cell in meant["label"]]
    names = [
        "/".join([*([split] if split else []), label, f"{i:06d}.png"])
        for i, (split, label) in enumerate(zip(splits, labels, strict=True))
    ]
    records = _records(
        {
            "file_name": names,
            "label": labels,
            "subject": [None] * len(names),
            "split": splits,
            "is_synthetic": [False] * len(names),
            "line": rows.lines,
            "pixels": [text.strip() for text in pixels],
        }
    )
    return records.iloc[keep].reset_index(drop=True), rejected


_EXAMPLES = {
    "subject": "the person's part in brackets, as in (S\\d+)",
    "label": "the expression's part in brackets, as in _([a-z]+)_",
}
"""For each column that file names can tell, what its pattern needs."""


def from_names(
    records: pd.DataFrame, column: Literal["subject", "label"], pattern: str
) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Take each face's subject or label from its file name; faces whose names do not tell it are left out.

    Args:
        records: see the module's docstring.
        column: which; also what the pattern's group may be called.
        pattern: regular expression, searched in the file names with their folders.

    Returns:
        The other faces, and the names of those left out with the reason.
    """
    try:
        search = re.compile(pattern)
    except re.error as error:
        raise EmoaugError(f"{column} pattern {pattern!r} is not a regular expression ({error})") from None
    if not search.groups:
        raise EmoaugError(f"{column} pattern {pattern!r} has no group; put {_EXAMPLES[column]}")
    group = column if column in search.groupindex else 1
    matches = [search.search(name) for name in records["file_name"]]
    found = [match.group(group) if match else None for match in matches]
    if len(records) and not any(found):
        raise EmoaugError(
            f"{column} pattern {pattern!r} matches no file name, for example {records['file_name'].iat[0]!r}"
        )
    keep = np.array([bool(text) for text in found], dtype=bool)
    reason = f"{column} pattern {pattern!r} does not match"
    misses = [(name, reason) for name in records["file_name"][~keep]]
    told = records.assign(**{column: pd.Series(found, dtype=object)})
    return told[keep].reset_index(drop=True), misses
