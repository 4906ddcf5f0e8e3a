"""Find and open the records of a run for a command; first merge traces that were not merged."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from varsim.tracing.history import History

_MOST_NAMED: Final = 3  # other records in one sentence


@contextmanager
def open_record(run: str) -> Iterator[tuple[Path, History, History | None]]:
    """Open the history of the run that a command-line word names, and the history of its oracle.

    Also yield the path of the run's directory. If the word is the path of a file, yield this file.

    Raises:
        ConfigError: The run does not exist, or has no record; the text says why.
    """
    from varsim.cli.output import say
    from varsim.cli.progress import PHASE_TITLES, telling
    from varsim.experiments.recording import has_unmerged_traces, merge_what_is_left
    from varsim.experiments.run_lookup import find_record, find_run
    from varsim.experiments.store import RunFiles
    from varsim.interrupts import Interrupts
    from varsim.report.summary import Phase
    from varsim.tracing.history import open_history, open_oracle

    path = find_run(run)
    with Interrupts():  # a caller may have private files to remove
        if path.is_dir() and has_unmerged_traces(RunFiles(path)):
            say(f"merging the traces of {path}, which its run did not merge", err=True)
            with telling(PHASE_TITLES[Phase.MERGING]) as tell:
                merge_what_is_left(RunFiles(path), tell=tell)
        path = find_record(run)
        with open_history(path) as history, open_oracle(path) as oracle:
            yield path, history, oracle


def further_records(path: Path) -> list[Path]:
    """Return the folders of a run's further records: of other strategies and incarnations."""
    from varsim.experiments.recording import has_unmerged_traces
    from varsim.experiments.store import RunFiles, further_folders
    from varsim.tracing.history import HISTORY

    return [
        folder
        for folder in further_folders(path)
        if (folder / HISTORY).exists() or has_unmerged_traces(RunFiles(folder))
    ]


def part_of(path: Path) -> str:
    """Return which incarnation of its strategy a record is of; "" if it is the only one."""
    from varsim.experiments.run_ending import summary_beside

    summary = summary_beside(path)
    if summary is None or summary.incarnations <= 1:
        return ""
    return f"incarnation {summary.incarnation} of {summary.incarnations}"


def incarnation_of(path: Path) -> int:
    """Return the number of the incarnation of its strategy that a record is of."""
    from varsim.experiments.run_ending import summary_beside

    summary = summary_beside(path)
    return 1 if summary is None else summary.incarnation


def later_incarnations(path: Path) -> list[Path]:
    """Return the records of the later incarnations of a run's first strategy."""
    from varsim.experiments.run_ending import summary_beside

    own = summary_beside(path)
    others = [(folder, summary_beside(folder)) for folder in further_records(path)]
    return [
        folder
        for folder, other in others
        if own is not None and other is not None and other.strategy == own.strategy
    ]


def last_record(run: str) -> str:
    """Return the folder of the last incarnation of a run's first strategy.

    If the word names a file, or a folder within a run, return the word.

    Raises:
        ConfigError: The run does not exist.
    """
    from varsim.experiments.run_lookup import find_run

    path = find_run(run)
    later = later_incarnations(path) if path.is_dir() else []
    return str(later[-1]) if later else run


def say_of_others(*shown: Path, as_json: bool) -> None:
    """Say which of a run's records a command shows, if it does not show all.

    Args:
        shown: The records that the command shows: their folders, or their files.
        as_json: Whether stdout is only for JSON; then stderr gets the sentence.
    """
    _say(_about_others([one if one.is_dir() else one.parent for one in shown]), as_json=as_json)


def say_of_ending(record: Path, *, as_json: bool) -> None:
    """Say that the run ended early, if it did, because the record lacks the rest of the program.

    Args:
        as_json: Whether stdout is only for JSON; then stderr gets the sentence.
    """
    from varsim.experiments.run_ending import ending_of, summary_beside

    summary = summary_beside(record)
    early = "" if summary is None else ending_of(summary).early
    if early:
        _say(
            f"{early}: the following is about the operations until then. The rest of the program "
            "may read or write the variables in another way.",
            as_json=as_json,
        )


def _say(said: str, *, as_json: bool) -> None:
    from rich.text import Text

    from varsim.cli.output import say
    from varsim.report.page import print_page

    if said and as_json:
        say(said, err=True)
    elif said:
        print_page(lambda console: console.print(Text(f"{said}\n")), sys.stdout)


def _about_others(shown: Sequence[Path]) -> str:
    """Return a sentence about the records that a command does not show; "" if it shows all."""
    from varsim.experiments.store import RunFiles

    run = RunFiles(shown[0]).of_run().path
    every = (run, *further_records(run))
    others = [one for one in every if not any(map(one.samefile, shown))]
    if not others:
        return ""
    parts = ", ".join(part_of(one) or "the record of one strategy" for one in shown)
    only = "only one is" if len(shown) == 1 else f"only {len(shown)} are"
    named = [_named(one) for one in others[:_MOST_NAMED]]
    more = len(others) - len(named)
    listed = " or ".join(named) + (f", or {more} more" if more else "")
    return (
        f"This run has {len(every)} records, and {only} shown: {parts}. To see another "
        f"record, give it instead of the run: {listed}."
    )


def _named(path: Path) -> str:
    from varsim.experiments.store import RunFiles
    from varsim.report.run_page import typed
    from varsim.tracing.history import HISTORY

    part, name = part_of(path), typed(str(path))
    if not part:
        return name
    # The folder of a run stands for all its incarnations, or for the last one.
    is_run = RunFiles(path).of_run().path.samefile(path)
    return f"{name}{HISTORY if is_run else ''} ({part})"
