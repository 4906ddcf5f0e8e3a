"""Limit what connections of strangers to a public port cost.

libzmq accepts every connection, and gives it the time of a handshake to show a key. So whoever
reaches the port could open connections until the program has no descriptors left. Two limits:

- At most `MOST_STRANGERS` connections have not shown a key. The oldest ones of more are ended. A
  peer with a key is ended only if so many others connect while it shows the key, and then it
  connects again.
- As soon as all peers are there, the system drops the packets of all other addresses, so that their
  connections cost this process nothing, also while the program does not use its listener.
"""

from __future__ import annotations

import os
import socket as system_socket
from collections.abc import Collection
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Final

import zmq

from varsim.transport.connection_watch import EVENT
from varsim.transport.listening_port import ACCEPT, DROP, LOAD_SOURCE_ADDRESS, attach_filter

MOST_STRANGERS: Final = 256
"""Largest number of connections that have not shown a key. A handshake takes a few round trips, so
hosts and workers that start together need few at a time."""

_MOST_EVENTS: Final = 1000  # that one `update` reads
_EVENTS: Final = zmq.EVENT_LISTENING | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_POLLIN: Final = int(zmq.POLLIN)
_ADDRESS: Final = "inproc://strangers"


class Strangers:
    """The connections of a listening socket over which nothing of a peer with a key has arrived."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], socket: zmq.Socket[bytes]) -> None:
        """Follow the connections of a socket that is not bound yet."""
        self._watched = socket
        address = f"{_ADDRESS}-{id(socket)}"
        socket.monitor(address, _EVENTS)
        self.socket = context.socket(zmq.PAIR)
        # Without a limit, because libzmq's thread would wait for room.
        self.socket.rcvhwm = 0
        self.socket.linger = 0
        self.socket.connect(address)
        self._listening: system_socket.socket | None = None
        self._descriptors: dict[int, None] = {}  # of the connections, the oldest one first

    def __len__(self) -> int:
        return len(self._descriptors)

    def update(self) -> None:
        """Take note of new and ended connections; end the oldest ones if there are too many."""
        for _ in range(_MOST_EVENTS):
            if not int(self.socket.getsockopt(zmq.EVENTS)) & _POLLIN:
                break
            event, descriptor = EVENT.unpack(self.socket.recv_multipart()[0])
            if event == zmq.EVENT_LISTENING:
                self._listening = system_socket.socket(fileno=os.dup(descriptor))
            elif event == zmq.EVENT_ACCEPTED:
                self._descriptors.pop(descriptor, None)
                self._descriptors[descriptor] = None
            else:
                self._descriptors.pop(descriptor, None)
        while len(self._descriptors) > MOST_STRANGERS:
            oldest = next(iter(self._descriptors))
            del self._descriptors[oldest]
            self._end(oldest)

    def recognise(self, frame: zmq.Frame) -> None:
        """Record that a frame of a peer with a key has arrived."""
        self._descriptors.pop(int(frame.get("__fd")), None)

    def _end(self, descriptor: int) -> None:
        """End a connection of the socket.

        Its descriptor belongs to libzmq, which may have closed it, so that it can be that of
        another file now. A copy of the descriptor stays that of one file, which can be checked.
        """
        with suppress(OSError), system_socket.socket(fileno=os.dup(descriptor)) as connection:
            if self._listening and connection.getsockname() == self._listening.getsockname():
                connection.shutdown(system_socket.SHUT_RDWR)

    def admit_only(self, addresses: Collection[str]) -> None:
        """Have the system drop packets that come from none of some addresses of IPv4.

        Where the system has no such filter, nothing changes.
        """
        self.update()
        if self._listening is None or self._listening.family != system_socket.AF_INET:
            return
        tests = [
            one
            for address in sorted(addresses)
            for one in ((0x15, 0, 1, int(IPv4Address(address))), ACCEPT)  # if it is this one
        ]
        with suppress(OSError):  # an old system allows fewer instructions
            attach_filter(self._listening, [LOAD_SOURCE_ADDRESS, *tests, DROP])

    def close(self) -> None:
        """Stop following the socket."""
        if self._listening is not None:
            self._listening.close()
        self._watched.disable_monitor()
        self.socket.close()
