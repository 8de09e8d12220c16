"""Doing several things at once, each in a thread: for what waits for somebody else's answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Thread


def do(works: Sequence[Callable[[], object]], at_once: int = 64) -> None:
    """Do all of these, so many at a time, and return when all have ended; raises the first error.

    `concurrent.futures` does the same, and takes as long to load as all the answers of a lab take.
    """
    left = iter(works)
    errors: list[BaseException] = []

    def work() -> None:
        for one in left:  # `next` of a list's iterator is one operation of the interpreter
            try:
                one()
            except BaseException as error:
                errors.append(error)

    threads = [Thread(target=work, daemon=True) for _ in works[:at_once]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
