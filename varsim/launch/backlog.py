"""Limit the bytes that are sent to a worker that does not receive them."""

from __future__ import annotations

from collections import deque
from typing import Final

from varsim.errors import ProtocolError

ASK_BYTES: Final = 16 * 2**20
"""After this many bytes, a worker is asked to acknowledge the bytes.

With small variables, such a request is sent once in thousands of steps.
"""

MAX_BACKLOG_BYTES: Final = 256 * 2**20
"""If a worker has more unacknowledged bytes than this, the program waits.

These bytes are in this process, in the sockets, or in shared memory that the worker has not
released.
"""


class Backlog:
    """Counts the bytes that each worker has not acknowledged."""

    def __init__(self, num_replicas: int) -> None:
        self.full: set[int] = set()
        """The replicas whose workers must acknowledge bytes before the program continues."""
        self.due: set[int] = set()
        """The replicas whose next envelopes must request an acknowledgement."""
        self._since = [0] * num_replicas  # bytes since the last request
        self._asked = [deque[tuple[int, int]]() for _ in range(num_replicas)]
        """For each replica, its unanswered requests: (number, bytes since the previous request)."""
        self._bytes = [0] * num_replicas  # for each replica, the total bytes of these requests
        self._requests = 0

    def sent(self, replica_id: int, size_bytes: int) -> None:
        """Count the bytes of a sent envelope."""
        since = self._since[replica_id] + size_bytes
        self._since[replica_id] = since
        if since >= ASK_BYTES:
            self.due.add(replica_id)

    def ask(self, replica_id: int) -> int:
        """Return the number of a request, which the caller adds to the next envelope."""
        self.due.discard(replica_id)
        self._requests += 1
        self._asked[replica_id].append((self._requests, self._since[replica_id]))
        self._bytes[replica_id] += self._since[replica_id]
        self._since[replica_id] = 0
        if self._bytes[replica_id] > MAX_BACKLOG_BYTES:
            self.full.add(replica_id)
        return self._requests

    def acknowledged(self, replica_id: int, number: int) -> None:
        """Record that a worker has received all messages before a request.

        Raises:
            ProtocolError: `number` is not the number of the oldest unanswered request.
        """
        asked = self._asked[replica_id]
        if not asked or asked[0][0] != number:
            raise ProtocolError(f"there is no request {number} to acknowledge")
        self._bytes[replica_id] -= asked.popleft()[1]
        if self._bytes[replica_id] <= MAX_BACKLOG_BYTES:
            self.full.discard(replica_id)

    def bytes_of(self, replica_id: int) -> int:
        """Return the number of bytes that a worker has not acknowledged."""
        return self._bytes[replica_id] + self._since[replica_id]

    def lose(self, replica_id: int) -> None:
        """Record that a worker has died; nothing is sent to it any more."""
        self._asked[replica_id].clear()
        self._bytes[replica_id] = 0
        self.full.discard(replica_id)
