"""Open a port of the loopback interface to which only the workers of one cluster can connect.

libzmq accepts every connection, as long as the process has descriptors. So any user of the machine
could open connections until the program cannot open a file any more. Workers must be able to
connect again at any time, so the port stays open, and a filter of the system drops the packets of
other senders. Each worker has a separate address on the loopback interface, and connects from a
port with the same number as this port. One address and port can have only one connection at a time.
So there are never more connections than workers.
"""

from __future__ import annotations

import ctypes
import os
import random
import socket
import struct
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from typing import Final

_LOOPBACK: Final = "127.0.0.1"
_FIRST, _LAST = int(IPv4Address("127.1.0.0")), int(IPv4Address("127.254.0.0"))
"""The range of the workers' addresses. Linux accepts all of them on the loopback interface."""

_SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h

Instruction = tuple[int, int, int, int]
"""Of the Berkeley Packet Filter: code, two jumps, and a number."""

LOAD_SOURCE_ADDRESS: Final = (0x20, 0, 0, 0xFFF00000 + 12)  # SKF_NET_OFF + 12, of an IPv4 header
ACCEPT: Final = (0x06, 0, 0, 0xFFFFFFFF)
DROP: Final = (0x06, 0, 0, 0)


def attach_filter(filtered: socket.socket, instructions: Sequence[Instruction]) -> None:
    """Have the system filter the packets to a socket, and to its later connections.

    Raises:
        OSError: There are too many instructions.
    """
    if sys.platform != "linux":
        return
    packed = b"".join(struct.pack("HBBI", *one) for one in instructions)
    program = ctypes.create_string_buffer(packed, len(packed))
    described = struct.pack("HP", len(instructions), ctypes.addressof(program))
    filtered.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, described)


class ListeningPort:
    """An open port. Its socket has two descriptors: one of this object, and one of libzmq.

    Args:
        num_workers: The number of workers that can connect.
    """

    def __init__(self, num_workers: int) -> None:
        self._socket = socket.create_server((_LOOPBACK, 0), backlog=socket.SOMAXCONN)
        self._socket.setblocking(False)
        self._port = self._socket.getsockname()[1]
        self._first = random.SystemRandom().randrange(_FIRST, _LAST)
        try:
            self._drop_others(num_workers)
        except OSError:
            self._socket.close()
            raise

    @property
    def endpoint(self) -> str:
        """Return the endpoint in ZeroMQ's form."""
        return f"tcp://{_LOOPBACK}:{self._port}"

    def endpoint_of(self, worker: int) -> str:
        """Return the endpoint to which a worker connects.

        On Linux, the endpoint also has the address from which this worker connects.
        """
        if sys.platform != "linux":
            return self.endpoint
        return f"tcp://{IPv4Address(self._first + worker)}:{self._port};{_LOOPBACK}:{self._port}"

    def for_libzmq(self) -> int:
        """Return a second descriptor of the socket. libzmq closes this descriptor."""
        return os.dup(self._socket.fileno())

    def _drop_others(self, num_workers: int) -> None:
        """Have the system drop packets that do not come from the address and port of a worker."""
        instructions = (
            (0x28, 0, 0, 0),  # load the port of the sender
            (0x15, 0, 4, self._port),  # if the port is not this one, drop the packet
            LOAD_SOURCE_ADDRESS,
            (0x14, 0, 0, self._first),  # subtract the first address
            (0x35, 1, 0, num_workers),  # if the difference is not below this, drop the packet
            ACCEPT,
            DROP,
        )
        attach_filter(self._socket, instructions)

    def close(self) -> None:
        """Close this object's descriptor."""
        self._socket.close()
