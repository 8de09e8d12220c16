"""Ctrl-C where something must be brought to its end: not heard, heard afterwards, or too late.

Only the main thread ever hears a signal, and only it may say so (Python's `signal`).
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """A Ctrl-C is not heard in it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """A Ctrl-C in it is heard at its end; what is given says whether there was one, to whoever can hurry.

    So are other signals that would be one (`lifecycle.interruptible`). Raises `KeyboardInterrupt` then,
    whatever else was raised. What `no_more` says in it goes on.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in handlers.items() if callable(handler)]

    def hear(_number: int, _frame: object) -> None:
        asked.set()

    for number in heard:
        signal.signal(number, hear)
    try:
        yield asked.is_set
    finally:
        for number in heard:
            if signal.getsignal(number) is hear:
                signal.signal(number, handlers[number])
        if asked.is_set():
            raise KeyboardInterrupt


def no_more() -> None:
    """What was asked for is done: from now on a Ctrl-C comes too late, and is not heard.

    For a program that ends then. Else whoever pressed it at the last moment would be told that it was
    interrupted, and would not know whether it was done.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
