"""Group similar variables and findings, name such groups, and shorten names."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from itertools import takewhile
from typing import Final, TypeVar

from varsim.report.formatting import (
    begin_of,
    columns,
    count,
    end_of,
    middle,
    on_one_line,
)

CUT: Final = "…"
_MOST_NAMES: Final = 3  # names that are listed; more names are shown as a pattern
_LEAST_PATTERN: Final = 8  # columns of a pattern, without the number of variables
_LEAST_ENDING: Final = 3  # letters of a common ending; shorter endings may be equal by chance
_COUNTED: Final = re.compile(r"(.+) \(([\d,]+) variables\)", re.DOTALL)
_NUMBER: Final = re.compile(r"\d[\d,.]*")

T = TypeVar("T")


def grouped(items: Iterable[T], key: Callable[[T], Hashable]) -> list[list[T]]:
    """Group items by key, in the order in which each key first occurs."""
    groups: dict[Hashable, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def without_numbers(text: str, name: str) -> str:
    """Return a text about a variable without its name and numbers, to compare such texts."""
    return _NUMBER.sub("#", text.replace(name, "*") if name else text)


def name_of(names: Sequence[str]) -> str:
    """Return one name for several variables: `layer_*/kernel (64 variables)`, or a short list.

    It is on one line, whatever the names are.
    """
    unique = list(dict.fromkeys(map(on_one_line, names)))
    if len(names) == 1:
        return unique[0]
    if len(unique) == 1:
        return f"{unique[0]} ({count(len(names))} variables)"
    pattern = pattern_of(unique)
    says_something = sum(map(str.isalnum, pattern)) >= (
        _LEAST_ENDING if pattern.startswith("*") else 1
    )
    if len(unique) == len(names) <= _MOST_NAMES and not says_something:
        return " and ".join([", ".join(unique[:-1]), unique[-1]])
    if not says_something:
        pattern = f"{unique[0]}, {unique[1]}, {CUT}"
    return f"{pattern} ({count(len(names))} variables)"


def pattern_of(names: Sequence[str]) -> str:
    """Return the common pattern of names, part by part. `*` stands for a difference in a part.

    If names have different numbers of parts, `…` stands for the parts in the middle.
    """
    parts = [name.split("/") for name in names]
    fewest = min(map(len, parts))
    if all(len(one) == fewest for one in parts):
        return "/".join(_pattern(list(column)) for column in zip(*parts, strict=True))
    head = [column[0] for column in takewhile(_same, zip(*parts, strict=False))]
    backwards = zip(*(one[::-1] for one in parts), strict=False)
    tail = [column[0] for column in takewhile(_same, backwards)]
    tail = tail[: fewest - len(head)][::-1]
    return "/".join([*head, CUT, *tail])


def _same(column: Sequence[str]) -> bool:
    return len(set(column)) == 1


def _pattern(words: Sequence[str]) -> str:
    """Return the common prefix and suffix around `*`, without the digits next to the `*`."""
    if _same(words):
        return words[0]
    head = _begin(words)
    tail = _begin([word[len(head) :][::-1] for word in words])[::-1]
    return f"{head.rstrip('0123456789')}*{tail.lstrip('0123456789')}"


def _begin(words: Sequence[str]) -> str:
    """Return the longest common beginning of words."""
    first, last = min(words), max(words)
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, last, strict=False))
    return "".join(letter for letter, _ in same)


# ---------------------------------------------------------------- short names


def short_names(names: Sequence[str], width: int) -> list[str]:
    """Shorten names in the middle to at most `width` columns, so that no two are the same.

    If several variables have the same name, all but the first get a number.
    """
    whole = [on_one_line(name) for name in names]
    seen: dict[str, int] = {}
    numbers = []
    for name in whole:
        seen[name] = seen.get(name, 0) + 1
        numbers.append("" if seen[name] == 1 else f" #{seen[name]}")
    room = {name: width - (len(f" #{most}") if most > 1 else 0) for name, most in seen.items()}
    cut = {name: short(name, room[name]) for name in seen}
    for alike in grouped(cut, cut.__getitem__):
        if len(alike) > 1:
            cut |= zip(alike, _apart(alike, min(room[name] for name in alike)), strict=True)
    if len(set(cut.values())) < len(cut):  # as a last resort, add a number
        cut = {
            name: f"{middle(name, max(1, room[name] - 1 - len(str(number))))}~{number}"
            for number, name in enumerate(cut, 1)
        }
    return [cut[name] + number for name, number in zip(whole, numbers, strict=True)]


def short(name: str, width: int) -> str:
    """Shorten a name to at most `width` columns, with whole parts if they fit: `a/…/kernel`."""
    name = on_one_line(name)
    if columns(name) <= width:
        return name
    counted = _COUNTED.fullmatch(name)
    if counted is not None:
        pattern, number = counted.groups()
        for said in (f" ({number} variables)", f" ×{number}"):
            if width - len(said) >= min(_LEAST_PATTERN, len(pattern)):
                return short(pattern, width - len(said)) + said
    parts = name.split("/")
    for heads in (range(1, len(parts)), (0,)):  # without the first part if it does not fit
        best = ""
        for head in heads:
            for tail in range(1, len(parts) - head):
                candidate = "/".join([*parts[:head], CUT, *parts[len(parts) - tail :]])
                if columns(best) < columns(candidate) <= width:
                    best = candidate
        if columns(best) * 2 > width:
            return best
    return middle(name, width)  # more informative than the few whole parts that fit


def _apart(names: Sequence[str], width: int) -> list[str]:
    """Shorten names with the same beginning and end, but keep the part in which they differ."""
    begin = _begin(names)
    end = _begin([name[len(begin) :][::-1] for name in names])[::-1]
    differs = [name[len(begin) : len(name) - len(end)] for name in names]
    head, tail = columns(begin), columns(end)
    room = width - max(map(columns, differs)) - 2 * len(CUT)
    if room < 0:
        return [middle(name, width) for name in differs]
    after = tail if tail <= room + len(CUT) else room // 2  # the last part is the most important
    before = min(head, room - after + (len(CUT) if after == tail else 0))
    return [
        f"{CUT if before < head else ''}{end_of(begin, before)}{name}{begin_of(end, after)}"
        f"{CUT if after < tail else ''}"
        for name in differs
    ]
