"""What a trace is made of: where the packet was seen, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

from vmlan.reasons import Reason


@dataclass(frozen=True)
class Sighting:
    """A packet seen on a link: when (ns since 1970), and what it was there; NAT changes its addresses."""

    time: int
    words: str


@dataclass(frozen=True)
class Hop:
    """One link of the way, or one beside it where the packet turned up: its question and its answer there."""

    link: str  #: as `capture` calls it
    question: Sighting | None = None
    answer: Sighting | None = None
    beside: bool = False  #: whether it is not on the way that the question should take


@dataclass(frozen=True)
class Verdict:
    """What became of the packet."""

    reason: Reason
    at: str  #: a machine, `host`, `outside`, or a link
    why: str  #: in a sentence
    mend: tuple[str, ...] = ()  #: commands that would mend it, or what to change in lab.yaml
    answer: bool = False  #: whether it is the answer that did not arrive
    rule: str = ""  #: FILTERED: the rule, as nft writes it


@dataclass(frozen=True)
class Trace:
    """One packet's way: what was sent, where it was seen, and why it did not arrive, if it did not."""

    source: str
    target: str  #: as it was asked for
    address: str  #: which address of it
    port: int | None  #: TCP; None: a ping
    command: tuple[str, ...]  #: what sent it; empty where we only watched
    said: str  #: what the command said
    stations: tuple[str, ...]  #: who it should pass, its source and its target included
    hops: tuple[Hop, ...]
    verdict: Verdict
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
