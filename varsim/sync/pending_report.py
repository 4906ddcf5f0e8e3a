"""Collect the report that a replica sends to the coordinator when its next call ends."""

from __future__ import annotations

from typing import Final

from varsim.protocol.messages import Report
from varsim.sync.components import ReplicaVariable

MAX_WARNINGS: Final = 256
"""Largest number of warnings in a report. Further warnings are in the next report."""


class PendingReport:
    """Collects reads, writes, output and warnings since the replica's last report."""

    def __init__(self) -> None:
        self.touched: dict[int, ReplicaVariable] = {}
        """variable_id → variable that this replica has read, or has written locally."""
        self._warnings: list[tuple[str, str]] = []
        self._output = ""

    def warn(self, text: str, location: str) -> None:
        """Add a warning for the program."""
        self._warnings.append((text, location))

    def add(self, output: str, warnings: tuple[tuple[str, str], ...]) -> None:
        """Add a function's output, and the warnings about the function."""
        self._output += output
        self._warnings += warnings

    def forget(self, variable_id: int) -> None:
        """Remove a variable that the program has dropped."""
        self.touched.pop(variable_id, None)

    def take(self) -> Report:
        """Return the report, and start a new one."""
        report = Report(
            accesses=tuple([(i, one.writes, one.reads) for i, one in self.touched.items()]),
            diverged=tuple([i for i, one in self.touched.items() if one.diverged]),
            warnings=tuple(self._warnings[:MAX_WARNINGS]),
            output=self._output,
        )
        for variable in self.touched.values():
            variable.writes = variable.reads = 0
            variable.diverged = False
        self.touched.clear()
        del self._warnings[:MAX_WARNINGS]
        self._output = ""
        return report
