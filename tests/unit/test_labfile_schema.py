"""The JSON Schema: complete, described, and one with what the reader takes and gives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vmlan.labfile import loads
from vmlan.labfile.describe import ADDRESS, CIDR, FORWARD, LAB_NAME, MAC, NAME, SIZE
from vmlan.labfile.machines import MEMORY_OF_OTHERS
from vmlan.labfile.schema import json_schema
from vmlan.labfile.section import keys_of
from vmlan.labfile.shapes import NETWORKS, Check, Disk, Host, LabFile, Machine, Nic
from vmlan.model import MIB, Accel, HostSide, Place, Uplink
from vmlan.model import Machine as ModelMachine

SCHEMA = json_schema()
SHAPES = {shape.__name__: shape for shape in (Host, Machine, Nic, Disk, Check, *NETWORKS.values())}


def sections() -> Iterator[tuple[str, dict[str, Any]]]:
    yield LabFile.__name__, SCHEMA
    yield from SCHEMA["$defs"].items()


def test_it_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "vmlan lab"


def test_every_section_is_there_and_closed() -> None:
    assert set(SCHEMA["$defs"]) == set(SHAPES)
    for name, section in sections():
        assert section["type"] == "object", name
        assert section["additionalProperties"] is False, name
        assert section["description"], name


@pytest.mark.parametrize("name, shape", [("LabFile", LabFile), *SHAPES.items()])
def test_every_key_is_there_and_described(name: str, shape: Any) -> None:
    properties = dict(sections())[name]["properties"]
    assert set(properties) == set(keys_of(shape)) | ({"kind"} if shape in NETWORKS.values() else set())
    for key, property in properties.items():
        assert property["description"].endswith("."), f"{name}.{key}"


def test_references_lead_somewhere() -> None:
    found = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', json.dumps(SCHEMA)))
    assert found == set(SHAPES)


def test_own_keys() -> None:
    (pattern,) = SCHEMA["patternProperties"]
    assert re.match(pattern, "x-common") and not re.match(pattern, "xcommon")


def test_short_forms() -> None:
    keys = SCHEMA["$defs"]["Machine"]["properties"]
    text = {"type": "string"}
    assert keys["nics"]["items"] == {"anyOf": [text, {"$ref": "#/$defs/Nic"}]}
    assert keys["disks"]["items"] == {"anyOf": [text, {"$ref": "#/$defs/Disk"}]}
    words = {"enum": ["cdrom", "disk", "floppy", "network", "usb"]}
    assert keys["boot"]["anyOf"] == [{"type": "array", "items": words}, words]
    assert SCHEMA["properties"]["machines"]["additionalProperties"] == {
        "anyOf": [{"$ref": "#/$defs/Machine"}, {"type": "null"}]
    }


def test_choices_are_the_models() -> None:
    host, machine = SCHEMA["$defs"]["Host"]["properties"], SCHEMA["$defs"]["Machine"]["properties"]
    ours, nic = host["uplink"]["anyOf"]
    assert set(ours["enum"]) == {uplink.value for uplink in Uplink} and nic == {"type": "string"}
    assert set(host["place"]["enum"]) == {place.value for place in Place}
    assert set(machine["accel"]["enum"]) == {accel.value for accel in Accel}


def test_defaults_are_the_models() -> None:
    host, machine = SCHEMA["$defs"]["Host"]["properties"], SCHEMA["$defs"]["Machine"]["properties"]
    side, vm = HostSide(), ModelMachine("vm1")
    assert {key: host[key]["default"] for key in host} == {
        "place": side.place.value,
        "forwarding": side.forwarding,
        "uplink": side.uplink.value,
    }
    assert {key: machine[key]["default"] for key in ("cpus", "cpu", "machine", "append", "accel")} == {
        "cpus": vm.cpus,
        "cpu": vm.cpu,
        "machine": vm.machine,
        "append": vm.append,
        "accel": vm.accel.value,
    }
    memory = machine["memory"]["description"]
    assert f"{vm.memory // MIB}M for tiny" in memory
    assert f"{MEMORY_OF_OTHERS // MIB}M otherwise" in memory


def test_examples_match_their_patterns_and_load() -> None:
    for name, section in sections():
        for key, property in section["properties"].items():
            for example in property.get("examples", ()):
                if "pattern" in property:
                    assert re.search(property["pattern"], example), f"{name}.{key}"
    machine = {
        key: value["examples"][-1]
        for key, value in SCHEMA["$defs"]["Machine"]["properties"].items()
        if "examples" in value
    }
    network = {"kind": "bridge"}
    text = json.dumps({"machines": {"vm1": machine}, "networks": {"lan": network}})
    assert loads(text, folder=Path("/labs/x")).machines[0].qemu_args == ("-device", "edu")


@pytest.mark.parametrize(
    "pattern, good, bad",
    [
        (SIZE, ["512M", "1.5GiB", "2 tb"], ["512", "M", "512X", "5 12M"]),
        (CIDR, ["10.1.1.1/24"], ["10.1.1.1", "10.1.1/24", "10.1.1.1/255.0.0.0"]),
        (ADDRESS, ["10.1.1.1"], ["10.1.1.1/24", "vm1"]),
        (NAME, ["vm1", "a", "A-1", "a" * 63], ["1a", "a-", "a.b", "", "a" * 64]),
        (LAB_NAME, ["1a", "a.b_c", "a" * 63], ["a.", "a b", "", "a" * 64]),
        (MAC, ["52:54:00:12:34:56", "52-54-00-AB-CD-EF"], ["52:54:00:12:34", "525400123456"]),
        (FORWARD, ["8080:80", "0.0.0.0:8080:80/udp", "udp:1:2"], ["80", "a:b", "1:2/sctp"]),
    ],
)
def test_patterns(pattern: str, good: list[str], bad: list[str]) -> None:
    assert [text for text in [*good, *bad] if re.search(pattern, text)] == good
