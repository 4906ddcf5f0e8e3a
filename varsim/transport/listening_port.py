"""Open a port of the loopback interface that can stop accepting connections.

libzmq accepts every connection, as long as the process has descriptors. So any user of the machine
could open connections until the program cannot open a file any more. `unbind` does not help,
because it also closes the connections that the port has accepted.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from typing import Final

_LOOPBACK: Final = "127.0.0.1"
_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
_DROP: Final = struct.pack("HBBI", 0x06, 0, 0, 0)  # the BPF program "return 0"


class ListeningPort:
    """A free port. Its socket has two descriptors: one of this object, and one of libzmq."""

    def __init__(self) -> None:
        """Open the port."""
        self._socket = socket.create_server((_LOOPBACK, 0), backlog=socket.SOMAXCONN)
        self._socket.setblocking(False)

    @property
    def endpoint(self) -> str:
        """Return the endpoint in ZeroMQ's form."""
        return f"tcp://{_LOOPBACK}:{self._socket.getsockname()[1]}"

    def for_libzmq(self) -> int:
        """Return another descriptor of the socket, which libzmq closes."""
        return os.dup(self._socket.fileno())

    def stop_accepting(self) -> None:
        """Have the system drop requests for new connections; do nothing if it is not Linux."""
        if sys.platform != "linux":
            return
        program = ctypes.create_string_buffer(_DROP, len(_DROP))
        described = struct.pack("HP", 1, ctypes.addressof(program))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)

    def close(self) -> None:
        """Close this object's descriptor."""
        self._socket.close()
