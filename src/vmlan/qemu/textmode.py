"""What a VGA text screen says: from its picture and its memory together. Pure.

The memory at 0xB8000 has a character and a colour for each cell (IBM VGA, text modes), but not where
on it the screen begins: Linux scrolls by moving that start, which is kept in a register that nobody
can read without writing to the card. The picture shows what is on the screen, but not as characters.
So the memory is laid against the picture: at the right place, cells that hold the same look the
same, and cells that look the same hold the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from vmlan.qemu.picture import Picture

#: Where the memory of colour text modes is in the guest, and how much there is of it.
ADDRESS, LENGTH = 0xB8000, 0x8000

#: A cell of a text mode is nine dots wide (QEMU, hw/display/vga.c), and as high as the guest's font.
#: (Eight dots are possible, and hardly used; their sizes are those of graphics modes.)
_WIDTH, _HEIGHTS = 9, (16, 14, 8)

#: How many columns text modes have. Without these, many a picture could be one.
_COLUMNS = (80, 40, 132)

#: Which part of what is drawn may disagree, and how many cells may in any case: a blinking cursor or a
#: clock can change between the two looks. (Measured: at the right place 3 in 100 at most,
#: elsewhere 9 in 10.)
_PART, _CELLS = 0.1, 2

#: What the first 32 characters look like (IBM's code page 437); a guest's terminal never gets them.
_LOW = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
_TABLE = _LOW + bytes(range(32, 256)).decode("cp437").replace("\x7f", "⌂").replace("\xa0", " ")

_BLANKS = frozenset((0x00, 0x20, 0xFF))


@dataclass(frozen=True)
class Grid:
    """A way to cut a picture into cells."""

    columns: int
    rows: int
    height: int  #: of a cell, in dots


@dataclass(frozen=True)
class Text:
    """A text screen: its rows from the top, without the blanks on their right."""

    columns: int
    rows: tuple[str, ...]


def grids(width: int, height: int) -> Iterator[Grid]:
    """The text modes that have a picture of this size; none if it can only be graphics."""
    columns = width // _WIDTH
    for lines in _HEIGHTS:
        if columns * _WIDTH == width and columns in _COLUMNS and height % lines == 0:
            yield Grid(columns, height // lines, lines)


def mentions(memory: bytes, text: str) -> bool:
    """Whether these words are anywhere in the memory: if not, they are not on the screen."""
    return text in "".join(_TABLE[char] for char in memory[::2])


def read(picture: Picture, memory: bytes) -> Text | None:
    """What the screen says; None if it is not in a text mode, or changed between the two looks."""
    least, found = 1.0, None
    for grid in grids(picture.width, picture.height):
        looks = _looks(picture, grid)
        size = grid.columns * grid.rows * 2
        for start in range(0, len(memory) - size + 1, grid.columns * 2):
            cells = memory[start : start + size]
            disagreement = _disagreement(cells, looks)
            if disagreement < least:
                least, found = disagreement, _text(cells, grid.columns)
            if disagreement == 0:
                return found
    return found


def _looks(picture: Picture, grid: Grid) -> list[int]:
    """For each cell, a number that stands for how it looks."""
    row = picture.width * 3
    numbers: dict[bytes, int] = {}
    looks = []
    for top in range(grid.rows):
        at = top * grid.height * row
        lines = [picture.pixels[at + line * row : at + (line + 1) * row] for line in range(grid.height)]
        for left in range(0, row, _WIDTH * 3):
            look = b"".join([line[left : left + _WIDTH * 3] for line in lines])
            looks.append(numbers.setdefault(look, len(numbers)))
    return looks


def _disagreement(cells: bytes, looks: list[int]) -> float:
    """How much speaks against these being the cells that look so; from 1 on, they are not.

    A cell agrees if it looks as most cells that hold the same do, and holds what most that look so do.
    """
    # What does not show makes no difference: a blank's character, and the colour it would be drawn in.
    holds = [
        (0x20, colour & 0xF0) if char in _BLANKS else (char, colour)
        for char, colour in zip(cells[::2], cells[1::2], strict=True)
    ]
    pairs = Counter(zip(holds, looks, strict=True)).most_common()
    look_of: dict[tuple[int, int], int] = {}
    hold_of: dict[int, tuple[int, int]] = {}
    for (hold, look), _ in pairs:
        look_of.setdefault(hold, look)
        hold_of.setdefault(look, hold)
    disagree = sum(n for (hold, look), n in pairs if look_of[hold] != look or hold_of[look] != hold)
    drawn = len(looks) - pairs[0][1]  # all but the background
    return disagree / max(drawn * _PART, _CELLS + 1)


def _text(cells: bytes, columns: int) -> Text:
    chars = "".join(_TABLE[char] for char in cells[::2])
    rows = (chars[at : at + columns].rstrip() for at in range(0, len(chars), columns))
    return Text(columns, tuple(rows))
