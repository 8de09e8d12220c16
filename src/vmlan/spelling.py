"""What was probably meant by a misspelt name. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(asked: str, known: Iterable[str]) -> str | None:
    """The known name that is most like the one asked for, whatever its case; None if none is like it."""
    import difflib  # only who made a mistake pays for it

    names = {name.lower(): name for name in sorted(known, reverse=True)}
    low = asked.lower()
    if low in names:
        return names[low]
    swapped = [names[name] for name in names if sorted(name) == sorted(low)]
    close = swapped or [names[name] for name in difflib.get_close_matches(low, names, n=1)]
    return close[0] if close else None


def did_you_mean(asked: str, known: Iterable[str], otherwise: str) -> str:
    """A hint: the nearest known name, else `otherwise`."""
    found = nearest(asked, known)
    return f"did you mean {found}?" if found is not None else otherwise
