"""Check that a dataset folder is what its metadata.csv says: files, hashes, labels, and no face of a test subject."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from augment.folders import read_faces
from augment.listings import UNLABELLED, check_name, class_folder, find_pictures, read_rows
from augment.pictures import decode_picture
from augment.runs import RUN, read_json
from augment.workers import in_threads
from emoaug import EmoaugError


class Row:
    """A row of metadata.csv; not a dict of its own, because there may be a million."""

    __slots__ = ("_cells", "_places")

    def __init__(self, places: Mapping[str, int], cells: list[str]) -> None:
        self._places, self._cells = places, cells

    def get(self, column: str) -> str:
        """The text in a column, empty if there is no such column."""
        place = self._places.get(column)
        return "" if place is None else self._cells[place]

    def __contains__(self, column: str) -> bool:
        return column in self._places


@dataclass(frozen=True)
class Verification:
    """What a check of a folder found."""

    problems: tuple[str, ...]
    """One line each, with the file and what is wrong with it; empty if all is well."""
    rows: int
    """Rows of metadata.csv."""
    pictures: int
    """Picture files in the folder."""
    sources_checked: int
    """Rows whose source file was there and was hashed."""
    sources_missing: int
    """Rows whose source file is not there, so that its hash could not be checked."""


def verify_folder(folder: Path) -> list[str]:
    """Check a dataset folder; see `verify`.

    Args:
        folder: the folder that has the metadata.csv.

    Returns:
        The problems, one line each; empty if all is well.
    """
    return list(verify(folder).problems)


def verify(folder: Path) -> Verification:
    """Check a dataset folder against its metadata.csv and run.json.

    The run is finished, every picture decodes, every row has its file and every file its row, no row comes twice,
    labels match the class folder and the vocabulary, conditions are shares, hashes match, rejected faces have a reason
    and no file, and no synthetic face was made from a person who is in the test split.

    Args:
        folder: the folder that has the metadata.csv.

    Raises:
        EmoaugError: there is no folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EmoaugError(f"{folder} is no folder; give the folder that emoaug wrote")
    run = _run(folder)
    listing = find_pictures(folder)
    problems = [f"{name}: {reason}" for name, reason in listing.rejected]
    if run.get("finished") is False:
        problems.append(f"{RUN}: the run that fills this folder is not finished; give its command again")
    try:
        read = read_rows(folder / "metadata.csv")
    except EmoaugError as error:
        return Verification((*problems, str(error)), 0, len(listing.names), 0, 0)
    problems += [f"{place}: {reason}" for place, reason in read.rejected]
    if "file_name" not in read.columns:
        return Verification((*problems, "metadata.csv has no column file_name"), 0, len(listing.names), 0, 0)
    places = {name: place for place, name in enumerate(read.columns)}
    rows = [Row(places, cells) for cells in read.cells]
    on_disk = set(listing.names)

    first_line: dict[str, int] = {}
    wanted: list[tuple[str, Row]] = []
    for row, line in zip(rows, read.lines, strict=True):
        name, reason = check_name(folder, row.get("file_name"), on_disk)
        place = f"metadata.csv, line {line}: {name}"
        if name in first_line:
            problems.append(f"{place}: listed already in line {first_line[name]}")
        elif row.get("accepted").lower() == "false":
            problems += [f"{place}: {text}" for text in _rejection_problems(row, reason)]
        elif reason:
            problems.append(f"{place}: {reason}")
        else:
            found = _label_problems(row, name, run.get("vocabulary")) + _condition_problems(row.get("condition"))
            problems += [f"{place}: {text}" for text in found]
            wanted.append((name, row))
        first_line.setdefault(name, line)
    problems += [f"{name}: not listed in metadata.csv" for name in sorted(on_disk.difference(first_line))]

    sources = _Sources(folder, run)
    problems += filter(None, in_threads(lambda item: _file_problem(folder / item[0], *item), wanted))
    problems += filter(None, in_threads(lambda item: sources.problem(*item), wanted))
    problems += _test_subject_problems(wanted, _source_people(run, rows))
    hashed = sum(bool(sources.path(row) and row.get("source_sha256")) for _, row in wanted)
    missing = sum(bool(row.get("source_file") and not sources.path(row)) for _, row in wanted)
    return Verification(tuple(problems), len(rows), len(on_disk), hashed, missing)


def _run(folder: Path) -> dict[str, Any]:
    """Read run.json; a folder that emoaug did not write has none."""
    path = folder / RUN
    if not path.is_file():
        return {}
    run = read_json(path)
    return run if isinstance(run, dict) else {}


def _rejection_problems(row: Row, reason: str) -> list[str]:
    """A rejected face has a reason and no file; `reason` says why its name is no file."""
    problems = [] if row.get("reject_reason").strip() else ["not accepted, but without reject_reason"]
    if reason != "no such file":
        problems.append(f"not accepted, but {reason or 'its file is there'}")
    return problems


def _label_problems(row: Row, name: str, vocabulary: object) -> list[str]:
    """A label is the class folder's name and in the vocabulary; pictures without one have a folder of their own."""
    class_name = class_folder(name)[0]
    label = row.get("label") if "label" in row else class_name
    if not label and class_name == UNLABELLED:
        return []
    problems = [] if label == class_name else [f'label "{label}" is not the class folder "{class_name}"']
    if isinstance(vocabulary, list) and label not in vocabulary:
        problems.append(f'label "{label}" is not in the vocabulary of run.json ({", ".join(map(str, vocabulary))})')
    return problems


@lru_cache(maxsize=4096)
def _condition_problems(text: str) -> list[str]:
    """A condition is a JSON object with values from 0 to 1."""
    if not text:
        return []
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict) and all(type(value) in (int, float) and 0 <= value <= 1 for value in values.values()):
        return []
    return [f"condition {text[:80]} is no JSON object with values from 0 to 1"]


def _file_problem(path: Path, name: str, row: Row) -> str:
    """A picture decodes and has the hash that was noted when it was written."""
    try:
        data = path.read_bytes()
        decode_picture(data)
    except (OSError, EmoaugError) as error:
        return f"{name}: {error}"
    written = row.get("file_sha256")
    if written and hashlib.sha256(data).hexdigest() != written.lower():
        return f"{name}: the file has changed since it was written (file_sha256 does not match)"
    return ""


def _dataset(run: Mapping[str, Any]) -> Path | None:
    """The dataset that run.json says the folder was made from, None if it is not named or not there."""
    for part in (run, run.get("provenance"), run.get("settings")):
        data = part.get("data") if isinstance(part, dict) else None
        if isinstance(data, str) and data and os.path.exists(data):  # noqa: PTH110 - see check_name
            return Path(data)
    return None


class _Sources:
    """Where the source files of rows are, and their hashes; every file is looked at once, however many rows name it."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder, self.dataset = folder, _dataset(run)
        self._paths: dict[str, Path | None] = {}
        self._hashes: dict[Path, str] = {}

    def path(self, row: Row) -> Path | None:
        """A row's source file, None if it has none or it is not there.

        A relative name belongs to the dataset that run.json names, or, where it climbs with "..", to the folder itself.
        Without "..", the folder has its own picture under that name as often as not.
        """
        name = row.get("source_file")
        if name not in self._paths:
            self._paths[name] = self._find(Path(name))
        return self._paths[name]

    def _find(self, written: Path) -> Path | None:
        if written.is_absolute():
            place = written
        elif ".." in written.parts:
            place = self.folder / written
        elif self.dataset is not None:
            place = (self.dataset if self.dataset.is_dir() else self.dataset.parent) / written
        else:
            return None
        return place if os.path.isfile(place) else None  # noqa: PTH113 - see check_name

    def problem(self, name: str, row: Row) -> str:
        """A source that is there has the hash that was noted."""
        written, source = row.get("source_sha256"), self.path(row)
        if source is None or not written:
            return ""
        try:
            if source not in self._hashes:
                self._hashes[source] = hashlib.sha256(source.read_bytes()).hexdigest()
        except OSError as error:
            return f"{name}: source {source} cannot be read ({error.strerror})"
        if self._hashes[source] == written.lower():
            return ""
        return f"{name}: source {row.get('source_file')} has changed (source_sha256 does not match)"


def _source_people(run: Mapping[str, Any], rows: list[Row]) -> dict[str, tuple[str, str]]:
    """Collect subject and split of every real face by the name that source_file has for it.

    They come from the folder's own rows and from the dataset that run.json names.
    """
    people = {
        row.get("source_file") or row.get("file_name"): (row.get("subject"), row.get("split"))
        for row in rows
        if row.get("is_synthetic").lower() != "true"
    }
    dataset = _dataset(run)
    if dataset is not None:
        try:
            faces = read_faces(dataset)
        except EmoaugError:
            return people  # it reads only with the mapping of its labels, which is not known here
        columns = faces.table[["file_name", "subject", "split"]]
        for name, subject, split in columns.itertuples(index=False, name=None):
            people[name] = people[str(faces.root / name)] = (subject or "", split or "")
    return people


def _test_subject_problems(wanted: list[tuple[str, Row]], people: Mapping[str, tuple[str, str]]) -> list[str]:
    """No synthetic face comes from a face, or a person, of the test split."""
    tested = {subject for subject, split in people.values() if split == "test" and subject}
    problems = []
    for name, row in wanted:
        if row.get("is_synthetic").lower() != "true":
            continue
        for role, column in (
            ("source", "source_file"),
            ("exemplar", "exemplar_file"),
            ("second exemplar", "second_exemplar_file"),
        ):
            subject, split = people.get(row.get(column), ("", ""))
            named = [subject]
            if role == "source":
                named = [row.get("source_subject"), subject, row.get("subject")]
                split = row.get("source_split") or split
            known = [name for name in named if name]
            found = [name for name in known if name in tested]
            if split == "test" or found:
                who = f"subject {(found or known)[0]}" if known else row.get(column)
                problems.append(f"{name}: made from {role} {who}, who is in the test split")
    return problems
