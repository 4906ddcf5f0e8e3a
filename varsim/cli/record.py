"""Open the record of a run for a command; merge the traces first if the run did not merge them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varsim.tracing.history import History


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
