"""Check that a dataset folder is what its metadata.csv says: files, hashes, labels, and no face of a test subject."""

import hashlib
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from augment.folders import ORIGINS, read_faces
from augment.listings import UNLABELLED, check_name, class_folder, find_pictures, iterate_rows, wrong_length
from augment.pictures import decode_picture
from augment.runs import RUN, read_json
from augment.workers import in_threads
from emoaug import EmoaugError

TABLE = "metadata.csv"
AT_A_TIME = 4096
"""Rows whose files are looked at together."""


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
    """Rows with a source, or an exemplar, whose file was there and was hashed."""
    sources_missing: int
    """Rows with a source, or an exemplar, whose file is not there, so that its hash could not be checked."""


def verify(folder: Path) -> Verification:
    """Check a dataset folder against its metadata.csv and run.json.

    The run is finished, every picture decodes, every row has its file and every file its row, no row comes twice,
    labels match the class folder and the vocabulary, conditions are shares, hashes match (of sources and exemplars too,
    where these are there), rejected faces have a reason and no file, and no synthetic face was made from a person who
    is in the test split.

    Args:
        folder: the folder that has the metadata.csv.

    Raises:
        EmoaugError: there is no folder, or neither of the two files by which emoaug knows what it wrote.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EmoaugError(f"{folder} is no folder; give the folder that emoaug wrote")
    if not (folder / TABLE).is_file() and not (folder / RUN).is_file():
        raise EmoaugError(
            f"{folder} has no {TABLE} and no {RUN}: it is no dataset folder that emoaug wrote, and there is nothing to "
            "check"
        )
    run = _run(folder)
    listing = find_pictures(folder)
    problems = [f"{name}: {reason}" for name, reason in listing.rejected]
    if run.get("finished") is False:
        problems.append(f"{RUN}: the run that fills this folder is not finished; give its command again")
    try:
        check = _Check(folder, run, listing.names)
        for line, row in _rows(folder / TABLE, problems):
            check.add(line, row)
    except EmoaugError as error:
        return Verification((*problems, str(error)), 0, len(listing.names), 0, 0)
    problems += check.problems()
    return Verification(tuple(problems), check.rows, len(listing.names), check.hashed, check.missing)


def _rows(path: Path, problems: list[str]) -> Iterator[tuple[int, Row]]:
    """The rows of metadata.csv with their lines, and what is wrong with others; never all of them in memory."""
    each = iterate_rows(path)
    _, columns = next(each)
    if "file_name" not in columns:
        raise EmoaugError(f"{path.name} has no column file_name")
    places = {name: place for place, name in enumerate(columns)}
    for line, cells in each:
        if len(cells) == len(columns):
            yield line, Row(places, cells)
        else:
            problems.append(f"{path.name}, line {line}: {wrong_length(cells, columns)}")


class _Check:
    """Checks rows one after another, and keeps of each only its name and its line: there may be a million.

    Args:
        folder: the folder.
        run: its run.json.
        names: the pictures in it.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any], names: list[str]) -> None:
        self.folder, self.vocabulary = folder, run.get("vocabulary")
        self.rows = self.hashed = self.missing = 0
        self._sources = _Sources(folder, run)
        # A first look at all rows, because those of the sources may stand after what was made from them.
        self._people = _source_people(folder, run, (row for _, row in _rows(folder / TABLE, [])))
        self._tested = {subject for subject, split in self._people.values() if split == "test" and subject}
        # The pictures, and other names that the table has, with the line where each was first, 0 for none.
        self._lines = dict.fromkeys(names, 0)
        self._wanted: list[tuple[str, Row]] = []
        self._of_rows: list[str] = []
        self._of_files: list[str] = []
        self._of_sources: list[str] = []
        self._of_people: list[str] = []

    def add(self, line: int, row: Row) -> None:
        """Check a row."""
        self.rows += 1
        name, reason = check_name(self.folder, row.get("file_name"), self._lines)
        place = f"{TABLE}, line {line}: {name}"
        if self._lines.get(name):
            self._of_rows.append(f"{place}: listed already in line {self._lines[name]}")
            return
        self._lines[name] = line
        if row.get("accepted").lower() == "false":
            self._of_rows += [f"{place}: {text}" for text in _rejection_problems(row, reason)]
        elif reason:
            self._of_rows.append(f"{place}: {reason}")
        else:
            found = _label_problems(row, name, self.vocabulary) + _condition_problems(row.get("condition"))
            self._of_rows += [f"{place}: {text}" for text in found]
            self._wanted.append((name, row))
            if len(self._wanted) == AT_A_TIME:
                self._look()

    def _look(self) -> None:
        """Look at the files of the rows that wait for it."""
        wanted, self._wanted = self._wanted, []
        self._of_files += filter(None, in_threads(lambda item: _file_problem(self.folder / item[0], *item), wanted))
        self._of_sources += chain.from_iterable(in_threads(lambda item: self._sources.problems(*item), wanted))
        for name, row in wanted:
            self._of_people += _test_subject_problems(name, row, self._people, self._tested)
            there = [(row.get(file), self._sources.path(row.get(file)), row.get(sha256)) for _, file, sha256 in ORIGINS]
            self.hashed += any(path and written for _, path, written in there)
            self.missing += any(file and not path for file, path, _ in there)

    def problems(self) -> list[str]:
        """What was found, after the last row."""
        self._look()
        unlisted = [f"{name}: not listed in {TABLE}" for name, line in self._lines.items() if not line]
        return [*self._of_rows, *unlisted, *self._of_files, *self._of_sources, *self._of_people]


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


def _dataset(folder: Path, run: Mapping[str, Any]) -> Path | None:
    """The dataset that run.json says a folder was made from, None if it is not named or not there."""
    for part in (run, run.get("provenance"), run.get("settings")):
        data = part.get("data") if isinstance(part, dict) else None
        # Absolute, or as seen from the folder, wherever whoever verifies it stands.
        if isinstance(data, str) and data and os.path.exists(place := folder.resolve() / data):  # noqa: PTH110 - see check_name
            return place
    return None


class _Sources:
    """Where the files that rows were made from are, and their hashes; each is looked at once, whoever names it."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder, self.dataset = folder, _dataset(folder, run)
        self._paths: dict[str, Path | None] = {}
        self._hashes: dict[Path, str] = {}

    def path(self, name: str) -> Path | None:
        """Where a file lies, None if there is no name or the file is not there.

        A relative name belongs to the dataset that run.json names, or, where it climbs with "..", to the folder itself.
        Without "..", the folder has its own picture under that name as often as not.
        """
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

    def problems(self, name: str, row: Row) -> list[str]:
        """A source or an exemplar that is there has the hash that was noted."""
        found = []
        for origin, column, sha256 in ORIGINS:
            file, written = row.get(column), row.get(sha256)
            path = self.path(file)
            if path is None or not written:
                continue
            try:
                if path not in self._hashes:
                    self._hashes[path] = hashlib.sha256(path.read_bytes()).hexdigest()
                if self._hashes[path] != written.lower():
                    found.append(f"{origin} {file} has changed ({sha256} does not match)")
            except OSError as error:
                found.append(f"{origin} {path} cannot be read ({error.strerror})")
        return [f"{name}: {text}" for text in found]


def _source_people(folder: Path, run: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """Collect subject and split of every real face by the name that source_file has for it.

    They come from the folder's own rows and from the dataset that run.json names.
    """
    people = {
        row.get("source_file") or row.get("file_name"): (row.get("subject"), row.get("split"))
        for row in rows
        if row.get("is_synthetic").lower() != "true"
    }
    dataset = _dataset(folder, run)
    if dataset is not None:
        try:
            faces = read_faces(dataset)
        except EmoaugError:
            return people  # it reads only with the mapping of its labels, which is not known here
        columns = faces.table[["file_name", "subject", "split"]]
        for name, subject, split in columns.itertuples(index=False, name=None):
            people[name] = people[str(faces.root / name)] = (subject or "", split or "")
    return people


def _test_subject_problems(
    name: str, row: Row, people: Mapping[str, tuple[str, str]], tested: Container[str]
) -> list[str]:
    """No synthetic face comes from a face, or a person, of the test split."""
    if row.get("is_synthetic").lower() != "true":
        return []
    problems = []
    for origin, column, _ in ORIGINS:
        file = row.get(column)
        subject, split = people.get(file, ("", ""))
        named = [subject, row.get("subject")] if origin == "source" else [subject]
        known = [who for who in named if who]
        found = [who for who in known if who in tested]
        if split == "test" or found:
            who = f"subject {(found or known)[0]}" if known else file
            problems.append(f"{name}: made from {origin} {who}, who is in the test split")
    return problems
