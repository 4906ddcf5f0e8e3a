"""The record of a run: one trace for each process, and the history that they are merged into."""

from __future__ import annotations

import shutil

from varsim.analysis.finding import find
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.verdict import is_whole, judge, sound
from varsim.errors import ProtocolError
from varsim.experiments.config import Experiment
from varsim.experiments.store import RunDirectory, RunFiles
from varsim.report.findings_text import in_a_line
from varsim.report.summary import Judgement
from varsim.tracing.history import HISTORY, open_history, open_oracle
from varsim.tracing.merge import merge
from varsim.tracing.trace import OFF, PROGRAM, TraceOptions, file_name


def trace_options(experiment: Experiment, directory: RunFiles) -> TraceOptions | None:
    """What the processes of a run record, and where.

    Raises:
        OSError: The directory cannot be made.
    """
    asked = experiment.tracing
    if asked.level == OFF:
        return None
    directory.traces.mkdir()
    return TraceOptions(directory.traces, **asked._asdict())


def judged(directory: RunDirectory) -> Judgement | None:
    """What the history of a run says of it; None if there is none."""
    if not (directory.path / HISTORY).exists():
        return None
    with open_history(directory.path) as history, open_oracle(directory.path) as oracle:
        verdicts = judge(history)
        findings = find(history, sound(oracle)) if is_whole(verdicts) else ()
    reasons = [one.reason for one in verdicts if one.outcome is not Outcome.VALID]
    return Judgement(
        outcome=overall(verdicts).value,
        reasons=list(dict.fromkeys(reasons)),
        findings=[in_a_line(finding) for finding in findings],
    )


def write_history(directory: RunFiles) -> str | None:
    """Merges the traces of a run, whose processes have ended, into its history.

    Returns:
        Why that failed, if it did; the traces are kept then.
    """
    if (directory.traces / file_name(PROGRAM)).exists():
        try:
            merge(directory.traces, directory.path)
        except (ProtocolError, OSError) as error:
            return f"no history of the run was written: {error}"
    shutil.rmtree(directory.traces, ignore_errors=True)
    return None
