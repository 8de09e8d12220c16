"""Every example comes up, its checks pass, and it goes away."""

from __future__ import annotations

import pytest

from tests.real.conftest import EXAMPLES, Bench

pytestmark = pytest.mark.real


@pytest.mark.parametrize(
    "name", sorted(path.name for path in EXAMPLES.iterdir() if path.joinpath("lab.yaml").exists())
)
def test_example(bench: Bench, name: str) -> None:
    bench.example(name)
    bench.ok("up")
    result = bench.vmlan("check", "--json")
    assert result.code == 0, result.out
    assert all(check["attempts"] or check["why"] for check in result.json["checks"])
    assert "the lab has ended" in bench.ok("down", "--now")
