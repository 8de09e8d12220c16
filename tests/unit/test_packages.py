import pytest

from vmlan.errors import CommandFailed
from vmlan.guest import packages
from vmlan.guest.packages import Package

LISTING = """\
Package: qemu-guest-agent
Source: qemu
Version: 1:7.2+dfsg-7
Architecture: amd64
Pre-Depends: init-system-helpers (>= 1.54~)
Depends: libc6 (>= 2.34), libglib2.0-0t64 (>= 2.75) | libglib2.0-0:amd64, libudev1[amd64]
Section: otherosfs
Description: Guest-side qemu-system agent
 Depends: this is text, not a field
Filename: pool/main/q/qemu.deb

Package: libc6
Version: 2.36-9
Section: universe/libs

Package: libc6
Version: 2.31-1
Section: libs
"""


def test_a_listing_is_read() -> None:
    known = packages.parse(LISTING)
    assert list(known) == ["qemu-guest-agent", "libc6"]
    assert known["qemu-guest-agent"] == Package(
        name="qemu-guest-agent",
        version="1:7.2+dfsg-7",
        section="otherosfs",
        depends=(
            ("init-system-helpers",),
            ("libc6",),
            ("libglib2.0-0t64", "libglib2.0-0"),
            ("libudev1",),
        ),
    )


def test_of_several_versions_the_first_is_the_candidate() -> None:
    assert packages.parse(LISTING)["libc6"].version == "2.36-9"


def test_libraries_are_known_by_their_section() -> None:
    known = packages.parse(LISTING)
    assert known["libc6"].is_library
    assert not known["qemu-guest-agent"].is_library


def test_an_empty_listing_has_no_packages() -> None:
    assert packages.parse("") == {}


@pytest.mark.parametrize(
    ("words", "meaning", "hint"),
    [
        (
            "E: Failed to fetch http://x/a.deb  404  Not Found [IP: ::1 80]",
            "older than the archive",
            "apt-get update",
        ),
        ("E: Can't find a source to download version '1'", "older than the archive", "apt-get update"),
        ("Err:1 Could not resolve 'mirror'\nE: Temporary failure resolving", "cannot be reached", "mirrors"),
        ("E: something new", "cannot be fetched", "apt-get update"),
    ],
)
def test_a_failed_download_says_what_to_do(words: str, meaning: str, hint: str) -> None:
    error = packages.explained(CommandFailed(["apt-get", "download", "a"], 100, words))
    assert meaning in error.what
    assert words.splitlines()[0] in error.what
    assert hint in str(error.hint)
