"""Accept connections of hosts that join a cluster; all of them have one key.

The hosts are not known before they connect. So each connection has a routing id of its own, which
begins with `host-`, and gets the next number. The number of hosts is limited.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Final

import zmq

from varsim.protocol.limits import Buffer
from varsim.transport.keys import AllowList, KeyPair
from varsim.transport.reliable import ReliableConnection, ReliableListener
from varsim.transport.sockets import DealerConnection, DealerKeys, Router

MOST_HOSTS: Final = 1024
"""Largest number of connections that one listener accepts, also of hosts that are not needed."""

_PREFIX: Final = b"host-"


class _JoiningListener:
    """The coordinator's end of the connections to hosts, without link states."""

    def __init__(self, endpoint: str, own: KeyPair, member: KeyPair, stretch: float) -> None:
        self._numbers: dict[bytes, int] = {}
        self._names: list[bytes] = []  # the routing ids, by number
        with ExitStack() as stack:
            context = zmq.Context[zmq.Socket[bytes]]()
            stack.callback(context.term)
            self._allow_list = AllowList(context, {member.public: _PREFIX + b"*"})
            stack.callback(self._allow_list.close)
            self._router = Router(context, endpoint, own, stretch=stretch)
            stack.callback(self._router.close)
            self._stack = stack.pop_all()
        self.endpoint = self._router.endpoint
        self.sockets = (*self._router.sockets, self._allow_list.socket)
        self.addresses = ()
        self.close = self._stack.close

    def send(self, number: int, frames: Sequence[Buffer]) -> bool:
        """Send an envelope without waiting; return False if the host is not connected."""
        return number < len(self._names) and self._router.send(self._names[number], frames)

    def admit_only_known(self) -> None:
        """Accept new connections only from the addresses of hosts that have connected."""
        self._router.admit_only(self._allow_list.addresses)

    def drain(self) -> list[tuple[int, list[Buffer]]]:
        """Return the received envelopes, each with the number of its host."""
        self._allow_list.answer()
        envelopes = []
        for sender, frames in self._router.drain():
            if sender not in self._numbers and len(self._numbers) < MOST_HOSTS:
                self._numbers[sender] = len(self._names)
                self._names.append(sender)
            if sender in self._numbers:
                envelopes.append((self._numbers[sender], frames))
        return envelopes


class HostListener(ReliableListener):
    """The coordinator's end of the links to the hosts of a cluster."""

    def __init__(
        self, endpoint: str, own: KeyPair, member: KeyPair, link_loss_s: float, stretch: float = 1.0
    ) -> None:
        """Bind the socket.

        Args:
            endpoint: Such as "tcp://203.0.113.1:*", with "*" for any free port.
            own: The keys of the coordinator.
            member: The keys of all hosts.
            link_loss_s: After so many seconds without a connection, a link is lost.
            stretch: See `link_times`.
        Raises:
            zmq.ZMQError: The endpoint cannot be bound.
        """
        listener = _JoiningListener(endpoint, own, member, stretch)
        super().__init__(listener, MOST_HOSTS, link_loss_s)
        self.endpoint = listener.endpoint


def connect_host(
    endpoint: str, keys: DealerKeys, link_loss_s: float, stretch: float
) -> ReliableConnection:
    """Return a host's end of its link to a coordinator; it starts to connect."""
    name = _PREFIX + secrets.token_hex(8).encode()
    return ReliableConnection(DealerConnection(endpoint, name, keys, stretch), link_loss_s)
