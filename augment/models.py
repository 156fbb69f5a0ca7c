"""Model files from elsewhere: found on this machine, or downloaded once, and checked before every use."""

import hashlib
import os
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from emoaug import EmoaugError

MODELS_VARIABLE = "EMOAUG_MODELS"
"""Environment variable that names a folder with model files."""

_CHUNK = 1 << 20
_checked: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class ModelFile:
    """A file that a publisher hosts and that this package does not ship."""

    name: str
    """File name, the same in every folder it is looked for in."""
    url: str
    """The publisher's address of exactly this version."""
    sha256: str
    """SHA-256 of the content, 64 lower-case hexadecimal digits."""
    size: int
    """Length in bytes."""
    licence: str
    """SPDX identifier of the licence that the publisher gives."""


FACE_LANDMARKER = ModelFile(
    name="face_landmarker.task",
    url="https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/face_landmarker.task",
    sha256="64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    size=3_758_596,
    licence="Apache-2.0",
)
"""MediaPipe Face Landmarker, float16, version 1: 478 landmarks, 52 ARKit blendshape scores, head pose."""


def cache_folder() -> Path:
    """Folder for downloads: `$XDG_CACHE_HOME/emoaug`, or `~/.cache/emoaug`. It may not exist yet."""
    # The XDG specification says that a relative XDG_CACHE_HOME is to be ignored.
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "emoaug"


def find_model(model: ModelFile, path: Path | None = None) -> Path:
    """Give a checked local copy of a model file, downloading it where there is none.

    Looked for at `path`, then in the folder that `EMOAUG_MODELS` names, then in the cache folder; the first place that
    has the file decides. Downloads go to the cache folder, after a line on stderr.

    Args:
        model: what to look for.
        path: the file itself, or a folder that has it; nothing else is tried when it is given.

    Returns:
        Path of a file whose SHA-256 is the pinned one. A file is hashed once a process, and again when it changes.

    Raises:
        EmoaugError: `path` does not exist, a file has another SHA-256, or the download fails.
    """
    if path is not None:
        found = path / model.name if path.is_dir() else path
        if not found.is_file():
            raise EmoaugError(f"{found}: no such model file. Give the path of {model.name} ({model.url}).")
        return _check(found, model)
    cached = cache_folder() / model.name
    places = [cached]
    if named := os.environ.get(MODELS_VARIABLE):
        places.insert(0, Path(named).expanduser() / model.name)
    for place in places:
        if place.is_file():
            return _check(place, model)
    _download(model, cached)
    return _check(cached, model)


def _check(path: Path, model: ModelFile) -> Path:
    """Raise EmoaugError unless `path` has the pinned content."""
    try:
        stat = path.stat()
        key = (str(path.resolve()), stat.st_size, stat.st_mtime_ns)
        if key not in _checked:
            with path.open("rb") as file:
                _checked[key] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmoaugError(f"{path}: cannot read this model file ({error.strerror}).") from error
    if _checked[key] != model.sha256:
        raise EmoaugError(
            f"{path}: SHA-256 is {_checked[key]}, {model.name} must have {model.sha256}. "
            f"Delete the file, or replace it with the one at {model.url}"
        )
    return path


def _download(model: ModelFile, target: Path) -> None:
    """Fetch a model file to `target`; nothing appears there unless the SHA-256 is right."""
    print(f"emoaug: downloading {model.name} ({model.size / 1e6:.1f} MB) from {model.url} to {target}", file=sys.stderr)
    by_hand = (
        f"Download {model.url} on a machine that can, and put it at {target}, "
        f"or in a folder that the environment variable {MODELS_VARIABLE} names."
    )
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        digest, length = hashlib.sha256(), 0
        with (
            urllib.request.urlopen(model.url, timeout=30) as response,
            tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{model.name}.", delete=False) as file,
        ):
            temporary = Path(file.name)
            # One byte past the known length is enough to know that this is another file; never fill the disk with it.
            while length <= model.size and (chunk := response.read(min(_CHUNK, model.size + 1 - length))):
                digest.update(chunk)
                length += len(chunk)
                file.write(chunk)
        if digest.hexdigest() != model.sha256:
            got = "a longer file" if length > model.size else f"{length:,} bytes with SHA-256 {digest.hexdigest()}"
            raise EmoaugError(
                f"{model.name}: {model.url} gave {got}; expected {model.size:,} bytes with SHA-256 {model.sha256}. "
                f"Nothing was kept. {by_hand}"
            )
        temporary.chmod(0o644)
        temporary.replace(target)
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise EmoaugError(f"{model.name}: cannot download it from {model.url} ({reason}). {by_hand}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
