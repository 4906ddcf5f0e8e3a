"""Follow the connections of a DEALER socket: libzmq ends and makes connections by itself."""

from __future__ import annotations

import struct
from typing import Final

import zmq

_EVENTS: Final = zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED

EVENT: Final = struct.Struct("=Hi")
"""The first frame of a monitor's message, as libzmq documents it: event and value. The module
`zmq.utils.monitor` decodes it, too, but imports asyncio, which every process would load."""


class ConnectionWatch:
    """The state of a socket's TCP connection, as of the last `update`.

    The connection exists as soon as the other system has accepted it. It may take longer until
    envelopes can be sent: the coordinator accepts keys only while it waits for messages.
    """

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        """Follow a socket that does not connect yet."""
        self._socket = socket
        self._monitor = socket.get_monitor_socket(_EVENTS)
        self.descriptor: int | None = None
        """The connection's descriptor, which belongs to libzmq; None if there is no connection."""
        self.connections = 0
        """The number of connections that were made."""

    def update(self) -> None:
        """Read what has happened since the last call."""
        while self._monitor.poll(0):
            event, value = EVENT.unpack(self._monitor.recv_multipart()[0])
            is_connected = event == zmq.EVENT_CONNECTED
            self.descriptor = value if is_connected else None
            self.connections += is_connected

    def forget(self) -> None:
        """Record that the caller has ended the connection; libzmq does not report this."""
        self.update()
        self.descriptor = None

    def close(self) -> None:
        """Stop following the socket."""
        self._socket.disable_monitor()
        self._monitor.close()
