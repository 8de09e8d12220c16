"""Sound: the guest has its card, and what it plays is not heard (`-audiodev none`)."""

from __future__ import annotations

from vmlan.notes.draft import Draft
from vmlan.notes.options import Option
from vmlan.notes.params import Params
from vmlan.notes.result import Fate
from vmlan.notes.shell import shown

#: -soundhw's names (QEMU before 7.1) → devices; "" is the machine's own speaker.
_CARDS: dict[str, tuple[str, ...]] = {
    "sb16": ("sb16",),
    "es1370": ("ES1370",),
    "ac97": ("AC97",),
    "adlib": ("adlib",),
    "gus": ("gus",),
    "cs4231a": ("cs4231a",),
    "hda": ("intel-hda", "hda-duplex"),
    "virtio": ("virtio-sound-pci",),
    "usb-audio": ("usb-audio",),
    "pcspk": (),
}

#: Devices that play: since QEMU 8.2 each must be told where to.
DEVICES = {"sb16", "ES1370", "AC97", "adlib", "gus", "cs4231a", "hda-duplex", "hda-micro", "hda-output"}
DEVICES |= {"usb-audio", "virtio-sound-pci", "virtio-sound"}

_SILENT = "a lab plays no sound: the card is there, and is not heard"


def backend(draft: Draft) -> list[str]:
    """The words for the machine's only audio backend, the first time that something needs it."""
    if draft.audiodev is not None:
        return []
    draft.audiodev = "snd0"
    return ["-audiodev", "none,id=snd0"]


def cards(draft: Draft, option: Option) -> None:
    """`-soundhw CARD,…` and `-audio DRIVER,model=CARD`."""
    text = option.value
    if option.name == "audio":
        params = Params(option.value, "driver")
        text = params.take("model") or ""
        if not text:
            draft.out(option, "a lab plays no sound, and it names no card")
            return
    if draft.unclear(option, text, "the sound card is left out"):
        return
    names = list(_CARDS)[:7] if text == "all" else text.split(",")
    words: list[str] = []
    for name in names:
        devices = _CARDS.get(name)
        if devices is None or not all(map(draft.has_device, devices)):
            draft.out(
                option,
                f"the installed QEMU has no sound card '{shown(name)}'",
                words=f"{option.name_of} {name}",
            )
            continue
        words += backend(draft)
        if not devices:
            words += ["-machine", f"pcspk-audiodev={draft.audiodev}"]
        for device in devices:
            words += ["-device", device + (f",audiodev={draft.audiodev}" if device in DEVICES else "")]
    if "usb-audio" in words:
        words.insert(0, "-usb")
    if words:
        draft.keep(option, *words, text=_SILENT)


def audiodev(draft: Draft, option: Option) -> None:
    """`-audiodev DRIVER,id=…`: whatever it was, it is silent; it stays where the line names it elsewhere."""
    id_ = Params(option.value, "driver").peek("id") or ""
    if any(f"audiodev={id_}" in other.value for other in draft.options):
        draft.audiodev = draft.audiodev or id_
        draft.keep(option, "-audiodev", f"none,id={id_}", text=_SILENT)
    else:
        draft.became(option, Fate.OURS, _SILENT)
