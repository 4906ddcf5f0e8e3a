"""Remedies for files of a run that cannot be used."""

from __future__ import annotations

from typing import Final

HISTORY_REMEDY: Final = (
    "the file was damaged or changed after the run: restore it from a copy, or run the experiment "
    "again"
)
"""The remedy for a history whose traces do not exist any more."""

HISTORY_WITH_TRACES_REMEDY: Final = (
    "the file was damaged or changed after the run: remove it, and `varsim check` merges the "
    "traces again"
)
"""The remedy for a history beside the traces from which it was merged."""

JUDGE: Final = (
    "`varsim check` judges the events before it; the file was changed after the run, or varsim has "
    "a fault"
)
"""The remedy for a row that has the right types, and contradicts other rows."""

CHANGED: Final = "the file was changed while it was read"
CHANGED_REMEDY: Final = "wait until the other program has ended, and repeat the command"

TRACE_REMEDY: Final = (
    "the file was damaged or changed after the run, or another version of varsim wrote it: run the "
    "experiment again"
)

OTHERS_LOG: Final = "it belongs to another user, or another user can write it"
OTHERS_LOG_REMEDY: Final = (
    "reading an event log can execute code that is in it: if you trust its origin, copy it and "
    "remove the permission of others to write it (chmod go-w)"
)

TEXT_REMEDY: Final = "restore the file from a copy, or correct it in an editor"

JSON_REMEDY: Final = (
    "the file was damaged or changed after it was written: restore it from a copy, or {command} "
    "again"
)
