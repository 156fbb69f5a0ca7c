import signal
import subprocess
import sys
import threading

import pytest

from augment.interruption import _leave, interruption_cleared_up, interruption_held


@pytest.fixture
def default_ctrl_c():
    # Where the tests run in the background of a shell, Ctrl-C is switched off.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_first_ctrl_c_is_noted_and_a_second_one_raised(default_ctrl_c, capsys):
    with interruption_held() as came:
        signal.raise_signal(signal.SIGINT)
        assert came == [signal.SIGINT]
        assert "Ctrl-C again" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_one_in_the_middle_of_clearing_up_or_after_it_ends_the_process_at_once(default_ctrl_c):
    script = """
import signal, sys
from augment.interruption import interruption_cleared_up
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with interruption_cleared_up():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            if sys.argv[1] == "within":
                signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    signal.raise_signal(signal.SIGINT)
    print("not at once")
"""
    ends = {}
    for where in ("within", "after"):
        done = subprocess.run([sys.executable, "-c", script, where], capture_output=True, text=True, check=False)
        ends[where] = (done.returncode, done.stdout, "goes on from what is done" in done.stderr)
    assert ends == {"within": (130, "", True), "after": (130, "", True)}


def test_a_held_one_is_raised_once_within_a_command_too(default_ctrl_c):
    with interruption_cleared_up():
        with interruption_held() as came:
            pass
        assert came == []
        with interruption_held():
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is _leave


def test_after_a_held_one_that_was_heeded_another_ends_the_process_while_it_clears_up(default_ctrl_c):
    with interruption_cleared_up():
        with interruption_held() as came:
            signal.raise_signal(signal.SIGINT)
        assert came == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is _leave


def test_another_thread_and_another_handler_are_left_alone(default_ctrl_c):
    within_thread = []

    def within() -> None:
        with interruption_held():
            within_thread.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=within)
    thread.start()
    thread.join()
    assert within_thread == [signal.default_int_handler]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interruption_held() as came:
        signal.raise_signal(signal.SIGINT)
    assert came == []
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
