"""What a generation keeps on disk so that it can be stopped at any moment: whose folder it is, and what is done."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np

from augment.runs import append_line, read_lines
from augment.workers import in_threads

PLAN = "plan.csv"
RECORD = "done.jsonl"
KIND = "emoaug generate"


class Made(NamedTuple):
    """What became of one row of the plan, as it stands in the record."""

    row: int
    file_sha256: str = ""
    """Hash of the picture; empty if none was made."""
    source_sha256: str = ""
    source_size: tuple[int, int] = (0, 0)
    """The source's height and width, pixels."""
    rejected: str = ""
    """Why no picture was made, in a few words that are the same for all such rows."""
    detail: str = ""
    """Why, for this row."""
    stamp: tuple[int, int] = (0, 0)
    """Length in bytes of the picture's file, and the time in nanoseconds when it was written."""
    exemplar_sha256: str = ""
    """Hash of the exemplar, where the system was shown one."""


class Outcomes:
    """What became of every row of a plan, by its place there; in arrays, because there may be a million.

    Args:
        rows: the numbers of the plan's rows, (N,) int64, each another.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.made = np.zeros(len(rows), dtype=bool)
        """Whether the row has its picture, (N,)."""
        self.source_sizes = np.zeros((len(rows), 2), dtype=np.int32)
        """Height and width of each row's source, pixels, (N, 2); 0 where it could not be read."""
        self.rejected: dict[int, tuple[str, str]] = {}
        """Why a place has no picture, in few words and in detail."""
        # SHA-256 of each row's picture, of its source and of the exemplar that was shown.
        self._digests = np.zeros((3, len(rows), 32), dtype=np.uint8)
        self._order = np.argsort(rows, kind="stable")

    @property
    def done(self) -> np.ndarray:
        """Which rows need no more work, (N,) bool."""
        done = self.made.copy()
        done[list(self.rejected)] = True
        return done

    def places(self, rows: Sequence[int]) -> np.ndarray:
        """Where in the plan rows stand, (n,) int64; -1 for those that it has not."""
        if not len(self.rows):
            return np.full(len(rows), -1)
        found = self._order[np.searchsorted(self.rows, rows, sorter=self._order).clip(max=len(self.rows) - 1)]
        return np.where(self.rows[found] == rows, found, -1)

    def add(self, entries: Sequence[Made]) -> None:
        """Note what became of some rows; the latest word on a row counts."""
        places = self.places([entry.row for entry in entries])
        texts = [(entry.file_sha256, entry.source_sha256, entry.exemplar_sha256) for entry in entries]
        digests = [[_digest(text) for text in row] for row in texts]
        self.made[places] = [bool(file and source) for file, source, _ in digests]
        joined = b"".join(digest or bytes(32) for row in digests for digest in row)
        self._digests[:, places] = np.frombuffer(joined, np.uint8).reshape(-1, 3, 32).swapaxes(0, 1)
        self.source_sizes[places] = np.array([entry.source_size for entry in entries], np.int32).reshape(-1, 2)
        for place, entry in zip(places.tolist(), entries, strict=True):
            self.rejected.pop(place, None)
            if entry.rejected:
                self.rejected[place] = (entry.rejected, entry.detail)

    def file_sha256(self, place: int) -> str:
        """Hash of a row's picture; of no meaning where none was made."""
        return self._digests[0, place].tobytes().hex()

    def source_sha256(self, place: int) -> str:
        """Hash of a row's source; of no meaning where it could not be read."""
        return self._digests[1, place].tobytes().hex()

    def exemplar_sha256(self, place: int) -> str:
        """Hash of the exemplar that a row was shown; empty where none was."""
        digest = self._digests[2, place]
        return digest.tobytes().hex() if digest.any() else ""


class Record:
    """The append-only file of finished rows; each line is on the disk before the next one begins.

    A line that a kill or a power cut left torn is ignored: its rows are made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Iterator[Made]:
        """What was appended, in that order: a row that was made again comes again, and the last time counts."""
        for line in read_lines(self.path):
            try:
                entries = [
                    Made(int(row), str(file), str(source), (h, w), str(why), str(detail), (length, time), str(shown))
                    for row, file, source, (h, w), why, detail, (length, time), shown in line
                ]
            except (ValueError, TypeError, KeyError):
                continue
            yield from entries

    def outcomes(self, rows: np.ndarray, path: Callable[[int], str], threads: int = 0) -> Outcomes:
        """What became of the rows of a plan: what was appended, as far as it is still so.

        Args:
            rows: the numbers of the plan's rows, (N,) int64.
            path: gives the place of a row's picture.
            threads: for the look at the pictures; 0 for one a core.
        """
        found, entries = Outcomes(rows), self.read()
        while block := list(islice(entries, 10_000)):
            places = found.places([entry.row for entry in block]).tolist()
            known = [(place, entry) for place, entry in zip(places, block, strict=True) if place >= 0]
            kept = in_threads(lambda item: still_there(item[1], path(item[0])), known, threads)
            # What is not there any more is as if it had never been done.
            found.add([entry if keep else Made(entry.row) for (_, entry), keep in zip(known, kept, strict=True)])
        return found

    def append(self, entries: list[Made]) -> None:
        """Add finished rows and wait until the disk has them."""
        append_line(self.path, entries)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def _digest(text: str) -> bytes:
    """The 32 bytes of a SHA-256 in hexadecimal; none if it is not one."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return b""
    return digest if len(digest) == 32 else b""


def stamp_of(path: str | Path) -> tuple[int, int]:
    """Length of a file, and when it was written; (0, 0) if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - asked of a million names
    except OSError:
        return (0, 0)
    return (found.st_size, found.st_mtime_ns)


def still_there(entry: Made, path: str | Path) -> bool:
    """Whether a row needs no more work: it was rejected, or its picture lies at `path` as it was written.

    A file of the same length and time is taken to be the one that was written; any other, as in a folder that was
    copied, is read and compared by its hash.
    """
    if not entry.file_sha256:
        return bool(entry.rejected)
    stamp = stamp_of(path)
    if stamp == entry.stamp and stamp[0]:
        return True
    try:
        return stamp[0] > 0 and hashlib.sha256(Path(path).read_bytes()).hexdigest() == entry.file_sha256
    except OSError:
        return False
