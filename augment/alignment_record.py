"""What an alignment run has done so far: lets the same run go on where it stopped, and refuses any other.

While a run is unfinished its folder has `.parts/`: the run's fingerprint, and one file a part of the source, written
once that part's pictures are on disk. The finished folder has the fingerprint in `run.json` instead.
"""

import hashlib
import io
import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from augment.faces import FaceMeasures
from augment.pictures import write_bytes, write_text
from emoaug import EmoaugError

PARTS_FOLDER = ".parts"
RUN_FILE = "run.json"

# Reserved on Windows; "/" everywhere.
_UNSAFE = str.maketrans({character: "_" for character in '<>:"/\\|?*'} | {chr(code): "_" for code in range(32)})
_LONGEST_STEM = 100
"""Characters; four bytes each in the worst case, and at most 255 bytes fit in a file name with room for the ending."""


@dataclass(frozen=True)
class Part:
    """What became of some consecutive pictures of the source."""

    outcomes: tuple[dict[str, Any], ...]
    """For each picture, JSON values: `reason` (why it was rejected, else null), `faces` found, `padded` to a square."""
    measures: FaceMeasures
    """As many rows; NaN where no face was found."""

    def to_bytes(self) -> bytes:
        """Pack into an npz file."""
        buffer = io.BytesIO()
        np.savez(buffer, outcomes=np.array(json.dumps(self.outcomes)), **vars(self.measures))
        return buffer.getvalue()

    @classmethod
    def from_file(cls, path: Path) -> "Part":
        """Read what `to_bytes` packed."""
        with np.load(path, allow_pickle=False) as stored:
            outcomes = tuple(json.loads(str(stored["outcomes"])))
            names = ("landmarks", "blendshapes", "blendshape_names", "pose")
            return cls(outcomes, FaceMeasures(*(stored[name] for name in names)))


class AlignmentRecord:
    """The record of one run in its output folder."""

    def __init__(self, out: Path, fingerprint: str) -> None:
        """Begin or take up a run.

        Args:
            out: the output folder; made if it does not exist.
            fingerprint: equal for runs with the same settings and source, and only for these.

        Raises:
            EmoaugError: the folder has something else in it than this run; nothing is changed.
        """
        self.out, self.fingerprint = out, fingerprint
        self.parts = out / PARTS_FOLDER
        if out.exists() and not out.is_dir():
            raise EmoaugError(f"{out}: is a file; give a folder that is new or empty")
        finished, begun = _fingerprint(out / RUN_FILE), _fingerprint(self.parts / RUN_FILE)
        self.finished = finished == fingerprint
        if not self.finished:
            if finished is not None or (begun is not None and begun != fingerprint):
                raise EmoaugError(
                    f"{out}: has an alignment run with other settings or another source; "
                    "give a new folder, or delete this one"
                )
            if begun is None:
                if out.is_dir() and any(path.name != PARTS_FOLDER for path in out.iterdir()):
                    raise EmoaugError(f"{out}: has other files in it; give a folder that is new or empty")
                write_text(self.parts / RUN_FILE, json.dumps({"fingerprint": fingerprint}))

    def save(self, number: int, part: bytes) -> None:
        """Note that part `number` is done."""
        write_bytes(self._path(number), part)

    def done(self, count: int) -> set[int]:
        """Give the numbers of the parts, of `count`, that are done."""
        return {number for number in range(count) if self._path(number).is_file()}

    def load(self, number: int) -> Part:
        """Read a part that is done."""
        return Part.from_file(self._path(number))

    def finish(self, run: dict[str, Any]) -> None:
        """Write `run.json`, which makes the run finished, and drop the parts."""
        text = json.dumps(run | {"fingerprint": self.fingerprint}, indent=2, ensure_ascii=False)
        write_text(self.out / RUN_FILE, text + "\n")
        self.clean()

    def clean(self) -> None:
        """Drop the parts."""
        shutil.rmtree(self.parts, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.parts / f"{number:06d}.npz"


def _fingerprint(path: Path) -> str | None:
    """Read the fingerprint from a JSON file: None if there is no file, "" if it has none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        return ""
    return str(content.get("fingerprint", "")) if isinstance(content, dict) else ""


def aligned_names(file_names: Sequence[str], labels: Sequence[str]) -> list[str]:
    """Name the aligned pictures `LABEL/STEM.png`.

    Stems that would be the same file on some file system (equal but for case or Unicode form) get a hash of the whole
    name of the source; characters that some systems forbid become "_".

    Args:
        file_names: the source pictures, different from each other.
        labels: their expressions.

    Returns:
        Names relative to the output folder, all different.
    """
    wanted = [(_safe(label), _safe(PurePosixPath(name).stem)) for name, label in zip(file_names, labels, strict=True)]
    uses = Counter(_key(name) for name in wanted)
    names = []
    for name, (label, stem) in zip(file_names, wanted, strict=True):
        # The hash of a stem that is itself "stem-hash" of another: 2**-40 a pair, and made deliberately only.
        unique = f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:10]}" if uses[_key((label, stem))] > 1 else stem
        names.append(f"{label}/{unique}.png")
    if len({_key((name,)) for name in names}) < len(names):
        raise EmoaugError("the source has the same file name twice; every row of its table needs a file of its own")
    return names


def _safe(name: str) -> str:
    """Make one path component that every file system takes and that is neither hidden nor another folder."""
    safe = name.translate(_UNSAFE).strip(" .")[:_LONGEST_STEM]
    return safe or "_"


def _key(name: tuple[str, ...]) -> tuple[str, ...]:
    """Equal for names that some file system takes for the same."""
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in name)
