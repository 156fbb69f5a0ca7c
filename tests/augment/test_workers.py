"""The loop over tasks in processes, and the one in threads."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import pytest

from augment.workers import _deaf, as_they_finish, do_all, in_threads
from emoaug import EmoaugError


def make_square(place: str) -> Callable[[int], tuple[int, str, int]]:
    """Where the work was prepared, and in which process it was done."""
    here = f"{place} {os.getpid()}"
    return lambda number: (number * number, here, os.getpid())


def make_misfortune(kind: str) -> Callable[[int], int]:
    def work(number: int) -> int:
        if number == 2 and kind == "killed":
            os.kill(os.getpid(), 9)
        if number == 2 and kind == "fails":
            raise OSError(28, "No space left on device")
        time.sleep(30 if number > 2 else 0)
        return number

    return work


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_done_once_by_what_its_process_prepared(workers):
    results = {}
    do_all(range(20), workers, partial(make_square, "prepared"), results.__setitem__)
    assert {number: square for number, (square, _, _) in results.items()} == {i: i * i for i in range(20)}
    assert all(here == f"prepared {process}" for _, here, process in results.values())
    assert (os.getpid() in {process for _, _, process in results.values()}) == (workers == 1)


def test_no_tasks_prepare_nothing():
    prepared, results = [], []
    do_all([], 1, lambda: prepared.append(1), lambda task, result: results.append(task))
    assert prepared == results == []


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [("killed", EmoaugError, "ended unexpectedly"), ("fails", OSError, "No space left")],
)
def test_a_misfortune_ends_all_processes_at_once(kind, error, message):
    began = time.monotonic()
    with pytest.raises(error, match=message):
        do_all(range(8), 2, partial(make_misfortune, kind), lambda task, result: None)
    assert time.monotonic() - began < 25


def test_ctrl_c_waits_until_a_process_is_started_though_another_thread_may_take_it():
    over, finished = threading.Event(), []

    def start() -> None:
        with _deaf():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)
            finished.append(True)

    other = threading.Thread(target=over.wait)
    other.start()
    # Where the tests run in the background of a shell, Ctrl-C is switched off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            start()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
        over.set()
    assert finished


@pytest.mark.parametrize("ahead", [1, 7, 100])
def test_few_tasks_are_begun_ahead_and_each_comes_once(ahead):
    running = most = 0

    def submit(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        return pool.submit(lambda: number * number)

    results = []
    with ThreadPoolExecutor(3) as pool:
        for finished in as_they_finish(range(50), submit, ahead):
            assert finished
            running -= len(finished)
            results += finished
    assert sorted(results) == [(i, i * i) for i in range(50)]
    assert most == min(ahead, 50)


def test_what_had_finished_is_given_before_a_failure_is_raised():
    futures = {number: Future() for number in range(3)}
    futures[0].set_result("kept")
    futures[1].set_exception(OSError(28, "No space left on device"))
    finished = as_they_finish(range(3), futures.__getitem__, 3)
    assert next(finished) == [(0, "kept")]
    with pytest.raises(OSError, match="No space"):
        next(finished)


def test_threads_give_results_in_order_and_pass_errors_on():
    assert list(in_threads(lambda i: i * i, list(range(1000)), 4)) == [i * i for i in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda i: 1 // (i - 600), list(range(1000)), 4))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_memory_that_was_freed_is_used_again():
    code = """if True:
        import resource, sys
        import numpy as np
        from augment.workers import keep_freed_memory
        if len(sys.argv) > 1:
            keep_freed_memory()
        def use():
            return [np.ones(2**22, np.uint8) for _ in range(8)]
        for _ in range(3):
            use()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(5):
            use()
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    run = [sys.executable, "-c", code]
    given, kept = (int(subprocess.check_output([*run, *more], text=True)) for more in ((), ("keep",)))
    # Whether the system gives the pages one by one, or many at a time, it gives them once.
    assert kept < given / 4
