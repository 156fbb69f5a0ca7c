"""Work in several threads or processes; these are spawned, deaf to Ctrl-C, which their parent answers, and gone when
the parent is gone. `augment.engines` has the same for other machines."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import resource_tracker
from typing import Any, Protocol, TypeVar

import cv2

from emoaug import EmoaugError

Task = TypeVar("Task")
Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have the C library keep memory that was freed for what comes next, for the whole process.

    By default glibc gives large blocks back to the system, which then clears every page again for the next batch: a
    tenth of the time of a network in float32. Elsewhere, nothing happens.
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(mmap_threshold, 32 * 2**20)
        library.mallopt(trim_threshold, 2**30)


class Engine(Protocol):
    """Does tasks in any order: `do_all` in processes of this machine, those of `augment.engines` on other machines.

    Args:
        tasks: what to do; sent to other processes, as are results.
        workers: how many are done at a time; 0 for one a core.
        start: called in each worker before its first task; gives what does a task. It is sent to other processes, so
            it is a function of a module, or a `functools.partial` of one.
        done: called in this thread with every task and its result.
    """

    def __call__(
        self,
        tasks: Sequence[Task],
        workers: int,
        start: Callable[[], Callable[[Task], Result]],
        done: Callable[[Task, Result], None],
    ) -> None:
        """Do the tasks."""


def as_they_finish(
    tasks: Sequence[Task], submit: Callable[[Task], Future[Result]], ahead: int
) -> Iterator[list[tuple[Task, Result]]]:
    """Give tasks with their results, whichever have finished since the last time; the loop of every engine.

    Args:
        tasks: what to do.
        submit: begins a task.
        ahead: how many are begun before the first has finished, at most: all at once would be the whole table in
            pickled pieces.
    """
    waiting = iter(tasks)
    running: dict[Future[Result], Task] = {}
    while True:
        for task in islice(waiting, ahead - len(running)):
            running[submit(task)] = task
        if not running:
            return
        over = wait(running, return_when=FIRST_COMPLETED).done
        yield [(running.pop(future), future.result()) for future in over if future.exception() is None]
        for future in over:
            # Raises what one of them raised, when the others are kept.
            future.result()


def do_all(
    tasks: Sequence[Task],
    workers: int,
    start: Callable[[], Callable[[Task], Result]],
    done: Callable[[Task, Result], None],
) -> None:
    """Do tasks in this process (one worker, or one task) or in new ones; see `Engine`.

    When anything is raised, Ctrl-C too, the processes are ended at once, whatever they are doing: what they write, they
    write atomically.

    Raises:
        EmoaugError: a worker was killed.
    """
    workers = min(workers or cores(), len(tasks))
    if workers <= 1:
        work = start() if tasks else None
        for task in tasks:
            assert work is not None
            done(task, work(task))
        return
    others = set(multiprocessing.active_children())
    # Spawned, not forked: a fork copies the locks of threads that it does not copy, and torch and OpenCV have threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(start,))

    def submit(task: Task) -> Future[Result]:
        with _quiet(), _deaf():
            return pool.submit(_work, task)

    try:
        for finished in as_they_finish(tasks, submit, 3 * workers):
            for task, result in finished:
                done(task, result)
        pool.shutdown()
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        # Waits for their end, so that nothing of them is left to be complained about when this process ends.
        pool.shutdown()
        if isinstance(error, BrokenProcessPool):
            raise EmoaugError(
                "a worker process ended unexpectedly, perhaps for want of memory; what is done is kept. "
                "Give the same command again, with fewer --workers"
            ) from error
        raise


def in_threads(function: Callable[[Task], Result], items: Sequence[Task], threads: int = 0) -> Iterator[Result]:
    """Give what a function makes of every item, in order, computed in threads (0 for one a core).

    In blocks, because a pool keeps more of every call than most results are worth, and there may be a million.
    """
    blocks = (items[start : start + 256] for start in range(0, len(items), 256))
    with ThreadPoolExecutor(threads or cores()) as pool:
        for results in pool.map(lambda block: [function(item) for item in block], blocks):
            yield from results


@contextmanager
def _quiet() -> Iterator[None]:
    """Within, new processes are told to show no progress bars: several at once would write over one another."""
    before = os.environ.get("TQDM_DISABLE")
    os.environ["TQDM_DISABLE"] = "1"
    try:
        yield
    finally:
        os.environ.pop("TQDM_DISABLE")
        if before is not None:
            os.environ["TQDM_DISABLE"] = before


@contextmanager
def _deaf() -> Iterator[None]:
    """Within, new processes begin with Ctrl-C blocked, which reaches every process of a terminal, also while they
    import; in this process it arrives at the end."""
    came: list[int] = []
    # Blocked here, it goes to some other thread, of a library perhaps; but Python then interrupts the main thread all
    # the same, and a process that is half started complains.
    in_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number)) if in_main else None
    # Python starts this helper with the first process, and lifts the block while it does.
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler or signal.SIG_DFL)
            for number in came[:1]:
                signal.raise_signal(number)


_do: Callable[[Any], Any] | None = None


def _start(start: Callable[[], Callable[[Any], Any]]) -> None:
    global _do
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    keep_freed_memory()
    _do = start()


def _work(task: Any) -> Any:
    assert _do is not None
    return _do(task)


def _end_with_parent() -> None:
    """End this process when the parent is gone; a pool's workers would wait for its next task for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
