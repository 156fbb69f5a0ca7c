"""What a generation keeps on disk so that it can be stopped at any moment: whose folder it is, and what is done."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from augment.pictures import write_text
from emoaug import EmoaugError

RUN = "run.json"
PLAN = "plan.csv"
RECORD = "done.jsonl"
LOCK = ".lock"
KIND = "emoaug generate"

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Names of half-written files that `augment.pictures.write_bytes` leaves behind when the process is killed."""


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


def read_run(out: Path) -> dict[str, Any] | None:
    """The `run.json` of a generation in this folder; None if the folder is absent or empty.

    Raises:
        EmoaugError: the folder holds something else.
    """
    try:
        names = {path.name for path in out.iterdir()} if out.exists() else set()
    except OSError as error:
        raise EmoaugError(f"cannot read {out} as a folder ({error.strerror}); choose another folder") from error
    if not any(name != LOCK and not _TEMPORARY.fullmatch(name) for name in names):
        return None
    try:
        run = json.loads((out / RUN).read_bytes())
    except (OSError, ValueError):
        run = None
    if not isinstance(run, dict) or run.get("kind") != KIND:
        raise EmoaugError(f"{out} is not empty and holds no run of {KIND}; nothing was changed, choose another folder")
    return run


def check_same_run(out: Path, run: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Raise EmoaugError if the run in a folder would not make the same files as this one."""
    before = run.get("identity", {})
    differing = [name for name in identity if before.get(name) != identity[name]]
    if differing:
        raise EmoaugError(
            f"{out} holds another run: its {' and '.join(differing).replace('_', ' ')} "
            f"{'differs' if len(differing) == 1 else 'differ'}; nothing was changed. "
            "Choose another folder, or remove this one to begin anew"
        )


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold a folder, made if absent, for one process; the lock ends with the process, however it ends.

    Raises:
        EmoaugError: the folder cannot be written to, or another process holds it.
    """
    path = out / LOCK
    with explained_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        file = path.open("wb")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise EmoaugError(f"another run is writing to {out}; wait for its end or choose another folder") from None
        # Between opening and locking, a run that ended may have removed the file: then this lock guards nothing.
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(file.fileno())):
            raise EmoaugError(f"another run has just ended in {out}; give the command again")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextmanager
def explained_errors(out: Path) -> Iterator[None]:
    """Turn the file system's errors into EmoaugError."""
    try:
        yield
    except OSError as error:
        raise EmoaugError(
            f"cannot write to {out} ({error.strerror or error}); mend that, or choose another folder. "
            "The same command takes up a run where it stopped"
        ) from error


def remove_temporary_files(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for pattern in (".*.tmp", "*/.*.tmp"):
        for path in out.glob(pattern):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def clear_up(out: Path) -> None:
    """Remove what a run leaves that is killed in its last moment, after it has said that it is finished."""
    if not any((out / name).exists() for name in (LOCK, RECORD)):
        return
    # Not possible while the run itself is still doing it, or on a disk that has become read-only; then it may stay.
    with suppress(EmoaugError), locked(out), explained_errors(out):
        Record(out / RECORD).remove()


def still_there(entry: Made, path_of: Callable[[int], Path]) -> bool:
    """Whether a row needs no more work: it was rejected, or its picture lies there as it was written."""
    if not entry.file_sha256:
        return bool(entry.rejected)
    try:
        return hashlib.sha256(path_of(entry.row).read_bytes()).hexdigest() == entry.file_sha256
    except OSError:
        return False


def write_run(out: Path, run: Mapping[str, Any]) -> None:
    """Write `run.json`."""
    write_text(out / RUN, json.dumps({"kind": KIND, **run}, indent=2, ensure_ascii=False) + "\n")
