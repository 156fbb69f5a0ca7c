"""Tests with input that is broken, or made to harm: a sound result or a clear error, no code run, no file outside.

2,350 generated cases, besides those that are written out.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from augment.pictures import encode_png
from tests.augment.tiny_translator import draw_dataset, draw_face

RUNS_CODE = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class", "socket.connect")

_allowed: list[Path] = []
_seen: list[str] = []


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    """Note, while a folder is watched, what runs code, and what is written outside of it."""
    if not _allowed:
        return
    if event in RUNS_CODE:
        _seen.append(f"{event} {arguments}")
    if event == "open" and isinstance(arguments[0], str) and isinstance(arguments[2], int):
        written = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        inside = Path(arguments[0]).absolute().is_relative_to(_allowed[0])
        # Hypothesis keeps notes of its own.
        if written and not inside and arguments[0] != os.devnull and ".hypothesis" not in arguments[0]:
            _seen.append(f"wrote {arguments[0]}")


sys.addaudithook(_watch)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a test's files; what happens outside of it fails the test."""
    inside = tmp_path / "inside"
    inside.mkdir()
    (tmp_path / "secret.png").write_bytes(encode_png(draw_face("happy", 0)))
    _allowed.append(inside)
    yield inside
    _allowed.clear()
    seen, _seen[:] = list(_seen), []
    assert seen == []


@pytest.fixture
def watch_seen() -> list[str]:
    """What was noted so far."""
    return _seen


@pytest.fixture
def faces(folder):
    """A small dataset in the folder."""
    return draw_dataset(folder / "faces", {"happy": 3, "neutral": 2, "sad": 2})
