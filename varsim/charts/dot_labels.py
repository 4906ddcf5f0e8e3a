"""Place the labels of dots in a chart, so that they do not cover dots or other labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_LETTER, _LINE = 7.0, 12.0  # size of a letter, in pixels
_RADIUS: Final = 5.0  # of a dot


class Side(NamedTuple):
    """Where a label is in relation to its dot, in pixels, as a mark `text` of Vega-Lite has it."""

    dx: float
    dy: float
    align: str


SIDES: Final = {
    "right": Side(8, 0, "left"),
    "left": Side(-8, 0, "right"),
    "above": Side(0, -13, "center"),
    "below": Side(0, 13, "center"),
}
"""The possible sides of a dot, the best one first."""


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def covers(self, other: _Box) -> bool:
        beside = self.right <= other.left or other.right <= self.left
        return not (beside or self.bottom <= other.top or other.bottom <= self.top)

    def within(self, other: _Box) -> bool:
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom


def sides_of(dots: Sequence[tuple[float, float, str]], width: float, height: float) -> list[str]:
    """Return the side of each dot's label; "" for a label that would cover another one, or leave.

    A label beyond the chart would cover the numbers of an axis.

    Args:
        dots: Where the dot is, in pixels from the left and from the top, and the label.
        width: The size of the chart in pixels; `height` likewise.
    """
    taken = [_Box(x - _RADIUS, y - _RADIUS, x + _RADIUS, y + _RADIUS) for x, y, _ in dots]
    chart = _Box(0, 0, width, height)
    found = []
    for x, y, label in dots:
        side = ""
        for name, one in SIDES.items() if label else ():
            box = _box(x + one.dx, y + one.dy, one.align, len(label) * _LETTER)
            if box.within(chart) and not any(map(box.covers, taken)):
                side = name
                taken.append(box)
                break
        found.append(side)
    return found


def _box(x: float, y: float, align: str, width: float) -> _Box:
    left = {"left": x, "right": x - width, "center": x - width / 2}[align]
    return _Box(left, y - _LINE / 2, left + width, y + _LINE / 2)
