"""Pictures and text screens: drawn here with a font of our own, read back from picture and memory."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path

import pytest

from vmlan.errors import RequestError
from vmlan.observe import wait
from vmlan.plan.layout import MachineFiles
from vmlan.qemu import picture, textmode
from vmlan.qemu.picture import Picture

BLANK = (0x20, 0x07)
COLOURS = [bytes([value, value // 2, 255 - value]) for value in range(0, 256, 16)]


def glyph(char: int, height: int) -> list[int]:
    """How a character looks: nine dots a line, a pattern of its own for each but the blanks."""
    if char in (0x00, 0x20, 0xFF):
        return [0] * height
    dots = random.Random(char)
    return [dots.randrange(512) for _ in range(height)]


def draw(memory: bytes, start: int, columns: int, rows: int, height: int = 16) -> Picture:
    """What a VGA would show of its memory from `start` on."""
    pixels = bytearray()
    for row in range(rows):
        at = start + row * columns * 2
        cells = list(
            zip(memory[at : at + columns * 2 : 2], memory[at + 1 : at + columns * 2 : 2], strict=True)
        )
        for line in range(height):
            for char, colour in cells:
                dots = glyph(char, height)[line]
                for dot in range(8, -1, -1):
                    pixels += COLOURS[colour & 15 if dots >> dot & 1 else colour >> 4]
    return Picture(columns * 9, rows * height, bytes(pixels))


def memory(lines: dict[int, str], columns: int = 80, colour: int = 0x07) -> bytes:
    """Text memory with these lines, counted from its beginning, and blanks."""
    cells = bytearray(bytes(BLANK) * (textmode.LENGTH // 2))
    for number, line in lines.items():
        for column, char in enumerate(line.encode("cp437")):
            cells[(number * columns + column) * 2] = char
            cells[(number * columns + column) * 2 + 1] = colour
    return bytes(cells)


MENU = {0: "GNU GRUB  version 2.06", 2: "┌─────┐", 3: "│ one │", 4: "└─────┘", 24: "in 26s."}


def test_a_screen_is_read() -> None:
    cells = memory(MENU)
    text = textmode.read(draw(cells, 0, 80, 25), cells)
    assert text is not None and (text.columns, len(text.rows)) == (80, 25)
    assert {number: row for number, row in enumerate(text.rows) if row} == MENU


@pytest.mark.parametrize("start", [1, 7, 150])
def test_a_scrolled_screen_is_found(start: int) -> None:
    """Linux moves the start of the screen instead of the text; what was there before is still there."""
    cells = memory({number: f"line {number} of many, {number * 7}" for number in range(start + 25)})
    text = textmode.read(draw(cells, start * 160, 80, 25), cells)
    assert text is not None
    assert text.rows == tuple(f"line {number} of many, {number * 7}" for number in range(start, start + 25))


def test_one_short_line_far_down_is_no_empty_screen() -> None:
    cells = memory({100: "ok then"})
    text = textmode.read(draw(cells, 100 * 160, 80, 25), cells)
    assert text is not None and text.rows[0] == "ok then"


def test_a_cursor_does_not_matter() -> None:
    cells = memory(MENU)
    shown = draw(cells, 0, 80, 25)
    pixels = bytearray(shown.pixels)
    pixels[(14 * 720 + 9 * 40) * 3 : (14 * 720 + 9 * 41) * 3] = b"\xff" * 27
    text = textmode.read(Picture(720, 400, bytes(pixels)), cells)
    assert text is not None and text.rows[0] == MENU[0]


@pytest.mark.parametrize(
    ("columns", "rows", "height"), [(80, 50, 8), (80, 25, 14), (80, 30, 16), (40, 25, 16), (132, 25, 16)]
)
def test_other_modes(columns: int, rows: int, height: int) -> None:
    lines = {number: f"{number}: a row like no other" for number in range(rows)}
    cells = memory(lines, columns)
    text = textmode.read(draw(cells, 0, columns, rows, height), cells)
    assert text is not None and text.columns == columns
    assert text.rows == tuple(lines.values())


def test_blanks_look_alike_whatever_they_are() -> None:
    cells = bytearray(memory(MENU))
    for at in range(10 * 160, 12 * 160, 6):
        cells[at] = 0
    for at in range(10 * 160 + 1, 14 * 160, 10):
        cells[at] = 0x02  # a colour that nothing is drawn in
    text = textmode.read(draw(bytes(cells), 0, 80, 25), bytes(cells))
    assert text is not None and text.rows[10] == "" and text.rows[0] == MENU[0]


def test_an_empty_screen_is_text_without_words() -> None:
    cells = memory({})
    text = textmode.read(draw(cells, 0, 80, 25), cells)
    assert text is not None and set(text.rows) == {""}


def test_a_picture_of_a_text_screens_size_is_not_taken_for_one() -> None:
    noise = Picture(720, 400, random.Random(1).randbytes(720 * 400 * 3))
    assert textmode.read(noise, memory(MENU)) is None


def test_memory_that_is_not_on_the_screen_is_not_read() -> None:
    shown = draw(memory(MENU), 0, 80, 25)
    others = memory({number: f"something else, {number}" for number in range(25)})
    assert textmode.read(shown, others) is None


@pytest.mark.parametrize("size", [(640, 480), (800, 600), (1024, 768), (1280, 800), (640, 400), (0, 0)])
def test_graphics_modes_have_no_grid(size: tuple[int, int]) -> None:
    assert list(textmode.grids(*size)) == []


def test_what_code_page_437_shows() -> None:
    cells = bytearray(memory({}))
    cells[0:8] = bytes([0x18, 7, 0x19, 7, 0x01, 7, 0x7F, 7])
    text = textmode.read(draw(bytes(cells), 0, 80, 25), bytes(cells))
    assert text is not None and text.rows[0] == "↑↓☺⌂"


def test_words_are_looked_for_in_the_whole_memory() -> None:
    cells = memory({3: "here", 190: "and far below: ┌"})
    assert textmode.mentions(cells, "here") and textmode.mentions(cells, "far below: ┌")
    assert not textmode.mentions(cells, "nowhere")


def ppm(width: int, height: int, pixels: bytes) -> bytes:
    return f"P6\n{width} {height}\n255\n".encode() + pixels


def test_a_ppm_is_read() -> None:
    pixels = bytes(range(18))
    assert picture.from_ppm(ppm(3, 2, pixels)) == Picture(3, 2, pixels)
    # A pixel may be a white space or a digit: the header ends after one white space.
    assert picture.from_ppm(ppm(1, 1, b"\n1 ")) == Picture(1, 1, b"\n1 ")


@pytest.mark.parametrize("data", [b"", b"P5\n1 1\n255\nx", ppm(3, 2, b"short"), ppm(1, 1, b"long!")])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert picture.from_ppm(data) is None


def test_a_png_has_its_parts() -> None:
    """Read by hand here; in tests/real it is compared with what QEMU's libpng writes."""
    pixels = bytes(range(18))
    data = picture.to_png(Picture(3, 2, pixels))
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    at, chunks = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + length
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    assert chunks[b"IHDR"] == struct.pack(">IIBBBBB", 3, 2, 8, 2, 0, 0, 0)
    assert zlib.decompress(chunks[b"IDAT"]) == b"\0" + pixels[:9] + b"\0" + pixels[9:]


def test_words_on_a_serial_console(tmp_path: Path) -> None:
    files = MachineFiles(tmp_path, tmp_path)
    assert wait.serial_line(files, "login:") is None
    dialog = "\x1b[4;3H\x1b(0lqqq\x1b(B\x1b[31m[!!] Select a \x1b[1mlanguage\x1b(0qqk\x1b[5;3Hx\x1b(B English"
    files.serial_log.write_text(f"\x1b[0;32mvm1\x1b[0m login: \r\n{dialog}")
    assert wait.serial_line(files, "login:") == "vm1 login:"
    assert wait.serial_line(files, "Select a language") == "lqqq[!!] Select a languageqqk"
    assert wait.serial_line(files, "English") == "x English"
    assert wait.serial_line(files, "never") is None


def test_waiting_for_a_screen() -> None:
    assert wait.parse("screen:GNU GRUB") == wait.Condition("screen", "GNU GRUB")
    assert wait.parse("screen:a:b").value == "a:b"
    with pytest.raises(RequestError):
        wait.parse("screen:")
