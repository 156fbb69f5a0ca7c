"""Bring the real faces into the folder of the synthetic ones, and name the files of both."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np

from augment.folders import HELD_OUT_SPLITS, FaceTable
from augment.pictures import encode_png, others_read_alike, write_bytes
from emoaug import EmoaugError

IncludeReal = Literal["link", "copy", "no"]


@dataclass(frozen=True)
class RealFace:
    """What became of one real face."""

    index: int
    """Its place in the source's table."""
    name: str
    """Its file name in the new folder."""
    source_sha256: str = ""
    file_sha256: str = ""
    size: tuple[int, int] = (0, 0)
    """Height and width, pixels."""
    rejected: str = ""
    """Why it was left out; empty if it was not."""


def add_real_faces(faces: FaceTable, out: Path, how: IncludeReal, threads: int, taken: Iterable[str]) -> list[RealFace]:
    """Bring the faces that count as given (`FaceTable.originals`) and have a label into the folder, in their order.

    Those of the splits val and test stay where they are: whoever reads class folders would train on them. Those that
    cannot be decoded are left out. Files that others would read otherwise than they are read here (on their
    side, transparent, of 16 bits, GIF; see `others_read_alike`) are written anew, as PNG.

    Args:
        faces: the source.
        out: the folder.
        how: as hard links (as copies where the disk cannot link), as copies, or not.
        threads: pictures read at one time.
        taken: file names that the synthetic faces use.
    """
    if how == "no":
        return []
    table = faces.table
    wanted = table["label"].notna() & ~table["split"].isin(HELD_OUT_SPLITS) & faces.originals()
    indices = np.flatnonzero(wanted.to_numpy(dtype=bool)).tolist()
    with ThreadPoolExecutor(threads) as pool:
        as_it_is = list(pool.map(lambda i: "pixels" not in faces.table and others_read_alike(faces.path(i)), indices))
        names = _real_names(faces, indices, as_it_is, taken)
        return list(pool.map(partial(_add_real_face, faces, out, how), indices, names, as_it_is))


def names_of(real: Iterable[RealFace]) -> Iterator[str]:
    """File names of the real faces that are in the folder."""
    return (face.name for face in real if not face.rejected)


def _add_real_face(faces: FaceTable, out: Path, how: IncludeReal, index: int, name: str, as_it_is: bool) -> RealFace:
    try:
        picture, source_sha256 = faces.read(index)
    except EmoaugError as error:
        return RealFace(index, name, rejected=str(error))
    target, size = out / name, (picture.shape[0], picture.shape[1])
    if not as_it_is:
        data = encode_png(picture)
        write_bytes(target, data, parents=False)
        return RealFace(index, name, source_sha256, hashlib.sha256(data).hexdigest(), size)
    source = faces.path(index).resolve()
    if how == "copy" or not _link(source, target):
        try:
            data = source.read_bytes()
        except OSError as error:  # it vanished since it was decoded
            return RealFace(index, name, rejected=str(error))
        write_bytes(target, data, parents=False)
    return RealFace(index, name, source_sha256, source_sha256, size)


def _link(source: Path, target: Path) -> bool:
    """Make target a hard link to source; False where that is not possible."""
    try:
        target.parent.mkdir(exist_ok=True)
        if target.exists():
            if target.samefile(source):
                return True
            target.unlink()
        os.link(source, target)
    except OSError:
        return False
    return True


def _real_names(faces: FaceTable, indices: list[int], as_they_are: list[bool], taken: Iterable[str]) -> list[str]:
    """CLASS/NAME of real faces; where two would get the same, the later ones get their old folders' names in front."""
    choices = [_name_choices(faces, i, kept) for i, kept in zip(indices, as_they_are, strict=True)]
    # In lower case, because some disks do not tell A.png from a.png. Of the names that are taken, perhaps a million,
    # only those that a real face might get are kept.
    possible = {name.lower() for names in choices for name in names}
    used = possible.intersection(name.lower() for name in taken)
    names = []
    for several in choices:
        name = next((name for name in several if name.lower() not in used), several[-1])
        used.add(name.lower())
        names.append(name)
    return names


def _name_choices(faces: FaceTable, i: int, as_it_is: bool) -> list[str]:
    """Names that a real face may get, the best first."""
    label, old = str(faces.table["label"].iat[i]), str(faces.table["file_name"].iat[i])
    end = Path(old).suffix if as_it_is else ".png"
    stems = [
        safe_stem(old, longest=200),
        safe_stem(old.replace("/", "_"), longest=200),
        f"{safe_stem(old)}_{i:06d}",
        f"real_{i:06d}",
    ]
    return [f"{label}/{stem}{end}" for stem in stems]


@lru_cache(maxsize=10_000)
def safe_stem(file_name: str, longest: int = 120) -> str:
    """The last part of a path without its ending and without signs that trouble shells or disks."""
    stem = file_name.rsplit("/", 1)[-1]
    stem = stem.rsplit(".", 1)[0] if "." in stem[1:] else stem
    # File names have at most 255 bytes, and a letter up to 4.
    return re.sub(r"[^\w.\-]+", "_", stem).lstrip(".").encode()[:longest].decode(errors="ignore") or "face"
