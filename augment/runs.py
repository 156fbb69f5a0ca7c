"""Folders that a command fills over time: whose run they hold, who may write to them now, and clear errors.

A run folder has a `run.json` with the kind of run and its identity: everything that decides what its files are. The
same command in the same folder goes on; another one is refused.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, TypeVar

from augment.pictures import write_text
from emoaug import EmoaugError

Result = TypeVar("Result")

RUN = "run.json"
LOCK = ".lock"

_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")
"""Names of half-written files that `augment.pictures.write_bytes` leaves behind when the process is killed."""


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        EmoaugError: it is not JSON, or nested too deep to be read.
        OSError: it cannot be read.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise EmoaugError(f"{path} is not JSON ({error}); restore it, or begin anew without it") from None


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
        run = read_json(out / file)
    except (OSError, EmoaugError):
        run = None
    if not isinstance(run, dict) or run.get("kind") != kind:
        raise EmoaugError(f"{out} is not empty and holds no run of {kind}; nothing was changed, choose another folder")
    return run


BEGIN_ANEW = "Choose another folder, or remove this one to begin anew"


def finished_result(
    out: Path,
    kind: str,
    identity: Mapping[str, Any],
    build: Callable[[dict[str, Any]], Result],
    mend: str = BEGIN_ANEW,
) -> Result | None:
    """What the run in a folder came to, if it is this very run and finished; None if there is work to do.

    Args:
        out: the folder.
        kind: what kind of run it must be.
        identity: everything that decides what its files are.
        build: makes the summary from the `result` in `run.json`.
        mend: what to tell whoever finds another run there; see `check_same_run`.

    Raises:
        EmoaugError: the folder holds something else, or a `run.json` that is damaged.
    """
    run = read_run(out, kind)
    if run is None:
        return None
    check_same_run(out, run, identity, mend)
    if not run.get("finished"):
        return None
    try:
        return build(run["result"])
    except (KeyError, TypeError, ValueError) as error:
        raise EmoaugError(f"{out / RUN} is damaged ({error!r}); remove the folder to begin anew") from error


def check_same_run(out: Path, run: Mapping[str, Any], identity: Mapping[str, Any], mend: str = BEGIN_ANEW) -> None:
    """Raise EmoaugError, which ends with how to mend it, if the run in a folder would not make the same files."""
    before = run.get("identity", {})
    differing = _differences(before if isinstance(before, dict) else {}, identity)
    if differing:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        raise EmoaugError(
            f"{out} holds another run, which differs in {', '.join(differing[:3])}{more}; nothing was changed. {mend}"
        )


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Entries of what decides a run that are not as they were, each in words; of short ones with both values."""
    found = []
    # What only one of them has differs too: an entry that says nothing is left out.
    for name in dict.fromkeys([*now, *before]):
        one, other = before.get(name), now.get(name)
        if one == other:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [f"{name.replace('_', ' ')}: {inner}" for inner in _differences(one, other)]
        else:
            short = all(value is not None and len(str(value)) <= 20 for value in (one, other))
            found.append(name.replace("_", " ") + (f" ({one}, now {other})" if short else ""))
    return found


class FolderInUse(EmoaugError):
    """Another process holds a folder."""


class Hold:
    """A folder that this process alone writes to."""

    def __init__(self, out: Path, file: BufferedWriter) -> None:
        self.out, self._file = out, file

    @property
    def sound(self) -> bool:
        """Whether the lock is still in the folder: not where somebody removed it, with the folder or without."""
        try:
            return os.path.samestat(os.lstat(self.out / LOCK), os.fstat(self._file.fileno()))
        except OSError:
            return False

    def check(self, names: Iterable[str] = ()) -> None:
        """Raise EmoaugError if the folder, or any of these files in it, was removed while this run wrote to it."""
        if not self.sound:
            raise EmoaugError(
                f"{self.out} was removed, or something in it, while this run wrote to it; remove what is left of it, "
                "and give the command again"
            )
        gone = _missing(self.out, names)
        if gone:
            raise EmoaugError(
                f"{self.out}: {len(gone):,} files were removed while this run wrote to it, the first is {gone[0]}; "
                "the same command makes them again"
            )


def _missing(out: Path, names: Iterable[str]) -> list[str]:
    """Names, relative to a folder, of files that are not there."""
    # One by one: the listings of folders with a million files are as large as all that a run keeps in memory.
    return [name for name in names if not os.path.lexists(f"{out}/{name}")]


@contextmanager
def locked(out: Path) -> Iterator[Hold]:
    """Hold a folder, made if absent, for one process; the lock ends with the process, however it ends.

    Raises:
        FolderInUse: another process holds the folder.
        EmoaugError: it has links in it that lead out of it, or it cannot be written to; what goes wrong with files
            within is explained too.
    """
    path, begun = out / LOCK, not out.exists()
    with explained_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        # A lock that is a link could be anybody's file.
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    with open(number, "wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise FolderInUse(f"another run is writing to {out}; wait for its end or choose another folder") from None
        hold = Hold(out, file)
        # Between opening and locking, a run that ended may have removed the file: then this lock guards nothing.
        if not hold.sound:
            raise FolderInUse(f"another run has just ended in {out}; give the command again")
        try:
            _refuse_links(out)
            with explained_errors(out):
                yield hold
        finally:
            # Where the folder was removed and made anew, the lock in it is another run's.
            if hold.sound:
                with suppress(OSError):
                    path.unlink()
                    if begun:
                        out.rmdir()  # where nothing was written, because what was asked for was refused


def _refuse_links(out: Path) -> None:
    """Raise EmoaugError if anything in a folder is a link that leaves it: a run would write there."""
    inside = os.path.realpath(out)
    with explained_errors(out), os.scandir(out) as entries:
        for entry in entries:
            if entry.is_symlink() and not Path(os.path.realpath(entry.path)).is_relative_to(inside):
                raise EmoaugError(f"{entry.path} is a link that leaves the folder; remove it, or choose another folder")


@contextmanager
def explained_errors(out: Path) -> Iterator[None]:
    """Turn the file system's errors into EmoaugError."""
    try:
        yield
    except OSError as error:
        reason, name = error.strerror or error, error.filename
        elsewhere = isinstance(name, str | Path) and not Path(name).absolute().is_relative_to(out.absolute())
        what = f"cannot use {name}" if elsewhere else f"cannot write to {out}"
        raise EmoaugError(
            f"{what} ({reason}); mend that, or choose another folder. The same command takes up a run where it stopped"
        ) from error


def remove_temporary_files(out: Path) -> None:
    """Remove what a killed run left half-written."""
    for pattern in (".*.tmp", "*/.*.tmp"):
        for path in out.glob(pattern):
            if _TEMPORARY.fullmatch(path.name):
                path.unlink(missing_ok=True)


def clear_up(out: Path, *names: str) -> None:
    """Remove what a run leaves that is killed in its last moment, after it has said that it is finished.

    Args:
        out: the folder of a finished run.
        names: files and folders in it that a run has only while it is not finished.
    """
    if not any(path.name in (LOCK, *names) or _TEMPORARY.fullmatch(path.name) for path in out.iterdir()):
        return
    # Not possible while the run itself is still doing it, or on a disk that has become read-only; then it may stay.
    with suppress(EmoaugError), locked(out), explained_errors(out):
        remove_temporary_files(out)
        for name in names:
            if (out / name).is_dir():
                shutil.rmtree(out / name)
            else:
                (out / name).unlink(missing_ok=True)


def write_run(out: Path, kind: str, run: Mapping[str, Any], file: str = RUN) -> None:
    """Write `run.json`."""
    write_text(out / file, json.dumps({"kind": kind, **run}, indent=2, ensure_ascii=False) + "\n", parents=False)


def append_line(path: Path, value: Any) -> None:
    """Add a line of JSON to a file, and wait until the disk has it."""
    with path.open("ab") as file:
        # The newline in front ends a torn line; an empty line is ignored like one.
        file.write(b"\n" + json.dumps(value).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_lines(path: Path) -> Iterator[Any]:
    """What `append_line` wrote; nothing if there is no file. A line torn by a kill or a power cut is left out."""
    if path.exists():
        with path.open("rb") as file:
            for line in file:
                with suppress(ValueError):
                    yield json.loads(line)
