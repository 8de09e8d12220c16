from vmlan.plan.tiny_cmdline import append


def test_a_machine_that_asks_by_dhcp_has_only_its_name() -> None:
    words = append("web", []).split(" ")
    assert words[0] == "console=ttyS0"
    assert words[-1] == "vmlan.hostname=web"
    assert not [word for word in words if word.startswith("vmlan.nic")]


def test_fixed_addresses_name_their_card() -> None:
    words = append(
        "web", [("52:54:00:AA:00:01", "10.1.1.2/24", None), ("52:54:00:aa:00:02", "10.1.2.2/24", "10.1.2.1")]
    ).split(" ")
    # The guest compares with what the kernel shows, which is lower case.
    assert "vmlan.nic=52:54:00:aa:00:01,10.1.1.2/24" in words
    assert "vmlan.nic=52:54:00:aa:00:02,10.1.2.2/24,10.1.2.1" in words


def test_what_is_added_comes_last() -> None:
    assert append("web", [], "  debug  init=/bin/sh\n").endswith(" vmlan.hostname=web debug init=/bin/sh")


def test_a_machine_full_of_cards_fits_the_kernels_limit() -> None:
    nics = [
        (f"52:54:00:aa:00:{n:02x}", f"192.168.{100 + n}.{100 + n}/24", "192.168.100.254") for n in range(24)
    ]
    assert len(append("h" * 63, nics)) < 2048
