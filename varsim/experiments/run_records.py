"""The records of a run: of which strategy and incarnation each is, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from varsim.analysis.failures import UNKNOWN, Ending
from varsim.experiments.run_ending import ending_of, summary_beside
from varsim.experiments.store import EXPERIMENT, SUMMARY, RunFiles, further_folders
from varsim.report.summary import Summary
from varsim.tracing.history import HISTORY
from varsim.tracing.served_record import has_server_records


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One record of a run: of an incarnation of a strategy."""

    path: Path  # the folder of the record; or the file, if the user has named the file
    summary: Summary | None = None  # None if there is none, or if another version wrote it
    strategy: int = 1
    incarnation: int = 1
    incarnations: int = 1  # number of starts of the strategy's workers in the run
    ending: Ending | None = None  # None if nothing is known about it

    @property
    def folder(self) -> Path:
        """Return the folder of the record."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def of_servers(self) -> bool:
        """Return whether it is the record of parameter servers, and not a history."""
        return self.path.is_dir() and has_server_records(self.path)

    @property
    def place(self) -> tuple[int, int]:
        """Return the numbers of the strategy and of the incarnation, unique in the run."""
        return self.strategy, self.incarnation

    @property
    def part(self) -> str:
        """Return which incarnation the record is of; "" if the strategy has only one."""
        several = self.incarnations > 1
        return f"incarnation {self.incarnation} of {self.incarnations}" if several else ""


@dataclass(frozen=True, slots=True)
class RunRecords:
    """The records of a run."""

    every: tuple[RunRecord, ...]  # the first one is in the run's own directory
    named: RunRecord  # the record that the user has named
    is_whole: bool  # whether the user has named the whole run

    @property
    def incarnations(self) -> list[RunRecord]:
        """Return the named record. Of a whole run, return all incarnations of one strategy."""
        others = [one for one in self.every[1:] if one.strategy == self.named.strategy]
        return [self.named, *(others if self.is_whole else ())]


def records_of(path: Path) -> RunRecords:
    """Return the records of a run. Their folders are read once.

    Args:
        path: The run's directory, the folder of one of its records, or the file of a record.
    """
    folder = path if path.is_dir() else path.parent
    run = RunFiles(folder).of_run().path
    first, *others = found = list(_records(run))
    named = next((one for one in found if one.path.samefile(folder)), None)
    if named is None:  # the record of an oracle
        named = RunRecord(path)
        return RunRecords((named,), named, is_whole=False)
    every = (first, *(one for one in others if _is_recorded(one.path)))
    return RunRecords(every, replace(named, path=path), is_whole=run == path)


class _Found(NamedTuple):
    """A folder of a run, with the place that its summary has, or else that was noted in it."""

    folder: Path
    summary: Summary | None
    strategy: int
    incarnation: int


def _records(run: Path) -> Iterator[RunRecord]:
    found = list(_found(run))
    last = {one.strategy: one for one in found}  # strategy → its last incarnation
    for one in found:
        newest, summary = last[one.strategy], one.summary
        count = newest.incarnation if summary is None else summary.incarnations
        record = RunRecord(one.folder, summary, one.strategy, one.incarnation, count)
        if summary is not None:
            yield replace(record, ending=ending_of(summary))
        elif (one.folder / SUMMARY).exists() or not (run / EXPERIMENT).is_file():
            yield record
        else:  # the run was killed
            ending = Ending(
                status=UNKNOWN,
                incarnation=one.incarnation,
                incarnations=count,
                unstarted=not _is_recorded(newest.folder),
            )
            yield replace(record, ending=ending)


def _found(run: Path) -> Iterator[_Found]:
    strategies = 0
    for folder in (run, *further_folders(run)):
        summary = summary_beside(folder)
        if summary is not None:
            place = summary.strategy, summary.incarnation
        else:
            place = RunFiles(folder).place or (strategies + 1, 1)
        strategies = max(strategies, place[0])
        yield _Found(folder, summary, *place)


def _is_recorded(folder: Path) -> bool:
    is_history = (folder / HISTORY).exists() or RunFiles(folder).has_unmerged_traces
    return is_history or has_server_records(folder)
