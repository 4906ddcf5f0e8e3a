"""How a run ended, as its summary tells: what its record alone does not."""

from __future__ import annotations

from pathlib import Path

from varsim.analysis.failures import Ending
from varsim.analysis.returned import Returned, compare_returned
from varsim.errors import ConfigError
from varsim.experiments.store import SUMMARY, load_summary
from varsim.report.summary import Summary


def ending_of(summary: Summary) -> Ending:
    """How a run ended."""
    of_all = "" if summary.total_steps is None else f" of {summary.total_steps:,}"
    failure = summary.failure
    return Ending(
        status=summary.status.value,
        reached=f"after {summary.step:,}{of_all} steps",
        kind="" if failure is None else failure.kind,
        text="" if failure is None else failure.text,
        place="" if failure is None else failure.place,
        returned=_returned(summary),
    )


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
