"""A picture of bars, as SVG: panels below each other, each with a scale of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

#: Pixels: the whole width; where bars begin, and how long the longest is; a bar and a panel's heading.
_WIDTH, _LEFT, _LONGEST = 860, 250, 500
_BAR, _GAP, _HEAD = 18, 6, 40

_OURS, _OTHERS, _RANGE, _INK = "#2f6fab", "#b4b4b4", "#333333", "#222222"


@dataclass(frozen=True)
class Bar:
    """A median, with the least and the most; `ours`: it is vmlan's."""

    label: str
    value: float
    least: float
    most: float
    said: str
    ours: bool = False


@dataclass(frozen=True)
class Panel:
    title: str
    bars: Sequence[Bar]


def svg(panels: Sequence[Panel]) -> str:
    """The picture. It has a background of its own, so that it can be read on a dark page too."""
    body, y = [], 10
    for panel in panels:
        body += _panel(panel, y)
        y += _height(panel)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}" height="{y}" '
        'font-family="sans-serif" font-size="13">\n'
        f'<rect width="{_WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(body) + "\n</svg>\n"
    )


def _height(panel: Panel) -> int:
    return _HEAD + len(panel.bars) * (_BAR + _GAP) + 14


def _panel(panel: Panel, top: int) -> list[str]:
    scale = _LONGEST / max(bar.most for bar in panel.bars)
    lines = [_text(16, top + 22, panel.title, weight="bold")]
    for n, bar in enumerate(panel.bars):
        lines += _bar(bar, top + _HEAD + n * (_BAR + _GAP), scale)
    return lines


def _bar(bar: Bar, y: int, scale: float) -> list[str]:
    middle, base = y + _BAR / 2, y + _BAR - 5
    length, least, most = (scale * value for value in (bar.value, bar.least, bar.most))
    colour = _OURS if bar.ours else _OTHERS
    return [
        _text(_LEFT - 8, base, bar.label, anchor="end"),
        f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>',
        f'<path d="M{_LEFT + least:.1f} {middle:g}H{_LEFT + most:.1f}" '
        f'stroke="{_RANGE}" stroke-width="1.5"/>',
        _text(_LEFT + max(length, most) + 8, base, bar.said),
    ]


def _text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:g}" fill="{_INK}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{escape(words)}</text>"
    )
