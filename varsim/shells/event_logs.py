"""Write the events of a state to a file, for `varsim.testing.replay`."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO

from varsim import environment
from varsim.private import private_opener
from varsim.sync.event_log import SHOWN_EVENTS, EventLog, LoggedEvent

SUFFIX = ".events"


class EventFile(EventLog):
    """Writes each entry of an event log to a file immediately, because the process may be killed.

    Args:
        state: The name of the state's class.
        parameters: The constructor's arguments that a replay needs.
    """

    def __init__(self, folder: Path, state: str, **parameters: Any) -> None:
        super().__init__()
        number = sum(1 for _ in folder.glob(f"{state}-{os.getpid()}-*"))
        path = folder / f"{state}-{os.getpid()}-{number}{SUFFIX}"
        descriptor = private_opener(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._file.write(pickle.dumps((state, parameters)))

    def note(self, entry: LoggedEvent) -> None:
        """Write an entry to the file, and keep the last entries for the text of an error."""
        super().note(entry)
        del self.entries[:-SHOWN_EVENTS]
        if not self._file.closed:
            self._file.write(pickle.dumps(entry))

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._file.close()


def open_event_log(state: str, **parameters: Any) -> EventFile | None:
    """Return an event log if VARSIM_EVENT_LOGS names a folder; else None."""
    folder = environment.text(environment.EVENT_LOGS)
    return EventFile(Path(folder), state, **parameters) if folder else None
