"""Findings for people: what happened, where, how often, and what to do; 80 columns are enough."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from varsim.analysis.finding import Finding
from varsim.report.words import count, middle

WIDTH: Final = 80
_INDENT: Final = 2
_LABEL_WIDTH: Final = 10
_MOST_BARS: Final = 8
_BAR_WIDTH: Final = 24


def findings_text(findings: Sequence[Finding]) -> list[str]:
    """The lines of a report on findings, at most 80 columns wide; none without findings."""
    if not findings:
        return []
    lines = [f"{count(len(findings))} finding{'' if len(findings) == 1 else 's'}"]
    for finding in findings:
        lines += ["", *_finding(finding)]
    return lines


def in_a_line(finding: Finding) -> str:
    """What was found, of which variable, and where."""
    place = f", {finding.places[0][0]}" if finding.places else ""
    return f"{_title(finding)}{place}"


def _title(finding: Finding) -> str:
    kind = finding.kind.value
    return f"{kind}: {finding.variable}" if finding.variable else kind


def _finding(finding: Finding) -> Iterator[str]:
    yield middle(_title(finding), WIDTH)
    yield from _labelled("what", finding.what)
    yield from _labelled("how often", f"{count(finding.count)}×")
    for number, (place, times) in enumerate(finding.places):
        label = "" if number else "where"
        often = f"  {count(times)}×" if len(finding.places) > 1 else ""
        room = WIDTH - _INDENT - _LABEL_WIDTH - len(often)
        yield f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}{_end_of(place, room)}{often}"
    if finding.histogram:
        yield from _histogram(finding.histogram)
    yield from _labelled("what to do", finding.remedy)
    if finding.events:
        yield from _labelled("events", ", ".join(map(str, finding.events)))


def _labelled(label: str, text: str) -> list[str]:
    """Lines of text beside a label, or below one that is too wide."""
    indent = " " * (_INDENT + _LABEL_WIDTH)
    first = f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}"
    if len(label) >= _LABEL_WIDTH:
        return [first.rstrip(), *wrap(text, WIDTH, initial_indent=indent, subsequent_indent=indent)]
    return wrap(text, WIDTH, initial_indent=first, subsequent_indent=indent)


def _end_of(place: str, width: int) -> str:
    """A place, cut at its beginning if it is too wide: the file and the line are at its end."""
    return place if len(place) <= width else f"…{place[len(place) - width + 1 :]}"


def _histogram(histogram: Sequence[tuple[int, int]]) -> Iterator[str]:
    """How old what was read was: a bar for each staleness, or for ranges of it."""
    bars = _ranges(histogram)
    most = max(reads for _, reads in bars)
    widest = max(len(label) for label, _ in bars)
    for number, (label, reads) in enumerate(bars):
        bar = "█" * max(1, round(reads / most * _BAR_WIDTH)) if reads else ""
        name = "" if number else "staleness"
        said = f"{label:>{widest}}  {bar:{_BAR_WIDTH}}  {count(reads)}"
        yield f"{'':{_INDENT}}{name:{_LABEL_WIDTH}}{said}"


def _ranges(histogram: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    if len(histogram) <= _MOST_BARS:
        return [(count(age), reads) for age, reads in histogram]
    bars: dict[str, int] = {}
    for age, reads in histogram:  # 0, 1, 2–3, 4–7, …: each twice as wide as the one before
        low = 1 << age.bit_length() - 1 if age else 0
        label = count(low) if low < 2 else f"{count(low)}–{count(2 * low - 1)}"
        bars[label] = bars.get(label, 0) + reads
    return list(bars.items())
