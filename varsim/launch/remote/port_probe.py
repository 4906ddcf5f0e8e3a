"""Ask whether a program still listens at an address, without waiting for the answer."""

from __future__ import annotations

import errno
import select
import socket
import time
from typing import Final

from varsim.launch.remote.routes import family_of, host_and_port

ATTEMPT_S: Final = 1.0
"""An attempt without an answer for so many seconds is repeated: its packets may be lost."""


class PortProbe:
    """Attempts to connect to an endpoint, one after the other.

    No call waits: the caller also counts the time without a connection, and a call that waits for
    a host behind a cut would stop this.
    """

    def __init__(self, endpoint: str, stretch: float = 1.0) -> None:
        """Set the endpoint; connect to nothing.

        Args:
            endpoint: As tcp://ADDRESS:PORT.
            stretch: Of the time of an attempt; see `varsim.transport.link_times`.
        """
        self.endpoint = endpoint
        self._attempt_s = ATTEMPT_S * stretch
        self._host, self._port = host_and_port(endpoint)
        self._attempt: socket.socket | None = None
        self._until_s = 0.0

    def is_refused(self) -> bool:
        """Return whether the system has answered since the last call that nothing listens there."""
        code = self._begin() if self._attempt is None else self._progress()
        if code == errno.EINPROGRESS and time.monotonic() < self._until_s:
            return False
        self.close()
        return code == errno.ECONNREFUSED

    def close(self) -> None:
        """End the attempt."""
        if self._attempt is not None:
            self._attempt.close()
            self._attempt = None

    def _begin(self) -> int:
        """Start an attempt; return its state as a number of `errno`."""
        self._attempt = socket.socket(family_of(self._host), socket.SOCK_STREAM)
        self._attempt.setblocking(False)
        self._until_s = time.monotonic() + self._attempt_s
        try:
            return self._attempt.connect_ex((self._host, self._port))
        except OSError:  # the name of the host is not known any more
            return errno.EHOSTUNREACH

    def _progress(self) -> int:
        assert self._attempt is not None
        if not select.select([], [self._attempt], [], 0)[1]:
            return errno.EINPROGRESS
        return self._attempt.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
