"""Merge the traces of a run's processes into its history, and judge it."""

from __future__ import annotations

import sqlite3

from varsim.analysis.examination import Examination
from varsim.analysis.failures import FAILED_RUN
from varsim.analysis.served import ServedExamination
from varsim.errors import ConfigError, TraceError
from varsim.experiments.run_ending import ending_of, examined, examined_servers
from varsim.experiments.store import RunFiles
from varsim.interrupts import held
from varsim.report.comparison_text import in_short
from varsim.report.findings_text import in_lines
from varsim.report.summary import Judgement, Summary
from varsim.report.verdict_text import reasons_of
from varsim.texts import saving
from varsim.tracing.history import HISTORY, open_history, open_oracle
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.merge import merge
from varsim.tracing.progress import Tell
from varsim.tracing.served_record import has_server_records
from varsim.tracing.trace_format import PROGRAM, file_name


def judged(directory: RunFiles, summary: Summary, *, tell: Tell | None = None) -> Judgement | None:
    """Judge the record of a strategy; return None if it has no record.

    Args:
        summary: The summary so far. The failure of the run does not become a finding.
        tell: Receives the fraction of the history that has been read.
    """
    found: Examination | ServedExamination
    if has_server_records(directory.path):
        found = examined_servers(directory.path, ending_of(summary))
    elif (directory.path / HISTORY).exists():
        merged = open_history(directory.path, validated=True)
        with merged as history, open_oracle(directory.path) as oracle:
            found = examined(history, oracle, summary, tell=tell)
    else:
        return None
    return Judgement(
        outcome=found.outcome.value,
        reasons=reasons_of(found.verdicts),
        findings=in_lines([one for one in found.findings if one.kind is not FAILED_RUN]),
        compared="" if found.compared is None else in_short(found.compared),
        not_looked_at=list(found.not_looked_at),
    )


def recorded_traffic(directory: RunFiles) -> HostTraffic | None:
    """Return what hosts sent to each other, with delays; None if it is not recorded."""
    if not (directory.path / HISTORY).exists():
        return None
    try:
        with open_history(directory.path, validated=True) as history:
            return history.traffic
    except (ConfigError, OSError, sqlite3.Error):
        return None  # the judge of the record says why


def merge_what_is_left(files: RunFiles, *, tell: Tell | None = None) -> None:
    """Merge the traces of a run that was interrupted or killed before its traces were merged.

    Raises:
        ConfigError: The run has not ended, or its traces cannot be merged.
    """
    if not files.has_unmerged_traces:
        return
    with files.of_run().claimed() as ours:
        if not ours:
            raise ConfigError(
                f"{files.path} has no {HISTORY} yet: the run has not ended, or another command is "
                "merging its record; try again later"
            )
        problem = write_history(files, tell=tell)
    if problem is not None:
        raise ConfigError(saving.history_not_written(str(files.path), problem))


def write_history(directory: RunFiles, *, tell: Tell | None = None) -> str | None:
    """Merge the traces of a run, whose processes have ended, into its history.

    If `tell` or a signal handler raises an error, the traces are kept and no history is written.

    Args:
        tell: Receives the merged fraction of the traces.
    Returns:
        None after a success. If the merge failed, the result is the reason, and the traces are
        kept.
    """
    if (directory.traces / file_name(PROGRAM)).exists():
        try:
            merge(directory.traces, directory.path, tell=tell)
        except (TraceError, OSError, sqlite3.Error, MemoryError) as error:
            return str(error) or type(error).__name__
    with held():
        directory.discard_traces()
    return None
