"""What is said of machines and their NICs: text in, exact messages out."""

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


VM: dict[str, tuple[str, list[str]]] = {
    "text": (
        "vm1: tiny",
        [
            "2:3: machine 'vm1' cannot be 'tiny'; write vm1: {image: tiny}, or nothing after vm1:",
        ],
    ),
    "list": (
        "vm1: [tiny]",
        [
            "2:3: machine 'vm1' cannot be a list; write vm1: {image: tiny}, or nothing after vm1:",
        ],
    ),
    "unknown": (
        "vm1: {mem: 1G, ram: 1G, qemu_args: [], floppies: a}",
        [
            "2:9: unknown key 'mem'; did you mean 'memory'?",
            "2:18: unknown key 'ram'; did you mean 'memory'?",
            "2:27: unknown key 'qemu_args'; did you mean 'qemu-args'?",
            "2:42: unknown key 'floppies'; did you mean 'floppy'?",
        ],
    ),
    "image word": (
        "vm1: {image: slackware}",
        [
            "2:16: 'slackware' is not a known image; 'tiny', a name that `vmlan image ls` shows, or a path (./slackware)",
        ],
    ),
    "image near": (
        "vm1: {image: tyni}",
        [
            "2:16: 'tyni' is not a known image; did you mean 'tiny'?",
        ],
    ),
    "image case": (
        "vm1: {image: Tiny}",
        [
            "2:16: 'Tiny' is not a known image; did you mean 'tiny'?",
        ],
    ),
    "image url": (
        "vm1: {image: 'https://example.org/x.qcow2'}",
        [
            "2:16: 'https://example.org/x.qcow2': addresses of the web are not in this version; fetch it, and write its path",
        ],
    ),
    "image number": (
        "vm1: {image: 12}",
        [
            "2:16: 'image' cannot be 12; it takes tiny or a path, such as debian.qcow2",
        ],
    ),
    "image empty text": (
        "vm1: {image: ''}",
        [
            "2:16: the path is empty; write one, such as ./disk.qcow2",
        ],
    ),
    "memory number": (
        "vm1: {memory: 512}",
        [
            "2:17: 512 has no unit; write 512M or 512G",
        ],
    ),
    "memory text number": (
        "vm1: {memory: '512'}",
        [
            "2:17: '512' has no unit; write 512M or 512G",
        ],
    ),
    "memory unit": (
        "vm1: {memory: 512X}",
        [
            "2:17: '512X' is not a size; write a number and a unit (K, M, G or T), such as 512M",
        ],
    ),
    "memory little": (
        "vm1: {memory: 512K}",
        [
            "2:17: '512K' is too little; at least 1M",
        ],
    ),
    "memory list": (
        "vm1: {memory: [1G]}",
        [
            "2:17: 'memory' cannot be a list; it takes a size with a unit, such as 512M",
        ],
    ),
    "memory bytes": (
        "vm1: {memory: 512B}",
        [
            "2:17: '512B' is too little; at least 1M",
        ],
    ),
    "memory part": (
        "vm1: {memory: 0.0001K}",
        [
            "2:17: '0.0001K' is not a whole number of bytes; write it in a smaller unit",
        ],
    ),
    "memory float": (
        "vm1: {memory: 1.5}",
        [
            "2:17: 1.5 has no unit; write 1.5M or 1.5G",
        ],
    ),
    "memory huge": (
        "vm1: {memory: 99999999T}",
        [
            "2:17: '99999999T' is more than any machine can have; check the unit",
        ],
    ),
    "memory empty": (
        "vm1: {memory: }",
        [
            "2:9: 'memory' is empty; leave it out, or write a size with a unit, such as 512M",
        ],
    ),
    "memory true": (
        "vm1: {memory: true}",
        [
            "2:17: 'memory' cannot be true; it takes a size with a unit, such as 512M",
        ],
    ),
    "cpus 0": (
        "vm1: {cpus: 0}",
        [
            "2:15: 'cpus' cannot be 0; it takes a whole number from 1, such as 2",
        ],
    ),
    "cpus text": (
        "vm1: {cpus: two}",
        [
            "2:15: 'cpus' cannot be 'two'; it takes a whole number from 1, such as 2",
        ],
    ),
    "cpus float": (
        "vm1: {cpus: 1.5}",
        [
            "2:15: 'cpus' cannot be 1.5; it takes a whole number from 1, such as 2",
        ],
    ),
    "cpus huge": (
        "vm1: {cpus: 99999999999999999999}",
        [
            "2:15: 'cpus' cannot be '99999999999999999999'; it takes a whole number from 1, such as 2",
        ],
    ),
    "words": (
        "vm1: {cpu: 'host,+vmx', machine: 'pc q35'}",
        [
            "2:14: 'host,+vmx' is not one word; no spaces and commas; further options go in 'qemu-args'",
            "2:36: 'pc q35' is not one word; no spaces and commas; further options go in 'qemu-args'",
        ],
    ),
    "cpu number": (
        "vm1: {cpu: 486}",
        [
            "2:14: 'cpu' cannot be the number 486; for a text, put it in quotes: \"486\"",
        ],
    ),
    "accel": (
        "vm1: {accel: kmv}",
        [
            "2:16: unknown accel 'kmv'; did you mean 'kvm'?",
        ],
    ),
    "accel far": (
        "vm1: {accel: zzz}",
        [
            "2:16: unknown accel 'zzz'; one of auto, kvm or tcg",
        ],
    ),
    "accel list": (
        "vm1: {accel: [kvm]}",
        [
            "2:16: 'accel' cannot be a list; it takes auto, kvm or tcg",
        ],
    ),
    "paths": (
        "vm1: {cdrom: '', floppy: 'http://x/y', usb: ['ftp://a', ''], kernel: 5}",
        [
            "2:16: the path is empty; write one, such as ./disk.qcow2",
            "2:28: 'http://x/y': addresses of the web are not in this version; fetch it, and write its path",
            "2:48: 'ftp://a': addresses of the web are not in this version; fetch it, and write its path",
            "2:59: the path is empty; write one, such as ./disk.qcow2",
            "2:72: 'kernel' cannot be the number 5; for a text, put it in quotes: \"5\"",
        ],
    ),
    "home": (
        "vm1: {cdrom: '~nobody-of-that-name/x'}",
        [
            "2:16: there is no home folder for '~nobody-of-that-name/x'; write the whole path",
        ],
    ),
    "usb group": (
        "vm1: {usb: {a: b}}",
        [
            "2:14: 'usb' cannot be a group of keys; it takes a list of paths, such as [stick.img]",
        ],
    ),
    "disks": (
        "vm1: {disks: [{}, 5, [a], ~, {path: x}, {size: 8}, {size: 8G, base: ''}, 'http://x', {size: 1}, {sise: 8G}, {size: 0M}]}",
        [
            "2:17: the disk has no size, no base and no file; write {size: 8G}, {base: debian.qcow2} or {file: data.qcow2}",
            "2:21: a disk cannot be 5; write {size: 8G}, {base: debian.qcow2} or a path",
            "2:24: a disk cannot be a list; write {size: 8G}, {base: debian.qcow2} or a path",
            "2:29: a disk cannot be empty; write {size: 8G}, {base: debian.qcow2} or a path",
            "2:33: 'path' is not a key of a disk; write the path alone, or file: with other keys",
            "2:50: 8 has no unit; write 8M or 8G",
            "2:71: the path is empty; write one, such as ./disk.qcow2",
            "2:76: 'http://x': addresses of the web are not in this version; fetch it, and write its path",
            "2:95: 1 has no unit; write 1M or 1G",
            "2:100: unknown key 'sise'; did you mean 'size'?",
            "2:118: '0M' is too little; at least 1K",
        ],
    ),
    "disks text": (
        "vm1: {disks: a.img}",
        [
            "2:16: 'disks' cannot be 'a.img'; it takes a list, such as [{size: 8G}]",
        ],
    ),
    "disks size": (
        "vm1: {disks: {size: 8G}}",
        [
            "2:16: 'disks' cannot be a group of keys; it takes a list, such as [{size: 8G}]",
        ],
    ),
    "boot": (
        "vm1: {image: a.iso, boot: [disc, 5, disk, disk, network]}",
        [
            "2:30: unknown boot 'disc'; did you mean 'disk'?",
            "2:36: an item of 'boot' cannot be 5; it takes disk, cdrom, floppy, usb or network",
            "2:45: boot has disk twice; name each once, in order",
            "2:51: boot names network, and the machine has none; add nics:, or leave network out",
        ],
    ),
    "boot absent": (
        "vm1: {boot: cdrom}",
        [
            "2:15: boot names cdrom, and the machine has none; add cdrom:, or leave cdrom out",
        ],
    ),
    "boot word": (
        "vm1: {boot: hd}",
        [
            "2:15: unknown boot 'hd'; one of disk, cdrom, floppy, usb or network",
        ],
    ),
    "boot group": (
        "vm1: {boot: {a: b}}",
        [
            "2:15: 'boot' cannot be a group of keys; it takes a list, such as [cdrom, disk]",
        ],
    ),
    "initrd": (
        "vm1: {initrd: a}",
        [
            "2:17: an initrd is loaded with a kernel; add kernel:",
        ],
    ),
    "append": (
        "vm1: {image: a.img, append: quiet}",
        [
            "2:31: append is the command line of a kernel; add kernel:",
        ],
    ),
    "append lines": (
        'vm1: {kernel: a, append: "a\\nb"}',
        [
            "2:28: the text has more than one line; write it on one",
        ],
    ),
    "append number": (
        "vm1: {kernel: a, append: 1}",
        [
            "2:28: 'append' cannot be the number 1; for a text, put it in quotes: \"1\"",
        ],
    ),
    "qemu-args": (
        "vm1: {qemu-args: [-smp, 2, [a], ~]}",
        [
            "2:27: an item of 'qemu-args' cannot be the number 2; for a text, put it in quotes: \"2\"",
            "2:30: an item of 'qemu-args' cannot be a list; it takes a text",
            "2:35: an item of 'qemu-args' is empty; it takes a text",
        ],
    ),
    "qemu-args text": (
        "vm1: {qemu-args: -snapshot}",
        [
            "2:20: 'qemu-args' cannot be '-snapshot'; it takes a list of texts, such as [-device, edu]",
        ],
    ),
    "reserved": (
        "host: \n  Outside:",
        [
            "2:3: no machine can be named 'host', which has a meaning of its own; choose another name",
            "3:3: no machine can be named 'Outside', which has a meaning of its own; choose another name",
        ],
    ),
    "names": (
        "1a:\n  a.b:\n  a-:\n  ''  : {}",
        [
            "2:3: '1a' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "3:3: 'a.b' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "4:3: 'a-' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "5:3: '' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
        ],
    ),
    "case": (
        "vm1:\n  VM1:",
        [
            "3:3: machine 'VM1' differs from 'vm1' only in case; 'vm1' is at 2:3: choose another name",
        ],
    ),
    "name long": (
        "abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb:",
        [
            "2:3: 'abbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb…' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
        ],
    ),
    "not printable": (
        '"a\\nb\\e": 5',
        [
            "2:3: 'a\\nb\\x1b' cannot be a machine's name; a letter, then letters, digits and '-', ending in a letter or digit, up to 63",
            "2:3: machine 'a\\nb\\x1b' cannot be 5; write a\\nb\\x1b: {image: tiny}, or nothing after a\\nb\\x1b:",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", VM.values(), ids=VM)
def test_machine(text: str, expected: list[str]) -> None:
    assert messages(f"machines:\n  {text}\n") == expected


WITH_NETWORKS = """\
networks:
  wire: {kind: tap, host: 10.1.1.1/24}
  nat1: {kind: user}
  nowhere: {kind: none}
machines:
  vm1:
    nics:
      - """

NIC: dict[str, tuple[str, list[str]]] = {
    "near": (
        "wir",
        [
            "8:9: unknown network 'wir'; did you mean 'wire'?",
        ],
    ),
    "far": (
        "zzzzz",
        [
            "8:9: unknown network 'zzzzz'; the lab has wire, nat1 and nowhere",
        ],
    ),
    "empty": (
        "~",
        [
            "8:9: a NIC cannot be empty; write a network's name, or {network: lan}",
        ],
    ),
    "number": (
        "5",
        [
            "8:9: a NIC cannot be 5; write a network's name, or {network: lan}",
        ],
    ),
    "no network": (
        "{model: e1000}",
        [
            "8:9: the NIC has no network; add one, such as network: lan",
        ],
    ),
    "network empty": (
        "{network: }",
        [
            "8:10: 'network' is empty; write a network's name",
        ],
    ),
    "list": (
        "[wire]",
        [
            "8:9: a NIC cannot be a list; write a network's name, or {network: lan}",
        ],
    ),
    "model": (
        "{network: wire, model: e100}",
        [
            "8:32: unknown model 'e100'; did you mean 'e1000'?",
        ],
    ),
    "model far": (
        "{network: wire, model: zzzzzz}",
        [
            "8:32: unknown model 'zzzzzz'; one of virtio, e1000, e1000e, e1000-82544gc, e1000-82545em, rtl8139, ne2k_pci, ne2k_isa, pcnet, vmxnet3, i82551, i82557b, i82559er, tulip or usb-net",
        ],
    ),
    "unknown": (
        "{network: wire, adress: 10.1.1.2/24}",
        [
            "8:25: unknown key 'adress'; did you mean 'address'?",
        ],
    ),
    "mac": (
        "{network: wire, mac: '52:54:00:12:34'}",
        [
            "8:30: '52:54:00:12:34' is not a MAC address; six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
        ],
    ),
    "mac mixed": (
        "{network: wire, mac: '52:54-00:12:34:56'}",
        [
            "8:30: '52:54-00:12:34:56' is not a MAC address; six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
        ],
    ),
    "mac number": (
        "{network: wire, mac: 525400123456}",
        [
            "8:30: 525400123456 is not a MAC address; six pairs of hexadecimal digits, such as 52:54:00:12:34:56",
        ],
    ),
    "mac multicast": (
        "{network: wire, mac: '01:00:5e:00:00:01'}",
        [
            "8:30: 01:00:5e:00:00:01 is a multicast address, which no card can have; the first pair of a card's own is even, as in 02:00:5e:00:00:01",
        ],
    ),
    "mac broadcast": (
        "{network: wire, mac: 'FF:FF:FF:FF:FF:FF'}",
        [
            "8:30: ff:ff:ff:ff:ff:ff is a multicast address, which no card can have; the first pair of a card's own is even, as in fe:ff:ff:ff:ff:ff",
        ],
    ),
    "mac zero": (
        "{network: wire, mac: '00-00-00-00-00-00'}",
        [
            "8:30: 00:00:00:00:00:00 is no card's address; write one such as 52:54:00:12:34:56",
        ],
    ),
    "address bare": (
        "{network: wire, address: 10.1.1.2}",
        [
            "8:34: '10.1.1.2' has no prefix length; write 10.1.1.2/24",
        ],
    ),
    "address outside": (
        "{network: wire, address: 10.1.2.2/24}",
        [
            "8:34: 10.1.2.2 is not in 10.1.1.0/24, the range of 'wire'; an address of that range, such as 10.1.1.2/24",
        ],
    ),
    "address of the host": (
        "{network: wire, address: 10.1.1.1/24}",
        [
            "8:34: 10.1.1.1 is the host's own address on 'wire'; take another one",
        ],
    ),
    "address network": (
        "{network: wire, address: 10.1.1.0/24}",
        [
            "8:34: 10.1.1.0 is the network itself; 10.1.1.1/24 would be its first address",
        ],
    ),
    "address broadcast": (
        "{network: wire, address: 10.1.1.255/24}",
        [
            "8:34: 10.1.1.255 is the network's broadcast address; 10.1.1.254/24 would be its last address",
        ],
    ),
    "address broadcast of the host's": (
        "{network: wire, address: 10.1.1.255/16}",
        [
            "8:34: 10.1.1.255 is the last of 10.1.1.0/24, which no station can have; take another, such as 10.1.1.2/24",
        ],
    ),
    "address network of the host's": (
        "{network: wire, address: 10.1.1.0/16}",
        [
            "8:34: 10.1.1.0 is the first of 10.1.1.0/24, which no station can have; take another, such as 10.1.1.2/24",
        ],
    ),
    "gateway alone": (
        "{network: wire, gateway: 10.1.1.1}",
        [
            "8:34: a gateway is written, and no address; add address:, or leave both to dhcp",
        ],
    ),
    "gateway outside": (
        "{network: wire, address: 10.1.1.2/24, gateway: 10.1.2.1}",
        [
            "8:56: 10.1.2.1 is not in 10.1.1.0/24; the gateway is in the address's network",
        ],
    ),
    "gateway itself": (
        "{network: wire, address: 10.1.1.2/24, gateway: 10.1.1.2}",
        [
            "8:56: 10.1.1.2 is the machine's own address; the gateway is another machine or the host",
        ],
    ),
    "gateway prefix": (
        "{network: wire, address: 10.1.1.2/24, gateway: 10.1.1.1/24}",
        [
            "8:56: '10.1.1.1/24' has a prefix length; only the address: 10.1.1.1",
        ],
    ),
    "gateway with a wrong address": (
        "{network: wire, address: x, gateway: 10.1.1.1}",
        [
            "8:34: 'x' is not an address; four numbers from 0 to 255, such as 10.1.1.1/24",
        ],
    ),
    "on user": (
        "{network: nat1, address: 10.0.2.15/24, gateway: 10.0.2.2}",
        [
            "8:34: 'nat1' is of kind user, where QEMU gives the addresses; leave 'address' out",
            "8:57: 'nat1' is of kind user, where QEMU gives the addresses; leave 'gateway' out",
        ],
    ),
    "on none": (
        "{network: nowhere, address: 10.0.2.15/24}",
        [
            "8:37: 'nowhere' is of kind none, which leads nowhere; leave 'address' out",
        ],
    ),
}


@pytest.mark.parametrize("text, expected", NIC.values(), ids=NIC)
def test_nic(text: str, expected: list[str]) -> None:
    assert messages(f"{WITH_NETWORKS}{text}\n") == expected
