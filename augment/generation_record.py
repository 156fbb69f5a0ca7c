"""What a generation keeps on disk so that it can be stopped at any moment: whose folder it is, and what is done."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from augment.runs import append_line, read_lines

PLAN = "plan.csv"
RECORD = "done.jsonl"
KIND = "emoaug generate"


class Made(NamedTuple):
    """What became of one row of the plan; a tuple, because there may be a million."""

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


class Record:
    """The append-only file of finished rows; each line is on the disk before the next one begins.

    A line that a kill or a power cut left torn is ignored: its rows are made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, Made]:
        """Finished rows by their number."""
        done: dict[int, Made] = {}
        for line in read_lines(self.path):
            try:
                entries = [
                    Made(row, file, source, tuple(size), rejected, detail, tuple(stamp))
                    for row, file, source, size, rejected, detail, stamp in line
                ]
            except (ValueError, TypeError, KeyError):
                continue
            done.update((entry.row, entry) for entry in entries)
        return done

    def append(self, entries: list[Made]) -> None:
        """Add finished rows and wait until the disk has them."""
        append_line(self.path, entries)

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


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
