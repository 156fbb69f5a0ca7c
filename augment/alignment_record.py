"""What a run that fills a folder part by part has done so far, so that it can go on where it stopped.

While a run is unfinished its folder has `.parts/`, with one file a part, written once that part's pictures are on disk.
"""

import hashlib
import io
import json
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from augment.faces import FaceMeasures
from emoaug import EmoaugError

PARTS_FOLDER = ".parts"

# Reserved on Windows; "/" everywhere.
_UNSAFE = str.maketrans({character: "_" for character in '<>:"/\\|?*'} | {chr(code): "_" for code in range(32)})
_LONGEST_STEM = 100
"""Characters; four bytes each in the worst case, and at most 255 bytes fit in a file name with room for the ending."""


@dataclass(frozen=True)
class Part:
    """What became of some consecutive pictures."""

    outcomes: tuple[dict[str, Any], ...]
    """For each picture, JSON values; `file_name` and `file_sha256` are those of the file that was written, if any."""
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


def still_done(out: Path, part: Path, count: int) -> bool:
    """Whether a part needs no more work: it is noted, and its pictures lie in the folder as they were written.

    Args:
        out: the folder that is filled.
        part: where the part is noted.
        count: its pictures.
    """
    try:
        outcomes = Part.from_file(part).outcomes
        return len(outcomes) == count and all(
            hashlib.sha256((out / entry["file_name"]).read_bytes()).hexdigest() == entry["file_sha256"]
            for entry in outcomes
            if entry.get("file_sha256")
        )
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return False


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
