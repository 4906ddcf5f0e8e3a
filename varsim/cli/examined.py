"""Judge the history of a record for a command: examine it, and try what its findings propose."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from varsim.analysis.examination import Examination
    from varsim.experiments.run_records import RunRecord
    from varsim.tracing.history import History


def examined_history(
    history: History, oracle: History | None, record: RunRecord, *, tries: bool = True
) -> Examination:
    """Return the findings and verdicts of a history; stderr shows the progress.

    Args:
        tries: Whether to replay the history with the settings that findings propose.
    """
    from varsim.analysis.examination import examine
    from varsim.cli.progress import PHASE_TITLES, REPLAYING, telling
    from varsim.report.summary import Phase

    no_oracle = _no_oracle(record)
    with telling(PHASE_TITLES[Phase.JUDGING]) as tell:
        found = examine(history, oracle, ending=record.ending, no_oracle=no_oracle, tell=tell)
    if not tries or not any(one.settings for one in found.findings):
        return found
    from varsim.whatif.remedies import tried

    with telling(REPLAYING) as tell:
        findings, notes = tried(history, oracle, found.findings, tell)
    return replace(found, findings=findings, not_looked_at=(*found.not_looked_at, *notes))


def _no_oracle(record: RunRecord) -> str:
    """Return why a requested oracle is missing; "" if none was requested, or if there is one."""
    from varsim.cli.record import oracle_again
    from varsim.tracing.history import oracle_problem

    summary = record.summary
    if summary is not None and summary.no_oracle:
        return summary.no_oracle
    requested = summary is not None and bool(summary.experiment.get("oracle"))
    problem = oracle_problem(record.path, requested=requested)
    return f"{problem}; {oracle_again(record.path)}" if problem else ""
