"""Write findings as text: the problem, its location, its count and the remedy, in 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Final

from varsim.analysis.causes import leading
from varsim.analysis.findings.model import Cause, Finding, most
from varsim.report.formatting import bounded, count, middle, visible, wrapped
from varsim.report.grouping import grouped, name_of, short, without_numbers
from varsim.report.terminal import WIDTH

_COST: Final = (
    "only cost: messages or time that the program does not need. This finding does not show a "
    "wrong value."
)

_INDENT: Final = 2
_LABEL_WIDTH: Final = 10
_MOST_BARS: Final = 8
_BAR_WIDTH: Final = 24


def findings_text(
    findings: Sequence[Finding], width: int = WIDTH, *, everything: bool = False
) -> list[str]:
    """Return the lines of a report on findings; an empty list without findings.

    Args:
        width: Columns of the widest line.
        everything: Whether to report each finding. If not, similar findings are reported once.
    """
    if not findings:
        return []
    leads = [(one, []) for one in findings] if everything else leading(findings)
    leads.sort(key=lambda pair: pair[0].kind.costs_only)  # wrong values come first
    followers = {id(lead): found for lead, found in leads}
    shown = [lead for lead, _ in leads]
    groups = [[one] for one in shown] if everything else grouped(shown, _likeness)
    said = f"{count(len(findings))} finding{'' if len(findings) == 1 else 's'}"
    if costs := sum(one.kind.costs_only for one in findings):
        said += f" ({count(costs)} of cost only)"
    if len(leads) < len(findings):
        follow = len(findings) - len(leads)
        said += f", {count(follow)} of which follow{'s' * (follow == 1)} from another"
    if len(groups) < len(shown):
        said += f", {count(len(groups))} shown: similar findings are shown once (--all shows each)"
    lines = wrap(said, width)
    for group in groups:
        lines += ["", *_told(group, width)]
        lines += _followers([one for lead in group for one in followers[id(lead)]], width)
    return lines


def _followers(followers: Sequence[Finding], width: int) -> Iterator[str]:
    """Yield a line for each finding that follows from the findings above it."""
    for number, said in enumerate(in_lines(followers)):
        yield from _labelled("" if number else "leads to", said, width)


def finding_text(finding: Finding, width: int = WIDTH) -> list[str]:
    """Return the lines on one finding."""
    return list(_told([finding], width))


def in_lines(findings: Sequence[Finding]) -> list[str]:
    """Return one line for each group of similar findings: kind, variables and location."""
    return [_in_a_line(group) for group in grouped(findings, _likeness)]


def _in_a_line(group: Sequence[Finding]) -> str:
    locations = group[0].locations
    return f"{_title(group)}, {locations[0][0]}" if locations else _title(group)


def _likeness(finding: Finding) -> tuple[object, ...]:
    """Return the key of similar findings: their texts without the variable's name and numbers."""
    name = finding.variable
    said = without_numbers(finding.what, name), without_numbers(finding.remedy, name)
    return finding.kind, frozenset(location for location, _ in finding.locations), *said


def _title(group: Sequence[Finding]) -> str:
    kind = group[0].kind.name
    names = [finding.variable for finding in group if finding.variable]
    return f"{kind}: {name_of(names)}" if names else kind


def _told(group: Sequence[Finding], width: int) -> Iterator[str]:
    """Yield the lines on similar findings, with the texts of the most frequent finding."""
    words = max(group, key=lambda finding: finding.count)
    differ = len({finding.what.replace(finding.variable, "") for finding in group}) > 1
    yield from _heading(_title(group), width)
    of_one = f"{short(words.variable, width // 2)}: " if differ else ""
    what = bounded(words.what, "`varsim check --json`")
    yield from _labelled("what", f"{of_one}{what}", width)
    yield from _labelled("how often", f"{count(sum(one.count for one in group))}×", width)
    locations: Counter[str] = Counter()
    staleness: Counter[int] = Counter()
    for finding in group:
        locations.update(dict(finding.locations))
        staleness.update(dict(finding.histogram))
    for number, (location, times) in enumerate(most(locations)):
        label = "" if number else "where"
        often = f"  {count(times)}×" if len(locations) > 1 else ""
        room = width - _INDENT - _LABEL_WIDTH - len(often)
        yield f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}{_end_of(location, room)}{often}"
    if staleness:
        yield from _histogram(sorted(staleness.items()), width)
    yield from _labelled("what to do", words.remedy, width)
    for number, line in enumerate(words.paste):
        label = "" if number else "to paste"
        yield f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}{visible(line)}".rstrip()
    if words.tried:
        yield from _labelled("tried", words.tried, width)
    if words.kind.costs_only:
        yield from _labelled("effect", _COST, width)
    yield from _labelled("how sure", words.certainty.value, width)
    if words.cause is not None:
        yield from _labelled("cause", cause_text(words.cause), width)
    if words.events:
        yield from _labelled("events", ", ".join(map(str, words.events)), width)


def cause_text(cause: Cause) -> str:
    """Return the finding from which another one follows."""
    name = f": {cause.variable}" if cause.variable else ""
    return f"it follows from the finding {cause.kind.name}{name}"


def _heading(title: str, width: int) -> list[str]:
    """Return the heading. If it is too wide, the variables are on a separate line."""
    kind, colon, name = title.partition(": ")
    if len(title) <= width or not colon:
        return [middle(title, width)]
    return [f"{kind}:", f"{'':{_INDENT}}{short(name, width - _INDENT)}"]


def _labelled(label: str, text: str, width: int) -> list[str]:
    """Return lines of text beside a label, or below a label that is too wide."""
    indent = " " * (_INDENT + _LABEL_WIDTH)
    first = f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}"
    lines = [f"{indent}{line}" for line in wrapped(visible(text), width - len(indent))]
    if len(label) >= _LABEL_WIDTH:
        return [first.rstrip(), *lines]
    return [first + lines[0][len(indent) :], *lines[1:]] if lines else [first.rstrip()]


def _end_of(location: str, width: int) -> str:
    """Return a location. If it is too long, shorten its beginning: file name and line remain."""
    location = visible(location)
    return location if len(location) <= width else f"…{location[len(location) - width + 1 :]}"


def _histogram(histogram: Sequence[tuple[int, int]], width: int) -> Iterator[str]:
    """Yield a bar for each staleness, or for each range of staleness."""
    bars = _ranges(histogram)
    most_reads = max(reads for _, reads in bars)
    widest = max(len(label) for label, _ in bars)
    beside = _INDENT + _LABEL_WIDTH + widest + 4 + len(count(most_reads))
    longest = max(1, min(_BAR_WIDTH, width - beside))
    for number, (label, reads) in enumerate(bars):
        bar = "█" * max(1, round(reads / most_reads * longest)) if reads else ""
        name = "" if number else "staleness"
        said = f"{label:>{widest}}  {bar:{longest}}  {count(reads)}"
        yield f"{'':{_INDENT}}{name:{_LABEL_WIDTH}}{said}"


def _ranges(histogram: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    if len(histogram) <= _MOST_BARS:
        return [(count(age), reads) for age, reads in histogram]
    bars: dict[str, int] = {}
    for age, reads in histogram:  # 0, 1, 2–3, 4–7, …: each range is twice the previous
        low = 1 << age.bit_length() - 1 if age else 0
        label = count(low) if low < 2 else f"{count(low)}–{count(2 * low - 1)}"
        bars[label] = bars.get(label, 0) + reads
    return list(bars.items())
