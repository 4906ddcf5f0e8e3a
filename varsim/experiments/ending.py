"""How a run ended, from its summary: the record does not show it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from varsim.analysis.failures import DONE, Ending
from varsim.analysis.findings.found import times
from varsim.analysis.returned import Returned, compare_returned
from varsim.errors import ConfigError
from varsim.experiments.store import SUMMARY, load_summary
from varsim.report.summary import Phase, RunStatus, Summary

_AFTER_IT: Final = {
    part.value for part in (Phase.MERGING, Phase.ORACLE, Phase.JUDGING, Phase.WRITING)
}
"""The parts after the program has ended: an interrupt there does not shorten the program."""


def ending_of(summary: Summary) -> Ending:
    """How a run ended."""
    failure = summary.failure
    ended = summary.status is RunStatus.INTERRUPTED and _AFTER_IT.issuperset(summary.interrupted)
    return Ending(
        status=DONE if ended and summary.interrupted else summary.status.value,
        reached=_reached(summary),
        kind="" if failure is None else failure.kind,
        text="" if failure is None else failure.text,
        place="" if failure is None else failure.place,
        returned=_returned(summary),
    )


def _reached(summary: Summary) -> str:
    if summary.total_steps is not None:
        return f"after {summary.step:,} of {times(summary.total_steps, 'step')}"
    if summary.step:
        return f"after {times(summary.step, 'step')}"
    return f"after {times(summary.calls, 'call')}"


def _returned(summary: Summary) -> tuple[Returned, ...]:
    if summary.oracle_result is None:
        return ()
    return compare_returned(summary.result, summary.oracle_result)


def summary_beside(record: Path) -> Summary | None:
    """The summary of the run whose directory or history this is; None if it has none."""
    folder = record if record.is_dir() else record.parent
    if not (folder / SUMMARY).is_file():
        return None
    try:
        return load_summary(folder)
    except ConfigError:  # another version wrote it: then it is not known how the run ended
        return None
