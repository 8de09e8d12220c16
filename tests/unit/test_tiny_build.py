import pytest

from vmlan.guest.packages import Package
from vmlan.guest.tiny_build import kernel_packages


def lists(**depends: str) -> dict[str, Package]:
    """Package lists in which each package has these dependencies."""
    return {
        name.replace("_", "-"): Package(
            name.replace("_", "-"), "1", "kernel", tuple((word,) for word in words.split())
        )
        for name, words in depends.items()
    }


DEBIAN = lists(linux_image_amd64="linux-image-6.1.0-56-amd64") | {
    "linux-image-6.1.0-56-amd64": Package(
        "linux-image-6.1.0-56-amd64", "1", "kernel", (("kmod",), ("linux-base",))
    )
}
DEBIAN_SPLIT = lists(linux_image_amd64="linux-base-amd64 linux-image-7.2+deb14-amd64") | {
    name: Package(name, "1", "kernel", tuple((word,) for word in words))
    for name, words in {
        "linux-image-7.2+deb14-amd64": (
            *("linux-base-7.2+deb14-amd64", "linux-binary-7.2+deb14-amd64", "linux-modules-7.2+deb14-amd64"),
        ),
        "linux-binary-7.2+deb14-amd64": ("linux-base-7.2+deb14-amd64",),
        "linux-modules-7.2+deb14-amd64": (),
        "linux-base-7.2+deb14-amd64": (),
        "linux-base-amd64": ("linux-base-7.2+deb14-amd64",),
    }.items()
}
UBUNTU = lists(linux_image_virtual="linux-image-6.8.0-31-generic linux-firmware") | {
    name: Package(name, "1", "kernel", tuple((word,) for word in words))
    for name, words in {
        "linux-image-6.8.0-31-generic": ("kmod", "linux-modules-6.8.0-31-generic"),
        # Both ways round: it must end all the same.
        "linux-modules-6.8.0-31-generic": ("wireless-regdb", "linux-image-6.8.0-31-generic"),
        "linux-firmware": (),
    }.items()
}


@pytest.mark.parametrize(
    ("known", "meta", "expected"),
    [
        (DEBIAN, "linux-image-amd64", {"linux-image-6.1.0-56-amd64"}),
        (
            DEBIAN_SPLIT,
            "linux-image-amd64",
            {
                *("linux-image-7.2+deb14-amd64", "linux-binary-7.2+deb14-amd64"),
                "linux-modules-7.2+deb14-amd64",
            },
        ),
        (
            UBUNTU,
            "linux-image-virtual",
            {"linux-image-6.8.0-31-generic", "linux-modules-6.8.0-31-generic"},
        ),
    ],
    ids=["debian", "debian 14", "ubuntu"],
)
def test_the_real_packages_behind_a_metapackage(
    known: dict[str, Package], meta: str, expected: set[str]
) -> None:
    def dependencies(packages: list[Package]) -> dict[str, Package]:
        names = [name for package in packages for (name,) in package.depends]
        return {name: known[name] for name in names if name in known}

    found = [package.name for package in kernel_packages(known[meta], dependencies)]
    assert sorted(found) == sorted(expected)
