"""Say what is not comparable in a comparison of runs, and why."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from varsim.experiments.carried_program import PROGRAM
from varsim.report.formatting import middle, names, ranges
from varsim.report.grouping import without_numbers
from varsim.report.run_rows import RunRow
from varsim.report.summary import Plain, Summary

_SEED: Final = "seed"
_MOST_LETTERS: Final = 200  # of a value that is not a number
_MOST_METRICS: Final = 8  # largest number of metrics that a sentence lists
_MOST_RANGES: Final = 4  # largest number of runs or ranges of points that a sentence lists
_POINT: Final = re.compile(r"(point |[A-Z]\d*/)(\d+)")

_EARLY: Final = {
    "failed": ("failed", "failed"),
    "interrupted": ("was interrupted", "were interrupted"),
}
"""Status of a run that did not end well → what happened to one such run, and to several."""

_THEY: Final = "they have", "their"


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One run to compare, and what is known of it."""

    path: Path
    name: str
    status: str
    error: str = ""  # why it failed
    settings: dict[str, Plain] = field(default_factory=dict)  # of the point of a sweep
    summary: Summary | None = None
    unread: str = ""  # why there is no summary, if the run should have one

    @property
    def words(self) -> str:
        """Return the name for a sentence."""
        return f"point {self.name}" if self.name.isdecimal() else self.name

    @property
    def experiment(self) -> dict[str, Any]:
        """Return the keys of the run's experiment; empty if they are not known."""
        return {} if self.summary is None else self.summary.experiment

    def returned(self, name: str) -> Plain:
        """Return what the program reported or returned with a name; None if it did not."""
        if self.summary is None:
            return None
        return {**self.summary.metrics, **self.summary.result}.get(name)


def notes(
    compared: Sequence[ComparedRun], rows: Sequence[RunRow], metrics: Sequence[str]
) -> Iterator[str]:
    """Yield a sentence for each reason why numbers are missing, or easily mistaken."""
    yield from _of_unfinished(compared)
    yield from _of_metrics(compared, metrics)
    ended = [one for one in compared if one.summary is not None]
    yield from _of_records(ended)
    done = [(one, row) for one, row in zip(compared, rows, strict=True) if one.status == "done"]
    lacking: dict[tuple[str, ...], list[str]] = {}  # runs → the metrics that they do not have
    other: dict[str, list[tuple[str, str, str]]] = {}  # similar values: run, metric, value
    for metric in metrics:
        without = [one for one, row in done if metric not in row.metrics]
        missing = [one.words for one in without if one.returned(metric) is None]
        lacking.setdefault(tuple(missing), []).append(metric)
        for one in without:
            if (value := one.returned(metric)) is not None:
                said = middle(str(value), _MOST_LETTERS)
                other.setdefault(without_numbers(said, ""), []).append((one.words, metric, said))
    yield from _of_other_values(other.values())
    for runs, missing in lacking.items():
        if runs:
            which = "it" if len(missing) == 1 else "them"
            said = names(missing, most=_MOST_METRICS)
            yield f"{_named(runs)} {_have(runs)} no {said}: the program did not report {which}."
    steps = dict.fromkeys(row.steps for _, row in done if row.steps is not None)
    if len(steps) > 1:
        said = names([f"{number:,}" for number in steps])
        yield f"Numbers of steps differ ({said}): messages, bytes and times are totals."
    yield from _of_seeds([row for _, row in done])
    yield from _of_surroundings(ended)


def _of_other_values(groups: Iterable[Sequence[tuple[str, str, str]]]) -> Iterator[str]:
    """Yield a sentence for each group of similar values that a program returned instead of numbers.

    Args:
        groups: The words for the run, the name of the metric, and the value, of each value.
    """
    for group in groups:
        runs = list(dict.fromkeys(run for run, _, _ in group))
        metrics = list(dict.fromkeys(metric for _, metric, _ in group))
        values = list(dict.fromkeys(value for _, _, value in group))
        such = " " if len(values) == 1 else ", for example, "
        yield (
            f"{_named(runs)} {_have(runs)} no number for {names(metrics, most=_MOST_METRICS)}: the "
            f"program returned{such}{values[0]}"
        )


def _of_metrics(compared: Sequence[ComparedRun], metrics: Sequence[str]) -> Iterator[str]:
    """Yield a sentence if some metrics were reported during the run, and others returned."""
    known = [one.summary.result for one in compared if one.summary is not None]
    returned = [name for name in metrics if any(name in result for result in known)]
    reported = [name for name in metrics if name not in returned]
    if returned and reported:
        is_, are = ("is" if len(one) == 1 else "are" for one in (reported, returned))
        yield (
            f"{names(reported, most=_MOST_METRICS)} {is_} what the program last reported while it "
            f"ran, often for one batch; {names(returned, most=_MOST_METRICS)} {are} what it "
            "returned."
        )


def _of_seeds(done: Sequence[RunRow]) -> Iterator[str]:
    """Yield a sentence if runs that differ only in the seed all have the same values."""
    groups: dict[str, set[str]] = {}
    several = False
    for row in done:
        others = {key: value for key, value in row.settings.items() if key != _SEED}
        outcome = repr((row.metrics, row.divergence, row.messages, row.size_bytes))
        group = groups.setdefault(repr(others), set())
        several = several or (_SEED in row.settings and bool(group))
        group.add(outcome)
    if several and all(len(outcomes) == 1 for outcomes in groups.values()):
        yield (
            "No value depends on the seed: runs that differ only in it have the same metrics, "
            "divergence, messages and bytes."
        )


def _of_unfinished(compared: Sequence[ComparedRun]) -> Iterator[str]:
    waiting = [one.words for one in compared if one.status in ("waiting", "running")]
    if waiting:
        yield f"{_named(waiting)} {_have(waiting)} not run to the end, so there are no numbers."
    alike: dict[tuple[str, ...], list[ComparedRun]] = {}  # what happened to runs → these runs
    for one in compared:
        if one.unread or one.status in _EARLY:
            summary = one.summary
            step = "" if summary is None or not summary.step else f" after step {summary.step:,}"
            has = "numbers" if summary is not None else "none"
            told = (one.status, one.unread, step, has, without_numbers(one.error, ""))
            alike.setdefault(told, []).append(one)
    for (status, unread, step, has, _), runs in alike.items():
        words = [one.words for one in runs]
        who, it, its = (_named(words), *(("it has", "its") if len(runs) == 1 else _THEY))
        how = _EARLY.get(status, _EARLY["failed"])[len(runs) > 1]
        why = f" ({runs[0].error.rstrip('.')})" if runs[0].error else ""
        if unread:
            yield f"{who} {_have(words)} no numbers: {unread}."
        elif has == "none":
            yield f"{who} {how}, so {it} no numbers{why}."
        else:
            yield f"{who} {how}{step}{why}: {its} numbers end there."


def _of_records(ended: Sequence[ComparedRun]) -> Iterator[str]:
    """Yield sentences about runs that were not judged, or in which less was searched for."""
    off = [one.words for one in ended if _level(one.experiment) == "off"]
    if off:
        yield (
            f"{_named(off)} {_have(off)} no record (trace: off), so findings are unknown: run with "
            "--trace ops, which is the default."
        )
    judged = {
        one.words: one.summary is not None and one.summary.verdict is not None for one in ended
    }
    others = [words for words, is_judged in judged.items() if not is_judged and words not in off]
    if others:
        yield f"{_named(others)} {_have(others)} no verdict: `varsim check` judges a record."
    without = [one.words for one in ended if not one.experiment.get("oracle")]
    if without and len(without) < len(ended):
        yield (
            f"{_named(without)} {_have(without)} no oracle, so fewer kinds of findings were "
            "searched for: run with --oracle."
        )


def _level(experiment: dict[str, Any]) -> Plain:
    trace = experiment.get("trace")
    return trace.get("level") if isinstance(trace, dict) else trace


def _of_surroundings(ended: Sequence[ComparedRun]) -> Iterator[str]:
    """Yield sentences about differences that no setting has: programs, versions, systems."""
    programs = _distinct(
        one.experiment.get("script") or one.experiment.get("workload") for one in ended
    )
    if len(programs) > 1:
        yield f"The programs differ ({names(programs)}), so metrics may differ in their meaning."
    elif len({_digest(one.path) for one in ended}) > 1:
        yield f"The source of the program, {programs[0]}, differs between the runs."
    summaries = [one.summary for one in ended if one.summary is not None]
    versions = _distinct(one.varsim for one in summaries)
    if len(versions) > 1:
        yield f"The versions of varsim differ ({names(versions)})."
    systems = _distinct(one.carried.system for one in summaries if one.carried is not None)
    if len(systems) > 1:
        yield f"The systems differ ({names(systems)}), so times are not comparable."


def _distinct(values: Iterable[object]) -> list[str]:
    return list(dict.fromkeys(map(str, values)))


def _digest(run: Path) -> str:
    """Return a digest of the sources in a run; that of no sources for a built-in workload."""
    digest = hashlib.sha256()
    for file in sorted((run / PROGRAM).rglob("*.py")):
        digest.update(file.relative_to(run).as_posix().encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _named(words: Sequence[str]) -> str:
    """Join the words for runs for a sentence; consecutive points become a range: "points 1–4"."""
    numbers: dict[str, list[int]] = {}  # what stands before the number of a point → the numbers
    for word in words:
        if point := _POINT.fullmatch(word):
            numbers.setdefault(point[1], []).append(int(point[2]))
    shown: dict[str, None] = {}
    for word in words:
        point = _POINT.fullmatch(word)
        if point is None:
            shown[word] = None
        else:
            before, several = point[1], numbers[point[1]]
            begin = "points " if before == "point " and len(several) > 1 else before
            first, *more = ranges(several)
            others = (f"{before}{one}".removeprefix("point ") for one in more)
            shown |= dict.fromkeys([f"{begin}{first}", *others])
    return names(list(shown), most=_MOST_RANGES)


def _have(runs: Sequence[str]) -> str:
    return "has" if len(runs) == 1 else "have"
