"""Sentences about results of a run that could not be written or judged, with the remedy."""

from __future__ import annotations

from typing import Final

_ROOM: Final = "Free space there, or raise the limit of file sizes (ulimit -f)."

NOT_ENDED: Final = (
    "{run} cannot be exported: the run has not ended, or another command is merging its record. "
    "Export it after its end."
)
WITHOUT_SUMMARY: Final = (
    "{run} has no {summary}, because the run was killed or could not write the file; the archive "
    "has its experiment, and the record as far as it was written"
)
WITHOUT_RECORD: Final = "there is no record, because it could not be merged: {problem}"


METRICS_LEFT: Final = (
    "the metric series of {run} are continued with {found} of the {lines} lines that it had "
    "written before the checkpoint: {why}"
)


def metrics_not_written(directory: str, why: object) -> str:
    """Return the sentence about metrics that could not be written."""
    return (
        f"the metrics that the program logged were not written into {directory}: {why}\n"
        f"  The file has the metrics before. {_ROOM}"
    )


def summary_not_written(directory: str, why: object, *, earlier: bool) -> str:
    """Return the sentence about a summary.

    Args:
        earlier: Whether a summary was written when the program had ended.
    """
    left = (
        "summary.json has the measurements, but not the verdict."
        if earlier
        else "The report above is the only copy of the measurements."
    )
    return f"the summary of the run was not written into {directory}: {why}\n  {left} {_ROOM}"


def history_not_written(directory: str, why: object) -> str:
    """Return the sentence about a history; the traces are kept."""
    return (
        f"the history of the run was not written into {directory}: {why}\n"
        f"  {_ROOM} The traces are kept, and `varsim check {directory}` merges and judges them."
    )


def not_judged(directory: str, why: object) -> str:
    """Return the sentence about a history that was written, but could not be judged."""
    return (
        f"the history of the run in {directory} was not judged: {why}\n"
        f"  If a folder for temporary files is full, free space there, or set TMPDIR. "
        f"`varsim check {directory}` judges the history."
    )
