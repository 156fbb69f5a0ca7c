"""What a generation keeps on disk so that it can be stopped at any moment: whose folder it is, and what is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

PLAN = "plan.csv"
RECORD = "done.jsonl"
KIND = "emoaug generate"


@dataclass(frozen=True)
class Made:
    """What became of one row of the plan."""

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


class Record:
    """The append-only file of finished rows; each line is on the disk before the next one begins.

    A line that a kill or a power cut left torn is ignored: its rows are made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[int, Made]:
        """Finished rows by their number."""
        done: dict[int, Made] = {}
        for line in self.path.read_bytes().splitlines() if self.path.exists() else []:
            try:
                entries = [Made(**{**entry, "source_size": tuple(entry["source_size"])}) for entry in json.loads(line)]
            except (ValueError, TypeError, KeyError):
                continue
            done.update({entry.row: entry for entry in entries})
        return done

    def append(self, entries: list[Made]) -> None:
        """Add finished rows and wait until the disk has them."""
        with self.path.open("ab") as file:
            # The newline in front ends a torn line; an empty line is ignored like one.
            file.write(b"\n" + json.dumps([asdict(entry) for entry in entries]).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Remove the file, if it is there."""
        self.path.unlink(missing_ok=True)


def still_there(entry: Made, path_of: Callable[[int], Path]) -> bool:
    """Whether a row needs no more work: it was rejected, or its picture lies there as it was written."""
    if not entry.file_sha256:
        return bool(entry.rejected)
    try:
        return hashlib.sha256(path_of(entry.row).read_bytes()).hexdigest() == entry.file_sha256
    except OSError:
        return False
