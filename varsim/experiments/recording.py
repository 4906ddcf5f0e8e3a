"""The record of a run: one trace for each process, and the history that they are merged into."""

from __future__ import annotations

import shutil
import sqlite3

from varsim.analysis.failures import FAILED_RUN
from varsim.analysis.outcome import Outcome
from varsim.errors import ConfigError, ProtocolError
from varsim.experiments.run_ending import examined
from varsim.experiments.store import RunFiles
from varsim.interrupts import held
from varsim.report.compared_text import in_short
from varsim.report.findings_text import in_lines
from varsim.report.summary import Judgement, Summary
from varsim.tracing.history import HISTORY, open_history, open_oracle
from varsim.tracing.merge import merge
from varsim.tracing.progress import Tell
from varsim.tracing.trace import PROGRAM, file_name


def judged(directory: RunFiles, summary: Summary, *, tell: Tell | None = None) -> Judgement | None:
    """Return what the history of a run says of it; None if there is none.

    Args:
        summary: As far as it is known. The failure of the run is not a finding here: the summary
            says it.
        tell: Gets the part of the history that was seen, from 0 to 1.
    """
    if not (directory.path / HISTORY).exists():
        return None
    with open_history(directory.path) as history, open_oracle(directory.path) as oracle:
        found = examined(history, oracle, summary, tell=tell)
    reasons = [one.reason for one in found.verdicts if one.outcome is not Outcome.VALID]
    return Judgement(
        outcome=found.outcome.value,
        reasons=list(dict.fromkeys(reasons)),
        findings=in_lines([one for one in found.findings if one.kind is not FAILED_RUN]),
        compared="" if found.compared is None else in_short(found.compared),
        not_looked_at=list(found.not_looked_at),
    )


def merge_what_is_left(files: RunFiles, *, tell: Tell | None = None) -> None:
    """Merges the traces of a run that Ctrl-C, or its end, has kept from that. Else does nothing.

    Raises:
        ConfigError: The run still goes on, or its traces cannot be merged.
    """
    if (files.path / HISTORY).exists() or not (files.traces / file_name(PROGRAM)).exists():
        return
    with files.claimed() as ours:
        if not ours:
            raise ConfigError(
                f"{files.path} has no {HISTORY} yet: it still runs, or another command is "
                "merging its record. Try again later"
            )
        problem = write_history(files, tell=tell)
    if problem is not None:
        raise ConfigError(f"{files.path}: {problem}")


def write_history(directory: RunFiles, *, tell: Tell | None = None) -> str | None:
    """Merges the traces of a run, whose processes have ended, into its history.

    What `tell` raises, or a signal's handler, leaves the traces as they are, and no history.

    Args:
        tell: Is told how much of the traces is merged.
    Returns:
        Why that failed, if it did; the traces are kept then.
    """
    if (directory.traces / file_name(PROGRAM)).exists():
        try:
            merge(directory.traces, directory.path, tell=tell)
        except (ProtocolError, OSError, sqlite3.Error) as error:
            return f"no history of the run was written: {error}"
    with held():
        shutil.rmtree(directory.traces, ignore_errors=True)
    return None
