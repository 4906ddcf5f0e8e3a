"""Find and open the records of a run for a command; first merge traces that were not merged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varsim.experiments.run_records import RunRecords
    from varsim.tracing.history import History


def find_records(run: str) -> RunRecords:
    """Return the records of the run that a command-line word names.

    Raises:
        ConfigError: The run does not exist.
    """
    from varsim.experiments.run_lookup import find_run
    from varsim.experiments.run_records import records_of

    return records_of(find_run(run))


@contextmanager
def open_record(path: Path, *, warns: bool = True) -> Iterator[tuple[History, History | None]]:
    """Open the history of a record, and the history of its oracle.

    Args:
        path: The folder of the record, or its file, which need not be merged yet.
        warns: Whether to say on stderr that the history of the oracle cannot be read.
    Raises:
        ConfigError: There is no record; the text says why.
    """
    from varsim.cli.output import complain, say
    from varsim.cli.progress import PHASE_TITLES, telling
    from varsim.experiments.recording import merge_what_is_left
    from varsim.experiments.run_lookup import find_record
    from varsim.experiments.store import RunFiles
    from varsim.interrupts import Interrupts
    from varsim.report.summary import Phase
    from varsim.tracing.history import HISTORY, open_history, open_oracle, oracle_problem

    with Interrupts():  # a caller may have private files to remove
        files = RunFiles(path if path.is_dir() else path.parent)
        if files.has_unmerged_traces and path in {files.path, files.path / HISTORY}:
            say(f"merging the traces of {files.path}, which its run did not merge", err=True)
            with telling(PHASE_TITLES[Phase.MERGING]) as tell:
                merge_what_is_left(files, tell=tell)
        path = find_record(str(path))
        with open_history(path) as history, open_oracle(path) as oracle:
            if warns and oracle is None and (problem := oracle_problem(path, requested=False)):
                complain("warning", f"{problem}; {oracle_again(path)}")
            yield history, oracle


def oracle_again(path: Path) -> str:
    """Return, as a clause, how to record a run's oracle again."""
    folder = path if path.is_dir() else path.parent
    return f"`varsim run {folder} --oracle` repeats the run with its oracle"


def check_output(file: Path) -> None:
    """Refuse a file that a command must not or cannot write, before the command computes anything.

    Raises:
        WrongUse: It has no name, or the name of a file of a run.
        NotWritten: Its folder does not exist, or cannot be written.
    """
    from varsim.cli.exit_codes import NotWritten, WrongUse
    from varsim.experiments.run_files import RECORDS

    if not file.name:
        raise WrongUse("-o needs the name of a file")
    if file.name in RECORDS:
        raise WrongUse(f"-o {file}: this is the name of a file of a run; give another name")
    if file.exists() and not file.is_file():  # a device or a pipe
        return
    folder = file.resolve().parent
    if not folder.is_dir():
        why = "is a file" if folder.exists() else "does not exist"
        raise NotWritten(f"{file} cannot be written: {folder} {why}; name a file in a folder")
    if not os.access(folder, os.W_OK):
        raise NotWritten(f"{file} cannot be written: you may not write into {folder}")


def check_folder(folder: Path) -> None:
    """Refuse a folder that a command cannot create or write, before it computes anything.

    Raises:
        NotWritten: The folder, or the nearest one around it, is a file or cannot be written.
    """
    from varsim.cli.exit_codes import NotWritten

    there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
    if not there.is_dir():
        raise NotWritten(f"{folder} cannot be created: {there} is a file")
    if not os.access(there, os.W_OK):
        raise NotWritten(f"{folder} cannot be written: you may not write into {there}")
