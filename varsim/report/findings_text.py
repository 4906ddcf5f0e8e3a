"""Write findings as text: the problem, its location, its count and the remedy, in 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from varsim.analysis.causes import leading
from varsim.analysis.findings.model import Cause, Finding, most
from varsim.report.formatting import (
    bounded,
    columns,
    count,
    end_of,
    filled,
    middle,
    on_one_line,
    visible,
    wrapped,
)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFinding:
    """Similar findings as reports tell them: the most frequent one has the words."""

    title: str
    named: str  # the variable of which `what` tells; "" if it tells of all alike
    what: str
    count: int
    locations: tuple[tuple[str, int], ...]  # file:line and its count, the highest count first
    staleness: tuple[tuple[int, int], ...]  # pairs: staleness, number of reads
    remedy: str
    paste: tuple[str, ...]  # lines of a program
    tried: str  # the result of a replay with the proposed settings, or why there is none
    effect: str  # that it only costs; "" if it makes values wrong
    certainty: str
    cause: str  # the finding from which it follows; "" if it leads
    events: tuple[int, ...]
    leads_to: tuple[str, ...]  # a line for each finding that follows from it


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFindings:
    """All findings of a report."""

    summary: str  # how many there are, and how many of them are shown
    shown: tuple[ToldFinding, ...]  # wrong values come first


def told_findings(
    findings: Sequence[Finding], *, everything: bool = False, option: str = "--all"
) -> ToldFindings:
    """Return findings as reports tell them: similar ones once, and followers with their lead.

    Args:
        everything: Whether to tell each finding. If not, similar findings are told once.
        option: What shows each finding.
    """
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
        said += (
            f", {count(len(groups))} shown: similar findings are shown once ({option} shows each)"
        )
    return ToldFindings(
        summary=said,
        shown=tuple(
            _told_as_one(group, [one for lead in group for one in followers[id(lead)]])
            for group in groups
        ),
    )


def findings_text(told: ToldFindings, width: int = WIDTH) -> list[str]:
    """Return the lines of a report on findings; an empty list without findings.

    Args:
        width: Columns of the widest line.
    """
    if not told.shown:
        return []
    lines = filled(told.summary, width)
    for one in told.shown:
        lines += ["", *_told(one, width)]
    return lines


def finding_text(finding: Finding, width: int = WIDTH) -> list[str]:
    """Return the lines on one finding."""
    return list(_told(_told_as_one([finding]), width))


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


def _told_as_one(group: Sequence[Finding], followers: Sequence[Finding] = ()) -> ToldFinding:
    """Return similar findings as one, with the texts of the most frequent finding."""
    words = max(group, key=lambda finding: finding.count)
    differ = len({finding.what.replace(finding.variable, "") for finding in group}) > 1
    locations: Counter[str] = Counter()
    staleness: Counter[int] = Counter()
    for finding in group:
        locations.update(dict(finding.locations))
        staleness.update(dict(finding.histogram))
    return ToldFinding(
        title=_title(group),
        named=words.variable if differ else "",
        what=bounded(words.what, "`varsim check --json`"),
        count=sum(one.count for one in group),
        locations=most(locations),
        staleness=tuple(sorted(staleness.items())),
        remedy=words.remedy,
        paste=words.offered,
        tried=words.trial,
        effect=_COST if words.kind.costs_only else "",
        certainty=words.certainty.value,
        cause="" if words.cause is None else cause_text(words.cause),
        events=tuple(sorted(words.events)),
        leads_to=tuple(in_lines(followers)),
    )


def _told(told: ToldFinding, width: int) -> Iterator[str]:
    """Yield the lines on similar findings."""
    yield from _heading(told.title, width)
    of_one = f"{short(told.named, width // 2)}: " if told.named else ""
    yield from _labelled("what", f"{of_one}{told.what}", width)
    yield from _labelled("how often", f"{count(told.count)}×", width)
    for number, (location, times) in enumerate(told.locations):
        label = "" if number else "where"
        often = f"  {count(times)}×" if len(told.locations) > 1 else ""
        room = width - _INDENT - _LABEL_WIDTH - len(often)
        yield f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}{_end_of(location, room)}{often}"
    if told.staleness:
        yield from _histogram(told.staleness, width)
    yield from _labelled("what to do", told.remedy, width)
    for number, line in enumerate(told.paste):
        label = "" if number else "to paste"
        yield f"{'':{_INDENT}}{label:{_LABEL_WIDTH}}{visible(line)}".rstrip()
    rest = ("tried", told.tried), ("effect", told.effect), ("how sure", told.certainty)
    events = ", ".join(map(str, told.events))
    proof = "event" if len(told.events) == 1 else "events"
    for label, text in (*rest, ("cause", told.cause), (proof, events)):
        if text:
            yield from _labelled(label, text, width)
    for number, said in enumerate(told.leads_to):
        yield from _labelled("" if number else "leads to", said, width)


def cause_text(cause: Cause) -> str:
    """Return the finding from which another one follows."""
    name = f": {cause.variable}" if cause.variable else ""
    return f"it follows from the finding {cause.kind.name}{name}"


def _heading(title: str, width: int) -> list[str]:
    """Return the heading. If it is too wide, the variables are on a separate line."""
    kind, colon, name = title.partition(": ")
    if columns(title) <= width or not colon:
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
    location = on_one_line(location)
    return location if columns(location) <= width else f"…{end_of(location, width - 1)}"


def _histogram(histogram: Sequence[tuple[int, int]], width: int) -> Iterator[str]:
    """Yield a bar for each staleness, or for each range of staleness."""
    bars = staleness_ranges(histogram)
    most_reads = max(reads for _, reads in bars)
    widest = max(len(label) for label, _ in bars)
    beside = _INDENT + _LABEL_WIDTH + widest + 4 + len(count(most_reads))
    longest = max(1, min(_BAR_WIDTH, width - beside))
    for number, (label, reads) in enumerate(bars):
        bar = "█" * max(1, round(reads / most_reads * longest)) if reads else ""
        name = "" if number else "staleness"
        said = f"{label:>{widest}}  {bar:{longest}}  {count(reads)}"
        yield f"{'':{_INDENT}}{name:{_LABEL_WIDTH}}{said}"


def staleness_ranges(histogram: Sequence[tuple[int, int]]) -> list[tuple[str, int]]:
    """Return the bars of a histogram of staleness: a bar's label, and its number of reads."""
    if len(histogram) <= _MOST_BARS:
        return [(count(age), reads) for age, reads in histogram]
    bars: dict[str, int] = {}
    for age, reads in histogram:  # 0, 1, 2–3, 4–7, …: each range is twice the previous
        low = 1 << age.bit_length() - 1 if age else 0
        label = count(low) if low < 2 else f"{count(low)}–{count(2 * low - 1)}"
        bars[label] = bars.get(label, 0) + reads
    return list(bars.items())
