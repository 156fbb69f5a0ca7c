import signal
import threading

import pytest

from augment.interruption import interruption_held


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
