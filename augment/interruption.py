"""Ctrl-C: at a moment when work can be kept, and while what was begun is cleared up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from tqdm import tqdm


@contextmanager
def interruption_cleared_up() -> Iterator[None]:
    """Within, a first Ctrl-C raises KeyboardInterrupt, as ever; another one, meanwhile, ends the process at once.

    Python takes threads that it was not left to wait for for ended, and such threads of torch bring the process down
    when it ends; the end at once is that of a kill, from which every command goes on. After a first one that stays so:
    what follows is the end of the process. Where `interruption_held` changes nothing, nor does this.
    """
    if not _ours():
        yield
        return
    signal.signal(signal.SIGINT, _stop)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is _stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGINT, _leave)
    raise KeyboardInterrupt


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"\nemoaug: stopped at once. The same command again goes on from what is done\n")
    os._exit(130)


def _ours() -> bool:
    """Whether Ctrl-C is this module's to handle: in the main thread, where nobody else handles or ignores it."""
    main = threading.current_thread() is threading.main_thread()
    return main and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _stop)


@contextmanager
def interruption_held() -> Iterator[list[int]]:
    """Within, a first Ctrl-C is noted in the list, for the work to end where it loses nothing; a second one ends it.

    Outside the main thread, and where whoever began the process has Ctrl-C ignored or handles it, nothing is changed.
    """
    came: list[int] = []
    if not _ours():
        yield came
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, before)
        tqdm.write("stopping as soon as nothing is lost by it; Ctrl-C again stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        handler = signal.getsignal(signal.SIGINT)
        if handler is note:
            signal.signal(signal.SIGINT, before)
        elif handler is _stop:
            # One came, and what follows is clearing up.
            signal.signal(signal.SIGINT, _leave)
