"""What lies in a folder of pictures, and what a table of them says, before anything is understood as a face.

Nothing here opens a picture: 30,000 files take a second or two.
"""

import csv
import os
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from augment.pictures import PICTURE_SUFFIXES
from emoaug import EmoaugError

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "privatetest": "test",
    "publictest": "test",
}
"""What folders and tables call the splits, in lower case. See `split_names` for PublicTest."""

UNLABELLED = "unlabelled"
"""Class folder of pictures without a label; "unlabeled" is read too."""

MOST_COLUMNS = 10_000
"""Columns of a table; a file with more is not what it was taken for."""

# What lies about in dataset folders and is no picture; anything else that is not read is reported.
_READ = ", ".join(sorted(suffix[1:] for suffix in PICTURE_SUFFIXES))
_OTHER_SUFFIXES = frozenset(
    {".csv", ".tsv", ".json", ".jsonl", ".npz", ".npy", ".txt", ".md", ".html", ".xml", ".yaml", ".yml", ".ini", ".db"}
)


@dataclass
class Listing:
    """Rows that name pictures, and what had to be left out."""

    names: list[str] = field(default_factory=list)
    """Names relative to the folder, with forward slashes."""
    rejected: list[tuple[str, str]] = field(default_factory=list)
    """Name and reason."""


@dataclass
class Rows:
    """The rows of a CSV file, all as text."""

    columns: list[str]
    """Names in the header, without spaces at the ends."""
    lines: list[int]
    """For each row, the line of the file on which it ends (the header is line 1)."""
    cells: list[list[str]]
    """For each column, one cell per row."""
    rejected: list[tuple[str, str]]
    """For rows whose number of cells is not the header's: the row's place and the reason."""


def split_names(present: set[str]) -> dict[str, str]:
    """Map the names of splits, in lower case, to train, val and test.

    FER2013's PublicTest is the validation split where PrivateTest exists too, as in the 2013 challenge, and the test
    split where it is all there is.

    Args:
        present: the names of splits that occur in the data, in lower case.
    """
    return SPLITS | {"publictest": "val"} if "privatetest" in present else SPLITS


def find_pictures(root: Path) -> Listing:
    """List the pictures below a folder, sorted by name.

    Hidden files, tables, JSON, arrays and contact sheets are passed over; links that leave the folder, links to
    folders, and files of unknown kind are rejected with their reason.

    Args:
        root: the folder.
    """
    listing = Listing()
    inside = os.path.realpath(root)
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        with os.scandir(root / prefix) as entries:
            for entry in entries:
                name = prefix + entry.name
                if entry.name.startswith("."):
                    continue
                if not _is_text(entry.name):
                    shown = os.fsencode(name).decode("utf-8", "replace")
                    listing.rejected.append((shown, "its name is not UTF-8 text; rename it"))
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(name + "/")
                elif entry.is_dir():
                    listing.rejected.append(
                        (name, "a link to a folder, which is not followed; copy it, or move it here")
                    )
                elif Path(entry.name).suffix.lower() not in PICTURE_SUFFIXES:
                    if Path(entry.name).suffix.lower() not in _OTHER_SUFFIXES:
                        listing.rejected.append((name, f"not a kind of picture that is read: {_READ}"))
                elif entry.name.startswith("contact_sheet"):
                    continue
                elif entry.is_symlink() and not _is_below(entry.path, inside):
                    listing.rejected.append((name, "a link that leaves the folder"))
                else:
                    listing.names.append(name)
    listing.names.sort()
    listing.rejected.sort()
    return listing


def _is_text(name: str) -> bool:
    """Say whether a name can be written into a table: names of files may be any bytes."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_below(path: str | Path, real_root: str) -> bool:
    """Say whether a path, links followed, lies below a folder that has no links in its own path."""
    return Path(os.path.realpath(path)).is_relative_to(real_root)


def check_name(root: Path, name: str, listed: Container[str]) -> tuple[str, str]:
    """Find the file that a table names.

    Spaces around the name and backslashes for slashes are forgiven where the name as written is no file.

    Args:
        root: folder that the name is relative to.
        name: what the table says.
        listed: the names that `find_pictures` found, which need no further check.

    Returns:
        The name with forward slashes, and the reason why it cannot be used, empty if it can.
    """
    if name in listed:
        return name, ""
    for written in dict.fromkeys((name, name.strip(), name.strip().replace("\\", "/"))):
        if not written or PurePosixPath(written).is_absolute() or PureWindowsPath(written).drive:
            return name, "the name must be relative to the table's folder"
        if ".." in PurePosixPath(written).parts:
            return name, "the name leaves the table's folder"
        clean = PurePosixPath(written).as_posix()
        if clean in listed:
            return clean, ""
        if os.path.isfile(root / clean):  # noqa: PTH113 - Path.is_file raises on names that are too long
            inside = _is_below(root / clean, os.path.realpath(root))
            return clean, "" if inside else "a link that leaves the folder"
    return name, "no such file"


def class_folder(name: str) -> tuple[str | None, str | None]:
    """Read the class folder and the split folder from a picture's name.

    Args:
        name: SPLIT/CLASS/.../FILE or CLASS/.../FILE, relative to the dataset's folder.

    Returns:
        The class folder, None if the picture is in none, and the split folder as it is written, None if there is none.
    """
    folders = name.split("/")[:-1]
    split = folders.pop(0) if folders and folders[0].lower() in SPLITS else None
    return (folders[0] if folders else None), split


def is_label(name: str | None) -> bool:
    """Say whether a class folder, or a table's word, is the name of an expression, and not of none."""
    return name is not None and name.strip().lower() not in ("", UNLABELLED, "unlabeled", "nan")


def subject_name(cell: str) -> str | None:
    """Read a table's word for a person, without spaces at the ends; None where it is what programs write for nobody."""
    # "NA" is not among them: JAFFE has a person of that name.
    return None if cell.strip().lower() in ("", "nan", "none", "null", "<na>") else cell.strip()


def read_rows(path: Path) -> Rows:
    """Read a CSV file: comma, semicolon or tab, with or without byte order mark, any newlines.

    Args:
        path: the file; UTF-8, or UTF-16 with a byte order mark.

    Raises:
        EmoaugError: the file cannot be read, is empty, or two columns have the same name.
    """
    each = iterate_rows(path)
    _, columns = next(each)
    rows = Rows(columns, [], [[] for _ in columns], [])
    # Most columns repeat a few texts, which are kept once: a table may have a million rows.
    known: list[dict[str, str]] = [{} for _ in columns]
    for line, cells in each:
        if len(cells) != len(columns):
            rows.rejected.append((f"{path.name}, line {line}", wrong_length(cells, columns)))
            continue
        rows.lines.append(line)
        for column, texts, cell in zip(rows.cells, known, cells, strict=True):
            column.append(texts.setdefault(cell, cell) if len(texts) < 10_000 else texts.get(cell, cell))
    return rows


def iterate_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Read a CSV file as `read_rows` does, one row after another: the line on which it ends, and its cells.

    The header comes first; empty lines are left out, rows of another length are not.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
    except OSError as error:
        raise EmoaugError(f"{path}: cannot be read ({error.strerror})") from None
    utf16 = start in (b"\xff\xfe", b"\xfe\xff")
    encoding = "utf-16" if utf16 else "utf-8-sig"
    # What is not text in a table can be no file's name here, and shows in the message that says so.
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        header = text.readline()
        text.seek(0)
        reader = csv.reader(text, delimiter=max(",;\t", key=header.count))
        try:
            columns = [cell.strip() for cell in next(reader, [])]
            _check_header(path, columns)
            yield reader.line_num, columns
            for cells in reader:
                if len(cells) == len(columns) or any(cells):
                    yield reader.line_num, cells
        except csv.Error as error:
            raise EmoaugError(f"{path}, line {reader.line_num}: not a CSV file ({error})") from None


def wrong_length(cells: list[str], columns: list[str]) -> str:
    """Say what is wrong with a row that has not one cell for each column."""
    return f"{len(cells)} cells where the header has {len(columns)}"


def _check_header(path: Path, columns: list[str]) -> None:
    """Raise EmoaugError unless a table's columns have names, each another."""
    if len(columns) > MOST_COLUMNS:
        raise EmoaugError(
            f"{path} has {len(columns):,} columns, and at most {MOST_COLUMNS:,} are read; expected a header "
            "such as file_name,label,subject"
        )
    twice = [name for name, count in Counter(map(str.lower, columns)).items() if count > 1]
    if not columns or twice:
        problem = f"has two columns {twice[0]!r}" if twice else "is empty"
        raise EmoaugError(f"{path} {problem}; expected a header such as file_name,label,subject")
