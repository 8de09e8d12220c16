"""Ctrl-C where something must be brought to its end: not heard, or heard afterwards.

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
    whatever else was raised.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    heard = [number for number, handler in handlers.items() if callable(handler)]
    for number in heard:
        signal.signal(number, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        for number in heard:
            signal.signal(number, handlers[number])
        if asked.is_set():
            raise KeyboardInterrupt
