"""Format numbers, sizes and names for reports."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from varsim.report.json_values import plain
from varsim.report.summary import Plain
from varsim.visible import on_one_line as on_one_line  # noqa: PLC0414
from varsim.visible import visible as visible  # noqa: PLC0414  # reports import it from here

NOTHING: Final = "–"
SAME_WARNING: Final = ": same warning as for "  # between the names of two variables
_LONGEST_INTEGER: Final = 10  # digits; a longer integer is shown as a float
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""The first characters of a formula; see https://owasp.org/www-community/attacks/CSV_Injection"""

_WORDS: Final = re.compile(r"([ \n\r\f\v]*)([^ \n\r\f\v]+)")  # a hard blank is part of a word
_TEXT_WIDTH: Final = 24
_CHARACTERS: Final = (3_000, 1_000)
_LINES: Final = (60, 20)
"""The largest numbers of characters and of lines at the beginning and end of an error's text."""


def number(value: Plain) -> str:
    """Return a number with four significant digits, or with three digits and an exponent.

    Integers of up to ten digits are shown in full; NaN and infinities are written as in JSON.
    """
    match value:
        case float() if not math.isfinite(value):
            return str(plain(value))
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


def precise(value: float) -> str:
    """Return a number with six significant digits, to show a difference that is not rounding."""
    return f"{value:.6g}" if math.isfinite(value) else str(plain(value))


def count(value: int) -> str:
    """Return a count with thousands separators."""
    return f"{value:,}"


def size(value_bytes: int) -> str:
    """Return a number of bytes with three significant digits and a unit."""
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
    """Return a configured size exactly, in the largest unit that does not exceed it."""
    for unit, unit_bytes in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if value_bytes >= unit_bytes:
            return f"{value_bytes / unit_bytes:g} {unit}"
    return f"{value_bytes} B"


def duration(value_s: float) -> str:
    """Return a time with three significant digits and its unit."""
    for unit, unit_s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        value = value_s / unit_s
        if value >= 0.9995:  # rounds to 1
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:#.3g} {unit}"
    return f"{value_s * 1e9:.0f} ns"


def seconds(value_s: float) -> str:
    """Return a time in seconds, without the unit."""
    return "0" if value_s == 0 else f"{value_s:.2f}" if value_s < 100 else f"{value_s:,.0f}"


def csv_text(text: str) -> str:
    """Return a text for a cell of CSV, which a spreadsheet must not take for a formula.

    Such a text gets an apostrophe; a number stays as it is.
    """
    if not text.startswith(_FORMULA):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


_MARKDOWN: Final = re.compile(r"[\\`*>#|~]|\](?=[(\[])|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)")
"""The characters that Markdown gives a meaning at their place, such as `<` before a letter."""


def as_markdown_text(text: str) -> str:
    """Return a text in which a backslash makes literal what Markdown would give a meaning."""
    return _MARKDOWN.sub(r"\\\g<0>", text)


def middle(text: str, width: int) -> str:
    """Return the text on one line, shortened in the middle to at most `width` columns.

    The beginning and the end stay, because long names often differ there.
    """
    text = on_one_line(text)
    if columns(text) <= width:
        return text
    left = (width - 1) // 2
    return f"{begin_of(text, left)}…{end_of(text, width - 1 - left)}"


def columns(text: str) -> int:
    """Return the number of columns of a text in a terminal: letters of Chinese have two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def begin_of(text: str, width: int) -> str:
    """Return as much of the beginning of a text as fits into `width` columns."""
    if columns(text) <= width:
        return text
    size = min(len(text), max(0, width))
    while columns(text[:size]) > width:
        size -= 1
    return text[:size]


def end_of(text: str, width: int) -> str:
    """Return as much of the end of a text as fits into `width` columns."""
    if columns(text) <= width:
        return text
    begin = max(0, len(text) - max(0, width))
    while columns(text[begin:]) > width:
        begin += 1
    return text[begin:]


def padded(text: str, width: int) -> str:
    """Return a text with spaces after it, so that it has at least `width` columns."""
    return text + " " * (width - columns(text))


def bounded(text: str, whole: str) -> str:
    """Return the text of an error, without the middle of a very long text.

    Args:
        whole: Where the whole text is.
    """
    if len(text) <= sum(_CHARACTERS) and text.count("\n") < sum(_LINES):
        return text
    first = "".join(text[: _CHARACTERS[0]].splitlines(keepends=True)[: _LINES[0]])
    last = "".join(text[-_CHARACTERS[1] :].splitlines(keepends=True)[-_LINES[1] :])
    left_out = len(text) - len(first) - len(last)
    said = f"… {left_out:,} of {len(text):,} characters are left out: {whole} has the whole text …"
    return f"{first.rstrip()}\n{said}\n{last}"


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """Break a text into lines between words. A word that is too wide gets a separate line.

    Args:
        indent: The text before each continuation line, after the indentation of the first line.
    """
    lines = []
    for line in text.splitlines():
        begin = line[: len(line) - len(line.lstrip())]
        lines += filled(line, width, begin, begin + indent) or [""]
    return lines


def filled(
    text: str, width: int, first: str = "", rest: str = "", *, break_words: bool = False
) -> list[str]:
    """Break a text between words into lines of at most `width` columns; [] for a blank text.

    `textwrap` counts characters, and wide letters have two columns each.

    Args:
        first: The text before the first line.
        rest: The text before each further line.
        break_words: Whether to break words that are wider than a line. If false, such a word gets
            a separate line.
    """
    lines: list[str] = []
    line, used, begins = first, columns(first), True
    for blank, whole in _WORDS.findall(text.expandtabs()):
        gap, word = "" if begins else " " * len(blank), whole
        while word and used + len(gap) + columns(word) > width:
            left = width - used - len(gap)
            if break_words and left > 0 and columns(word) > width - columns(rest):
                part = begin_of(word, left) or word[: begins and 1]
                line, word = f"{line}{gap}{part}", word[len(part) :]
            elif begins:
                break
            lines.append(line)
            line, used, gap, begins = rest, columns(rest), "", True
        if word:
            line, used, begins = f"{line}{gap}{word}", used + len(gap) + columns(word), False
    return lines if begins else [*lines, line]


def reflowed(docstring: str, width: int) -> list[str]:
    """Break a docstring into lines: paragraphs are filled, indented lines are kept."""
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
    """Return a shape in brackets; `?` stands for an unknown dimension."""
    return "[" + ", ".join("?" if one is None else str(one) for one in shape) + "]"


def names(words: Sequence[str], most: int = 3) -> str:
    """Join words for a sentence, on one line: "a, b and c", or "a, b and 5 more"."""
    unique = list(dict.fromkeys(map(on_one_line, words)))
    if len(unique) > most:
        unique = [*unique[: most - 1], f"{len(unique) - most + 1} more"]
    return " and ".join(filter(None, [", ".join(unique[:-1]), unique[-1]]))


def flat_rows(prefix: str, values: Mapping[str, Plain]) -> list[tuple[str, Plain]]:
    """Return the values in nested dicts, each with its path as `a.b`, after a prefix."""
    rows: list[tuple[str, Plain]] = []
    for name, value in values.items():
        if isinstance(value, dict):
            rows += flat_rows(f"{prefix}{name}.", value)
        else:
            rows.append((on_one_line(f"{prefix}{name}"), value))
    return rows


def ranges(numbers: Sequence[int]) -> list[str]:
    """Return ascending numbers in short: three and more consecutive ones become a range, "1–4"."""
    runs: list[list[int]] = []
    for one in numbers:
        if runs and one == runs[-1][-1] + 1:
            runs[-1].append(one)
        else:
            runs.append([one])
    return [
        text
        for run in runs
        for text in ([f"{run[0]}–{run[-1]}"] if len(run) > 2 else map(str, run))
    ]


def is_scalar(value: Any) -> bool:
    """Return whether a value fits into one cell."""
    return not isinstance(value, list | dict)
