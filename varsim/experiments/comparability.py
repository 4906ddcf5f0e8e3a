"""Say what is not comparable in a comparison of runs, and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from varsim.experiments.carried_program import PROGRAM
from varsim.report.formatting import middle, names
from varsim.report.run_rows import RunRow
from varsim.report.summary import Plain, Summary

_SEED: Final = "seed"
_MOST_LETTERS: Final = 150  # of a value that is not a number
_MOST_METRICS: Final = 8  # largest number of metrics that a sentence lists


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
    for metric in metrics:
        without = []
        for one, row in done:
            if metric in row.metrics:
                continue
            if (value := one.returned(metric)) is None:
                without.append(one.words)
            else:
                said = middle(str(value), _MOST_LETTERS)
                yield f"{one.words} has no number for {metric}: the program returned {said}"
        lacking.setdefault(tuple(without), []).append(metric)
    for runs, missing in lacking.items():
        if runs:
            which = "it" if len(missing) == 1 else "them"
            said = names(missing, most=_MOST_METRICS)
            yield f"{names(runs)} {_have(runs)} no {said}: the program did not report {which}."
    steps = dict.fromkeys(row.steps for _, row in done if row.steps is not None)
    if len(steps) > 1:
        said = names([f"{number:,}" for number in steps])
        yield f"Numbers of steps differ ({said}): messages, bytes and times are totals."
    yield from _of_seeds([row for _, row in done])
    yield from _of_surroundings(ended)


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
        yield f"{names(waiting)} {_have(waiting)} not run to the end, so there are no numbers."
    for one in compared:
        how = {"failed": "failed", "interrupted": "was interrupted"}.get(one.status)
        why = f" ({one.error.rstrip('.')})" if one.error else ""
        if one.unread:
            yield f"{one.words} has no numbers: {one.unread}."
        elif how is not None and one.summary is None:
            yield f"{one.words} {how}, so it has no numbers{why}."
        elif how is not None and one.summary is not None:
            yield f"{one.words} {how} after step {one.summary.step:,}{why}: its numbers end there."


def _of_records(ended: Sequence[ComparedRun]) -> Iterator[str]:
    """Yield sentences about runs that were not judged, or in which less was searched for."""
    off = [one.words for one in ended if _level(one.experiment) == "off"]
    if off:
        yield (
            f"{names(off)} {_have(off)} no record (trace: off), so findings are unknown: run with "
            "--trace ops, which is the default."
        )
    judged = {
        one.words: one.summary is not None and one.summary.verdict is not None for one in ended
    }
    others = [words for words, is_judged in judged.items() if not is_judged and words not in off]
    if others:
        yield f"{names(others)} {_have(others)} no verdict: `varsim check` judges a record."
    without = [one.words for one in ended if not one.experiment.get("oracle")]
    if without and len(without) < len(ended):
        yield (
            f"{names(without)} {_have(without)} no oracle, so fewer kinds of findings were "
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


def _have(runs: Sequence[str]) -> str:
    return "has" if len(runs) == 1 else "have"
