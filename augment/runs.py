"""Folders that a command fills over time: whose run they hold, who may write to them now, and clear errors.

A run folder has a `run.json` with the kind of run and its identity: everything that decides what its files are. The
same command in the same folder goes on; another one is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from augment.pictures import write_text
from emoaug import EmoaugError

RUN = "run.json"
LOCK = ".lock"

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Names of half-written files that `augment.pictures.write_bytes` leaves behind when the process is killed."""


def read_run(out: Path, kind: str, file: str = RUN) -> dict[str, Any] | None:
    """The `run.json` of a run of this kind in a folder; None if the folder is absent or empty.

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
        run = json.loads((out / file).read_bytes())
    except (OSError, ValueError):
        run = None
    if not isinstance(run, dict) or run.get("kind") != kind:
        raise EmoaugError(f"{out} is not empty and holds no run of {kind}; nothing was changed, choose another folder")
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


def write_run(out: Path, kind: str, run: Mapping[str, Any], file: str = RUN) -> None:
    """Write `run.json`."""
    write_text(out / file, json.dumps({"kind": kind, **run}, indent=2, ensure_ascii=False) + "\n")
