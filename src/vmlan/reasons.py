"""Why a packet did not arrive: the closed list of verdicts of `vmlan trace`, and of a check's `reason:`."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """What became of a packet. Each value is what users read and write; its comment is what it means."""

    DELIVERED = "delivered"  #: it arrived, and its answer came back
    REFUSED = "refused"  #: it arrived, and was told that nobody listens there (TCP's RST)
    NOT_RUNNING = "not-running"  #: the machine that it is for does not run
    NO_PATH = "no-path"  #: no network leads from one to the other
    LINK_DOWN = "link-down"  #: a cable is pulled, or an interface is switched off
    NO_ADDRESS = "no-address"  #: the source, or the machine that it is for, has no address
    NO_ROUTE_IN_GUEST = "no-route-in-guest"  #: the source does not know where to send it
    FILTERED_IN_GUEST = "filtered-in-guest"  #: the source's own rules keep it in
    NO_ARP_ANSWER = "no-arp-answer"  #: nobody says that he has the address that it is to be handed to
    DUPLICATE_ADDRESS = "duplicate-address"  #: somebody else has that address too, and was given it
    NOT_FORWARDED = "not-forwarded"  #: the host side does not pass packets on (ip_forward)
    FILTERED = "filtered"  #: a rule on the host side dropped it, or turned it back
    REVERSE_PATH = "reverse-path"  #: the host side would answer by another way, so takes none (rp_filter)
    NO_ROUTE_ON_HOST = "no-route-on-host"  #: the host side does not know where to send it
    NO_ROUTE_OUTSIDE = "no-route-outside"  #: a router outside says that it does not know where to send it
    NO_NAT = "no-nat-for-private-source"  #: it got outside with a private address, which nobody can answer
    NO_ROUTE_BACK = "no-route-back"  #: it arrived, and whoever got it does not know the way back
    ASYMMETRIC = "asymmetric"  #: it was answered by another way, on which the answer got lost
    NO_ANSWER = "no-answer"  #: it arrived, and whoever got it said nothing
    LOST = "lost"  #: it was seen at one place and not at the next, and nothing that we know explains it
    NOT_SENT = "not-sent"  #: nobody sent such a packet while we watched


#: Other spellings that a lab file may use.
SHORT = {"no-nat": Reason.NO_NAT}
