"""The names of what varsim writes into the folder of a run or a sweep."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from varsim.experiments.carried_program import ORIGIN, PROGRAM
from varsim.experiments.metric_series import METRICS
from varsim.experiments.store import (
    CHECKPOINTS,
    EXPERIMENT,
    INCARNATION,
    LOGS,
    PILOT,
    POINTS,
    REPORT,
    STRATEGY,
    SUMMARY,
    SWEEP,
    SWEEP_FILE,
    TAG,
    TRACES,
)
from varsim.tracing.crash_safe_log import tail_of
from varsim.tracing.history import HISTORY, ORACLE
from varsim.tracing.served_record import record_files

RECORDS: Final = frozenset({HISTORY, SUMMARY, EXPERIMENT, METRICS, SWEEP, SWEEP_FILE})
"""The files that no other output may replace."""

_FILES: Final = RECORDS | {ORIGIN, INCARNATION, TAG, REPORT}
_FOLDERS: Final = frozenset({LOGS, TRACES, CHECKPOINTS, PROGRAM})
_LIKE_RUNS: Final = re.compile(rf"{ORACLE}|{PILOT}|{STRATEGY}\d+")
"""The names of folders that have the files of a run."""

_UNFINISHED: Final = re.compile(r"\.(.+?)(\.unfinished)?|(.+)-(?:journal|wal|shm)")
"""The names of files that are being written, with the names that they get."""


def foreign_files(folder: Path) -> list[str]:
    """Return what varsim did not write into the folder of a run or a sweep, such as notes.

    Folders whose files have any names, such as `logs`, are not looked into.
    """
    return sorted(_foreign(folder, ""))


def _foreign(folder: Path, prefix: str) -> Iterator[str]:
    servers = {one.name for log in record_files(folder) for one in (log, tail_of(log))}
    for entry in os.scandir(folder):
        name, is_folder = entry.name, entry.is_dir(follow_symlinks=False)
        if is_folder and _LIKE_RUNS.fullmatch(name):
            yield from _foreign(Path(entry.path), f"{prefix}{name}/")
        elif is_folder and name == POINTS:
            yield from _beside_points(Path(entry.path), f"{prefix}{name}/")
        elif is_folder:
            if name not in _FOLDERS:
                yield f"{prefix}{name}/"
        elif _finished(name) not in _FILES and name not in servers:
            yield f"{prefix}{name}"


def _beside_points(folder: Path, prefix: str) -> Iterator[str]:
    """Yield what is foreign in the folder of a sweep's points; each point is a run."""
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from _foreign(Path(entry.path), f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}"


def _finished(name: str) -> str:
    found = _UNFINISHED.fullmatch(name)
    return name if found is None else found[1] or found[3]
