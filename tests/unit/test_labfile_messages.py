"""What is said of files that are no lab, and of their top level: text in, exact messages out."""

from __future__ import annotations

from pathlib import Path

import pytest

from vmlan.errors import LabFileError
from vmlan.labfile import loads


def messages(text: str) -> list[str]:
    """Every problem of a file as `LINE:COL: what; hint`."""
    with pytest.raises(LabFileError) as caught:
        loads(text, folder=Path("/labs/x"))
    return [problem.at("").removeprefix(":") for problem in caught.value.problems]


YAML: dict[str, tuple[str, list[str]]] = {
    "empty": (
        "",
        [
            "1:1: the file is empty; describe at least one machine, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "only comments": (
        "# nothing\n",
        [
            "1:1: the file is empty; describe at least one machine, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "null": (
        "~\n",
        [
            "1:1: the file is empty; describe at least one machine, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "a list": (
        "- a\n",
        [
            "1:1: the file is a list, where keys should be; begin with a key, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "one text": (
        "vmlan\n",
        [
            "1:1: the file is one text, where keys should be; begin with a key, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "tab": (
        "machines:\n\tvm1:\n",
        [
            "2:1: a tab where only spaces may stand; indent with spaces",
        ],
    ),
    "colon": (
        "machines: {vm1: }\nname: a: b\n",
        [
            "2:8: a ':' that does not belong here; text with special characters in it goes in quotes; keys of one group, and items of one list, begin in the same column",
        ],
    ),
    "open list": (
        "machines:\n  vm1: {nics: [a, b}\n",
        [
            "2:20: what opens at 2:15 is not closed; close it with ']'",
        ],
    ),
    "end in a value": (
        "machines: [\n",
        [
            "2:1: the file ends in the middle of a value; finish it; close every [ and {",
        ],
    ),
    "open quote": (
        "machines: {vm1: }\nname: 'abc\n",
        [
            "2:7: the quote that opens here is not closed; close it",
        ],
    ),
    "indent": (
        "machines:\n    vm1:\n  vm2:\n",
        [
            "3:3: this does not line up with what begins at 1:1; keys of one group, and items of one list, begin in the same column",
        ],
    ),
    "special first": (
        "name: @x\n",
        [
            "1:7: a value cannot begin with '@'; put it in quotes",
        ],
    ),
    "undefined alias": (
        "machines: *m\n",
        [
            "1:11: there is no &m above; an alias (*) repeats what has that anchor (&)",
        ],
    ),
    "two documents": (
        "a: 1\n---\nb: 2\n",
        [
            "2:1: a second document begins here; a file is one lab: remove the '---'",
        ],
    ),
    "escape": (
        'name: "\\q"\n',
        [
            "1:9: \\q means nothing in double quotes; write \\\\ for a backslash",
        ],
    ),
    "dash": (
        "name: - a\n",
        [
            "1:7: a '-' that does not belong here; begin the list on a new line",
        ],
    ),
    "no colon": (
        "name: a\nmachines\n",
        [
            "2:1: this is neither a key nor a list item; a key ends with ':'",
        ],
    ),
    "stray bracket": (
        "name: ]\n",
        [
            "1:7: ']' where a value should be; write the value, or remove it",
        ],
    ),
    "after a quote": (
        "name: 'a'b\n",
        [
            "1:10: text after the end of a value; text with special characters in it goes in quotes",
        ],
    ),
    "control character": (
        "name: a\nb: \x01\n",
        [
            "2:4: the character '\\x01' cannot stand in a file; remove it",
        ],
    ),
    "after a tag": (
        "&a &b x\n",
        [
            "1:4: this does not belong to what is above; keys of one group, and items of one list, begin in the same column",
        ],
    ),
    "unknown tag handle": (
        "name: !x!y 1\n",
        [
            "1:7: the tag '!x!' means nothing here; remove it",
        ],
    ),
    "yaml 3": (
        "%YAML 3.0\n---\nname: a\n",
        [
            "1:1: this YAML version is not known; remove the %YAML line",
        ],
    ),
    "anchor without a name": (
        "name: &\n",
        [
            "1:8: this is not YAML: expected alphabetic or numeric character, but found '\\n'; text with special characters in it goes in quotes",
        ],
    ),
    "deep": (
        "[" * 2000,
        [
            "1:1: lists or groups stand too deep in each other; a lab needs six levels",
        ],
    ),
    "itself": (
        "machines: &m {vm1: *m}\n",
        [
            "1:11: this contains itself through an alias; name the parts one by one",
        ],
    ),
    "key twice": (
        "machines: {vm1: }\nname: a\nname: b\n",
        [
            "3:1: 'name' is there a second time; keep one; the first is at 2:1",
        ],
    ),
    "machine twice": (
        "machines:\n  vm1:\n  vm2:\n  vm1: {cpus: 2}\n",
        [
            "4:3: 'vm1' is there a second time; keep one; the first is at 2:3",
        ],
    ),
    "tag": (
        "machines: {vm1: !big {cpus: !!int 2}}\n",
        [
            "1:17: the tag '!big' means nothing here; remove it",
        ],
    ),
    "binary": (
        "machines: {vm1: }\nname: !!binary aaaa\n",
        [
            "2:7: the tag '!!binary' means nothing here; remove it",
        ],
    ),
    "tag of another": (
        "machines: !!seq {vm1: }\n",
        [
            "1:11: the tag '!!seq' means nothing here; remove it",
        ],
    ),
    "list as key": (
        "? [a]\n: 1\nmachines: {vm1: }\n",
        [
            "1:3: a list or group cannot be a key; quote text that contains { or [",
        ],
    ),
    "null as key": (
        "machines: {vm1: , : 1, ~: 2, true: 3}\n",
        [
            "1:20: a key is empty; write its name before the ':'",
            "1:24: '~' as a key is not a text; put it in quotes: \"~\"",
            "1:30: 'true' as a key is not a text; put it in quotes: \"true\"",
        ],
    ),
    "nul": (
        'machines: {vm1: }\nname: "a\\0b"\n',
        [
            "2:7: 'a\\x00b' contains a character that no file or program can have; remove it",
        ],
    ),
    "surrogate": (
        'machines: {vm1: }\nname: "\\ud800"\n',
        [
            "2:7: '' cannot be a lab's name; letters, digits, '-', '.' and '_', a letter or digit at both ends, up to 63",
            "2:7: '\\ud800' contains a character that no file or program can have; remove it",
        ],
    ),
    "merge of text": (
        "machines: {vm1: {<<: tiny}}\n",
        [
            "1:22: '<<' merges keys, and there are none here; write <<: *anchor",
        ],
    ),
    "merge of a list": (
        "x-a: &a {cpus: 2}\nmachines: {vm1: {<<: [*a, 3]}}\n",
        [
            "2:27: '<<' merges keys, and there are none here; write <<: *anchor",
        ],
    ),
    "bad through a merge, once": (
        "x-a: &a {cpus: two}\nmachines: {vm1: *a, vm2: {<<: *a}}\n",
        [
            "1:16: 'cpus' cannot be 'two'; it takes a whole number from 1, such as 2",
        ],
    ),
    "int tag on text": (
        "machines: {vm1: {cpus: !!int two}}\n",
        [
            "1:24: 'cpus' cannot be 'two'; it takes a whole number from 1, such as 2",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", YAML.values(), ids=YAML)
def test_not_a_lab(text: str, expected: list[str]) -> None:
    assert messages(text) == expected


TOP: dict[str, tuple[str, list[str]]] = {
    "no machines": (
        "name: a\n",
        [
            "1:1: the lab has no machines; add them, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "machines empty": (
        "machines:\n",
        [
            "1:1: 'machines' is empty; write machines by name, such as {vm1: {image: tiny}}",
        ],
    ),
    "machines none": (
        "machines: {}\n",
        [
            "1:11: the lab has no machines; name at least one, such as machines: {vm1: {image: tiny}}",
        ],
    ),
    "machines a list": (
        "machines: [vm1]\n",
        [
            "1:11: 'machines' cannot be a list; it takes machines by name, such as {vm1: {image: tiny}}",
        ],
    ),
    "unknown": (
        "machines: {vm1: }\nnmae: a\n",
        [
            "2:1: unknown key 'nmae'; did you mean 'name'?",
        ],
    ),
    "unknown far": (
        "machines: {vm1: }\nzzzzz: a\n",
        [
            "2:1: unknown key 'zzzzz'; one of machines, name, qemu, host, networks or checks",
        ],
    ),
    "other word": (
        "vms: {a: }\n",
        [
            "1:1: unknown key 'vms'; did you mean 'machines'?",
        ],
    ),
    "name a number": (
        "machines: {vm1: }\nname: 5\n",
        [
            "2:7: 'name' cannot be the number 5; for a text, put it in quotes: \"5\"",
        ],
    ),
    "name with space": (
        "machines: {vm1: }\nname: my lab\n",
        [
            "2:7: 'my lab' cannot be a lab's name; letters, digits, '-', '.' and '_', a letter or digit at both ends, up to 63",
        ],
    ),
    "name ends": (
        "machines: {vm1: }\nname: lab.\n",
        [
            "2:7: 'lab.' cannot be a lab's name; letters, digits, '-', '.' and '_', a letter or digit at both ends, up to 63",
        ],
    ),
    "name too long": (
        "machines: {vm1: }\nname: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n",
        [
            "2:7: 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…' cannot be a lab's name; letters, digits, '-', '.' and '_', a letter or digit at both ends, up to 63",
        ],
    ),
    "name empty": (
        "machines: {vm1: }\nname:\n",
        [
            "2:1: 'name' is empty; leave it out, or write a text, such as crossover",
        ],
    ),
    "name a list": (
        "machines: {vm1: }\nname: [a]\n",
        [
            "2:7: 'name' cannot be a list; it takes a text, such as crossover",
        ],
    ),
    "host text": (
        "machines: {vm1: }\nhost: private\n",
        [
            "2:7: 'host' cannot be 'private'; it takes keys such as {uplink: internet}",
        ],
    ),
    "place host, and a way out of a lab's own": (
        "machines: {vm1: }\nhost: {place: host, uplink: simulated}\n",
        [
            "2:29: uplink: simulated is for a host side of the lab's own, and place: host is this machine's network; name one of its NICs, such as eth0; or leave place out",
        ],
    ),
    "place": (
        "machines: {vm1: }\nhost: {place: privat}\n",
        [
            "2:15: unknown place 'privat'; did you mean 'private'?",
        ],
    ),
    "place a number": (
        "machines: {vm1: }\nhost: {place: 1}\n",
        [
            "2:15: 'place' cannot be 1; it takes private or host",
        ],
    ),
    "uplink nic": (
        "machines: {vm1: }\nhost: {uplink: eth0}\n",
        [
            "2:16: 'eth0': a NIC as uplink needs place: host; add it, or write one of none, internet, simulated",
        ],
    ),
    "uplink near": (
        "machines: {vm1: }\nhost: {uplink: intenet}\n",
        [
            "2:16: unknown uplink 'intenet'; did you mean 'internet'?",
        ],
    ),
    "uplink bool": (
        "machines: {vm1: }\nhost: {uplink: false}\n",
        [
            "2:16: 'uplink' cannot be false; it takes none, internet or simulated; with place: host, a NIC such as eth0",
        ],
    ),
    "forwarding yes": (
        "machines: {vm1: }\nhost: {forwarding: yes}\n",
        [
            "2:20: 'forwarding' cannot be 'yes'; it takes true or false",
        ],
    ),
    "forwarding empty": (
        "machines: {vm1: }\nhost: {forwarding: }\n",
        [
            "2:8: 'forwarding' is empty; leave it out, or write true or false",
        ],
    ),
    "forwardin": (
        "machines: {vm1: }\nhost: {forwardin: true}\n",
        [
            "2:8: unknown key 'forwardin'; did you mean 'forwarding'?",
        ],
    ),
    "networks a list": (
        "machines: {vm1: }\nnetworks: [wire]\n",
        [
            "2:11: 'networks' cannot be a list; it takes networks by name, such as {wire: {kind: tap}}",
        ],
    ),
    "checks a group": (
        "machines: {vm1: }\nchecks: {ping: vm1}\n",
        [
            "2:9: 'checks' cannot be a group of keys; it takes a list, such as [{ping: vm2, from: vm1}]",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", TOP.values(), ids=TOP)
def test_top_level(text: str, expected: list[str]) -> None:
    assert messages(text) == expected
