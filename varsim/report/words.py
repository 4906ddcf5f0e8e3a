"""Numbers, sizes and names as a report shows them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, Final

from varsim.report.summary import Plain
from varsim.visible import visible as visible  # noqa: PLC0414  # a word of reports, too

NOTHING: Final = "–"
LIKEWISE: Final = ": likewise"  # behind a name: it has what was said of another one
_LONGEST_INTEGER: Final = 10  # digits; a longer one is shown as a float is
_TEXT_WIDTH: Final = 24


def number(value: Plain) -> str:
    """A number with four significant digits, or three and an exponent; short integers whole."""
    match value:
        case None:
            return NOTHING
        case bool():
            return str(value)
        case int() if abs(value) < 10**_LONGEST_INTEGER:
            return str(value)
        case int() | float():
            text = f"{value:.4g}"
            return f"{value:.3g}" if "e" in text else text
        case list():
            return "[" + " ".join(map(number, value)) + "]"
    return middle(str(value), _TEXT_WIDTH)


def count(value: int) -> str:
    """A count, with commas."""
    return f"{value:,}"


def size(value_bytes: int) -> str:
    """A number of bytes, in the unit that makes it short."""
    value = float(value_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1000 or unit == "GiB":
            break
        value /= 1024
    if unit == "B":
        return f"{value:.0f} B"
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f} {unit}"


def whole_size(value_bytes: int) -> str:
    """A size that somebody chose, in the largest unit that it is not smaller than."""
    for unit, unit_bytes in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value_bytes >= unit_bytes:
            return f"{value_bytes / unit_bytes:g} {unit}"
    return f"{value_bytes} B"


def duration(value_s: float) -> str:
    """A time with three significant digits, and its unit."""
    for unit, unit_s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        value = value_s / unit_s
        if value >= 0.9995:  # which is shown as 1
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:#.3g} {unit}"
    return f"{value_s * 1e9:.0f} ns"


def seconds(value_s: float) -> str:
    """A time, without its unit."""
    return "0" if value_s == 0 else f"{value_s:.2f}" if value_s < 100 else f"{value_s:,.0f}"


def middle(text: str, width: int) -> str:
    """The text in one line, cut in its middle if it is wider: the ends of long names differ."""
    text = visible(text).replace("\n", r"\n").replace("\t", r"\t")
    if len(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{text[:left]}…{text[len(text) - (width - 1 - left) :]}"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The lines of a text, broken between words; a word that is wider than a line has its own.

    Args:
        indent: Before what is broken off a line, beside the blanks that the line begins with.
    """
    lines = []
    for line in text.splitlines():
        begin = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.lstrip(),
            width,
            initial_indent=begin,
            subsequent_indent=begin + indent,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [""]
    return lines


def reflowed(docstring: str, width: int) -> list[str]:
    """The lines of a docstring: its paragraphs are filled, and lines that are indented stay."""
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*docstring.strip().splitlines(), ""]:
        if line and not line[0].isspace():
            paragraph.append(line)
            continue
        lines += wrapped(" ".join(paragraph), width)
        paragraph = []
        lines += wrapped(line, width, indent="  ") or [""]
    return lines[:-1]


def dimensions(shape: Sequence[int | None]) -> str:
    """A shape as it is written."""
    return "[" + ", ".join("?" if one is None else str(one) for one in shape) + "]"


def names(words: Sequence[str], most: int = 3) -> str:
    """The words in a sentence: "a, b and c", or "a, b and 5 more"."""
    unique = list(dict.fromkeys(words))
    if len(unique) > most:
        unique = [*unique[: most - 1], f"{len(unique) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(unique[:-1]), unique[-1]]))


def is_scalar(value: Any) -> bool:
    """Whether a value fits into one cell."""
    return not isinstance(value, list | dict)
