"""The axes of numbers: linear, or logarithmic if a linear one would hide most values."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

from varsim.charts.chart import Spec, in_expression, in_title

_LOG, _SYMLOG = "log", "symlog"
_NOT_LINEAR: Final = {_LOG: " (log scale)", _SYMLOG: " (symlog scale)"}
_SHORT: Final = ".6~g"
"""A format of D3 for large and small numbers, such as 5e+12."""

_LARGE, _SMALL = 1e7, 1e-4  # numbers from here on, or below, are short only with an exponent
_HIDDEN: Final = 100  # values below this part of the largest one are not told apart
_WIDE: Final = 1000  # the largest number of a logarithmic axis for the smallest one, or more


class NumberAxis(NamedTuple):
    """An axis of a chart for certain values."""

    axis: Spec  # its ticks, and the format of their numbers
    scale: Spec

    def places(self, values: Sequence[float], size: float, padding: float = 0) -> list[float]:
        """Return where values are on this axis, in pixels from its beginning.

        Args:
            values: All values of the axis.
            size: The length of the axis in pixels.
            padding: The distance of the first and of the last value from the ends.
        """
        transform = self._transform()
        known = [transform(one) for one in values]
        least, most = min(known), max(known)
        if least == most:
            return [size / 2 for _ in known]
        room = size - 2 * padding
        return [padding + (one - least) / (most - least) * room for one in known]

    def _transform(self) -> Callable[[float], float]:
        match self.scale.get("type"):
            case "log":
                return math.log
            case "symlog":
                constant = self.scale["constant"]
                return lambda one: math.copysign(math.log1p(abs(one) / constant), one)
        return float


def number_axis(values: Iterable[float | None]) -> NumberAxis:
    """Return a linear axis, or one that shows small values beside large ones.

    The axis is logarithmic if more than half of the values would otherwise be at one place, because
    they are less than a hundredth of the largest one, as after a training has diverged. If values
    are zero or negative, too, it is linear around zero.
    """
    known = [one for one in values if one is not None and math.isfinite(one)]
    sizes = [abs(one) for one in known if one]
    largest, smallest = max(sizes, default=0.0), min(sizes, default=0.0)
    hidden = sum(abs(one) <= largest / _HIDDEN for one in known)
    if not sizes or largest < _WIDE * smallest or 2 * hidden <= len(known):
        short = sizes and (largest >= _LARGE or largest < _SMALL)
        return NumberAxis({"format": _SHORT} if short else {}, scale_of(known))
    axis: Spec = {"format": _SHORT}
    if min(known) > 0:
        return NumberAxis(
            {**axis, "values": log_ticks(smallest, largest)}, scale_of(known, log=True)
        )
    scale = {"type": _SYMLOG, "constant": smallest, "zero": False, "nice": False}
    ticks = log_ticks(smallest, largest)
    every = [*(-one for one in ticks[::-1]), 0, *ticks]
    shown = [one for one in every if min(known) <= one <= max(known)]
    return NumberAxis({**axis, "values": shown}, scale)


def numbers_along(field: str, title: str, *, axis: Spec, scale: Spec) -> Spec:
    """Return a channel of numbers, with an axis. The title says if the axis is not linear.

    Args:
        field: The numbers in the data.
        title: The title of the axis, with its unit.
        axis: The other properties of the axis.
        scale: The scale.
    """
    return {
        "field": field,
        "type": "quantitative",
        "title": in_expression(title),
        "axis": {**axis, "title": in_title(f"{title}{_NOT_LINEAR.get(scale.get('type', ''), '')}")},
        "scale": scale,
    }


def scale_of(values: Iterable[float | None], *, log: bool = False) -> dict[str, Any]:
    """Return a scale that need not begin at 0, with ticks also if values are equal or missing.

    Args:
        log: Whether the scale is logarithmic; then all values must be positive.
    """
    scale: dict[str, Any] = {"type": "log", "nice": False} if log else {"zero": False}
    known = {value for value in values if value is not None and math.isfinite(value)}
    if not known:
        return scale | {"domain": [0, 1]}  # a scale without numbers is a warning of Vega
    if len(known) == 1:
        (value,) = known
        domain = [value - (abs(value) / 10 or 1), value + (abs(value) / 10 or 1)]
        scale |= {"domain": domain, "nice": False}
    return scale


_MOST_TICKS: Final = 8
_FEWEST_TICKS: Final = 3


def log_ticks(low: float, high: float) -> list[float]:
    """Return 3 to 8 round numbers for the ticks of a logarithmic axis, each of which has a label.

    Without them, Vega leaves out the labels of most ticks, also at an end of the axis.

    Args:
        low: The positive number at the beginning of the axis.
        high: The number at its end.
    """
    exponents = range(_exponent(low), _exponent(high) + 1)
    ticks: list[float] = []
    for digits in (range(1, 10), (1, 2, 5), (1, 3), (1,)):
        every = [float(f"{one}e{exponent}") for exponent in exponents for one in digits]
        ticks = [one for one in every if low <= one <= high]
        if _FEWEST_TICKS <= len(ticks) <= _MOST_TICKS:
            return ticks
    if len(ticks) > _MOST_TICKS:
        return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]
    return _even_ticks(low, high)


def _even_ticks(low: float, high: float) -> list[float]:
    """Return round numbers at equal distances."""
    power = float(f"1e{_exponent((high - low) / _FEWEST_TICKS)}")
    step = max(one * power for one in (1, 2, 5) if one * power * _FEWEST_TICKS <= high - low)
    return [one * step for one in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _exponent(value: float) -> int:
    return math.floor(math.log10(value))
