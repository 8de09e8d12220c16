"""Ctrl-C where something must be brought to its end."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from vmlan.host.interrupts import deferred, no_more, uninterrupted
from vmlan.lifecycle import interruptible


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def in_the_main_thread() -> None:
    assert threading.current_thread() is threading.main_thread()  # else nothing below says anything


def test_it_is_not_heard_at_all() -> None:
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == before


def test_it_is_heard_at_the_end_and_whoever_can_hurry_knows() -> None:
    seen = []
    with pytest.raises(KeyboardInterrupt), deferred() as asked:
        seen.append(asked())
        send(signal.SIGINT)
        send(signal.SIGINT)
        seen.append(asked())
    assert seen == [False, True]
    with pytest.raises(KeyboardInterrupt):  # as ever
        send(signal.SIGINT)


def test_it_is_heard_although_something_else_went_wrong() -> None:
    with pytest.raises(KeyboardInterrupt), deferred():
        send(signal.SIGINT)
        raise OSError


def test_what_goes_wrong_without_it_is_what_is_told() -> None:
    with pytest.raises(OSError, match="this"), deferred():
        raise OSError("this")


def test_what_would_be_one_waits_too() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interruptible(), deferred():
        send(signal.SIGTERM)
        done.append(True)
    assert done == [True] and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_is_done_is_not_interrupted_at_the_last_moment() -> None:
    before = signal.getsignal(signal.SIGINT)
    try:
        with deferred():
            no_more()
        send(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
        with pytest.raises(KeyboardInterrupt), deferred():
            send(signal.SIGINT)
            no_more()  # it was heard before
    finally:
        signal.signal(signal.SIGINT, before)


def test_elsewhere_than_in_the_main_thread_nothing_is_heard() -> None:
    seen = []

    def work() -> None:
        with deferred() as asked, uninterrupted():
            seen.append(asked())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
