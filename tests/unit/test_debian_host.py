"""What the builder of debian-12 takes from this host, what it refuses, and what it is told went wrong."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from vmlan.errors import CommandFailed, HostError
from vmlan.guest import debian_build, debian_host
from vmlan.guest.debian_host import Archive


def test_the_archive_is_the_hosts_own_whatever_its_release() -> None:
    found = debian_host.archive_in(
        [
            "Docker|Docker CE|https://download.example/linux/debian/",
            "Debian|Debian|https://me:secret@mirror.example/debian/",
            "Debian|Debian|http://second.example/debian/",
            "Debian|Debian-Security|http://security.example/debian-security/",
        ]
    )
    assert found == Archive(
        "https://me:secret@mirror.example/debian", "http://security.example/debian-security"
    )
    assert found.sources("bookworm") == (
        "deb https://me:secret@mirror.example/debian bookworm main",
        "deb https://me:secret@mirror.example/debian bookworm-updates main",
        "deb http://security.example/debian-security bookworm-security main",
    )
    assert "secret" not in str(found.without_passwords())
    assert found.without_passwords().main == "https://mirror.example/debian"


def test_without_an_archive_on_the_network_debians_own_is_asked() -> None:
    for targets in (
        [],
        [""],
        ["Debian|Debian|cdrom://[Debian 13]/"],
        ["Ubuntu|Ubuntu|http://u.example/ubuntu"],
    ):
        assert debian_host.archive_in(targets) == Archive()


def test_only_how_the_archive_is_reached_is_taken_over_from_apt() -> None:
    way = [
        'Acquire::http::Proxy "http://proxy.example:3142";',
        'Acquire::https::mirror.example::CAInfo "/etc/ssl/own.pem";',
        'Acquire::Retries "3";',
        'Acquire::Check-Valid-Until "false";',
    ]
    other = [
        'Acquire::http "";',
        'Acquire::Languages:: "none";',
        'Acquire::AllowInsecureRepositories "1";',
        'Acquire::IndexTargets::deb::Packages::Optional "0";',
        'APT::Install-Recommends "1";',
        'DPkg::Post-Invoke:: "rm -rf /";',
    ]
    assert debian_host.options_in(way + other) == way


def test_of_the_environment_only_proxies_reach_the_build() -> None:
    given = {
        "HTTPS_PROXY": "p",
        "no_proxy": "n",
        "HOME": "/h",
        "TOKEN": "secret",
        "LANG": "de",
        "TMPDIR": "/x",
    }
    assert debian_host.environment(Path("/t"), given) == {
        "HTTPS_PROXY": "p", "no_proxy": "n", "HOME": "/h", "LC_ALL": "C.UTF-8", "TMPDIR": "/t",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "enough"),
    [
        ("lab:100000:65536", True),
        ("1001:100000:65536", True),
        ("lab:100000:65535", False),
        ("labs:100000:65536", False),
        ("lab:100000", False),
        ("lab:100000:many", False),
        ("", False),
    ],
)
def test_a_range_of_ids_is_found_by_name_or_number(tmp_path: Path, line: str, enough: bool) -> None:
    file = tmp_path / "subuid"
    file.write_text(f"# a comment\nother:1:99999\n{line}\n")
    assert debian_host.has_range(file, "lab", 1001) is enough
    assert not debian_host.has_range(tmp_path / "absent", "lab", 1001)


def test_all_that_is_missing_is_said_at_once_with_what_brings_it(tmp_path: Path) -> None:
    uids, gids = tmp_path / "subuid", tmp_path / "subgid"
    ranges = {uids: "--add-subuids 7-8", gids: "--add-subgids 7-8"}
    uids.write_text("lab:100000:65536\n")

    def only_apt(program: str) -> Path | None:
        return Path("/usr/bin") / program if program.startswith(("apt", "qemu")) else None

    def all_there(program: str) -> Path | None:
        return Path("/usr/bin") / program

    with pytest.raises(HostError) as error:
        debian_host.check(user=(1001, "lab"), find=only_apt, ranges=ranges)
    assert error.value.hint == "sudo apt-get install mmdebstrap uidmap; sudo usermod --add-subgids 7-8 lab"
    for word in ("mmdebstrap", "newuidmap", str(gids)):
        assert word in error.value.what
    assert str(uids) not in error.value.what

    gids.write_text("lab:100000:65536\n")
    assert debian_host.check(user=(1001, "lab"), find=all_there, ranges=ranges) == "unshare"
    assert debian_host.check(user=(0, "root"), find=all_there, ranges={}) == "root"


def test_too_little_room_is_refused_before_anything_is_fetched(tmp_path: Path) -> None:
    debian_host.check_space(tmp_path, 100, free=lambda _: 100)
    with pytest.raises(HostError) as error:
        debian_host.check_space(tmp_path, 300 << 20, free=lambda _: 200 << 20)
    assert f"300 MB in {tmp_path}, and 200 MB are free" in error.value.what


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("E: Failed to fetch http://x/InRelease  Could not resolve 'x'", "cannot be reached"),
        ("Err:1 http://x bookworm\n  Temporary failure resolving 'x'", "cannot be reached"),
        (
            "Could not connect to 127.0.0.1:9 (127.0.0.1). - connect (111: Connection refused)",
            "cannot be reached",
        ),
        ("dpkg: error: failed to write: No space left on device", "no space left"),
        ("E: The repository 'http://x bookworm InRelease' is not signed.", "keys"),
        ("newuidmap: uid range [0-65536) -> [1-65537) not allowed", "ordinary user"),
        ("Err:7 http://x/a.deb 404  Not Found", "archive changed"),
        ("E: Failed to fetch http://x/a.deb  503  Service Unavailable", "did not answer as it should"),
        ("Setting up systemd-resolved (252.404-1) ...\nE: setup failed", "could not be built"),
    ],
)
def test_a_failure_is_explained_by_its_own_words(words: str, meaning: str) -> None:
    failure = debian_host.explained(CommandFailed(["mmdebstrap"], 1, words))
    assert meaning in failure.what.splitlines()[0]
    assert failure.hint


def test_our_files_are_roots_in_the_image_whoever_has_them_here(tmp_path: Path) -> None:
    debian_build._pack_tree(tmp_path / "tree.tar")
    with tarfile.open(tmp_path / "tree.tar") as tar:
        members = {member.name: member for member in tar}
    assert {(member.uid, member.gid) for member in members.values()} == {(0, 0)}
    hook = "etc/initramfs-tools/hooks/vmlan"
    assert {name for name, member in members.items() if member.mode == 0o755} == {hook}
    assert all(member.isfile() for member in members.values())


def test_root_builds_with_mounts_of_its_own_and_users_in_a_namespace(tmp_path: Path) -> None:
    root = debian_build.command("root", Archive(), [], tmp_path)
    user = debian_build.command("unshare", Archive(), ['Acquire::Retries "3";'], tmp_path)
    assert root[:5] == ["unshare", "--mount", "--propagation", "private", "mmdebstrap"]
    assert user[:2] == ["mmdebstrap", "--mode=unshare"]
    assert '--aptopt=Acquire::Retries "3";' in user
    assert user[-5] == "bookworm"


def test_what_a_killed_build_had_elsewhere_is_removed_and_nothing_else(tmp_path: Path) -> None:
    killed, other = tmp_path / "vmlan-debian-x", tmp_path / "precious"
    for note, there in ((killed, False), (other, True)):
        note.mkdir()
        part = tmp_path / "part"
        part.mkdir()
        (part / "temporary.json").write_text(f'"{note}"')
        debian_build.remove_leftovers(part)
        assert (part.exists(), note.exists()) == (False, there)
    for text in ("", "{}", "[1]", "nonsense"):
        part.mkdir()
        (part / "temporary.json").write_text(text)
        debian_build.remove_leftovers(part)
        assert not part.exists()
