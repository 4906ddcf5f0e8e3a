"""Remember which version of each served variable a closure has read, for its next write.

A write tells the server this version. So the server, and the record, know whether other writes
arrived between the read and the write of one closure.
"""

from __future__ import annotations

from varsim.spec import Operation
from varsim.sync.server_state import NOT_READ


class ReadVersions:
    """The versions that one client has read in the running closure, or in the program.

    The program has no closures, so only its last operation counts: a read of the program belongs
    to a write only if nothing else happens between them, as in `v.assign(v + 1)`.
    """

    def __init__(self) -> None:
        self.closure_id = 0
        """The running closure; 0 for the program."""
        self._versions: dict[int, int] = {}

    def begin(self, closure_id: int) -> None:
        """Begin a closure, or another operation of the program."""
        self.closure_id = closure_id
        self._versions.clear()

    def read(self, variable_id: int, version: int) -> None:
        """Record a read."""
        if not self.closure_id:
            self._versions.clear()
        self._versions[variable_id] = version

    def of(self, variable_id: int) -> int:
        """Return the version that a write is based on; NOT_READ if the variable was not read."""
        return self._versions.get(variable_id, NOT_READ)

    def wrote(self, variable_id: int, operation: Operation, version: int) -> None:
        """Record that a write made a version.

        After an assign the closure knows the new value. After another write it knows the value only
        if no other write arrived since its read.
        """
        if not self.closure_id:
            self._versions.clear()
        elif operation is Operation.ASSIGN or self.of(variable_id) == version - 1:
            self._versions[variable_id] = version
