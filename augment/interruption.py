"""Ctrl-C at a moment when work can be kept."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def interruption_held() -> Iterator[list[int]]:
    """Within, a first Ctrl-C is noted in the list, for the work to end where it loses nothing; a second one ends it.

    Outside the main thread, and where whoever began the process has Ctrl-C ignored or handles it, nothing is changed.
    """
    came: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield came
        return

    def note(number: int, frame: object) -> None:
        came.append(number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tqdm.write("stopping as soon as nothing is lost by it; Ctrl-C again stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, note)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
