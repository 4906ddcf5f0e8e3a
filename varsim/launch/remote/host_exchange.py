"""Serve a host's end of an exchange between hosts, in the agent of the host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import zmq

from varsim.errors import ProtocolError
from varsim.exchange.between_hosts import BetweenHosts, HostEnd, HostMessage, HostPlace
from varsim.exchange.exchange import EXCHANGES
from varsim.launch.remote.routes import free_port_towards
from varsim.launch.rendezvous import Rendezvous
from varsim.transport.link_times import stretch_of


def join_exchange(rendezvous: Rendezvous, place: Sequence[Any], coordinator: str) -> HostEnd:
    """Return this host's end of the exchange of a cluster.

    Args:
        place: The number of this host, the number of hosts, and the exchange's settings.
        coordinator: The endpoint of the coordinator, as tcp://ADDRESS:PORT.
    Raises:
        StartError: The host does not provide what the exchange needs.
        ConfigError: The exchange cannot be imported, or an environment variable is wrong.
        OSError: The address of this host is not known.
    """
    exchange = EXCHANGES.make(rendezvous.exchange)
    if not isinstance(exchange, BetweenHosts):
        raise ProtocolError(f"the exchange {rendezvous.exchange!r} has no ends on hosts")
    options = rendezvous.options
    host, num_hosts, settings = place
    return exchange.join_host(
        HostPlace(
            host=host,
            num_hosts=num_hosts,
            replica_ids=range(*rendezvous.replica_ids),
            num_replicas=len(options.devices),
            endpoint=free_port_towards(coordinator),
            link_loss_s=options.link_loss_s,
            settings=settings,
            stretch=stretch_of(options.start_timeout_s),
        )
    )


class HostExchange:
    """A host's end of an exchange, and the agent's connection to the coordinator's end.

    Args:
        poller: The poller of the agent, in which the sockets of the end are registered.
        send: Sends a message to the coordinator's end.
    """

    def __init__(
        self, end: HostEnd, poller: zmq.Poller, send: Callable[[HostMessage], None]
    ) -> None:
        self._end = end
        self._poller = poller
        self._send = send
        self._polled: set[Any] = set()

    def take(self, message: HostMessage) -> None:
        """Give the end a message of the coordinator's end, and send its answers.

        Raises:
            ProtocolError: The message is malformed.
        """
        self._send_all(self._end.take(message))

    def serve(self) -> None:
        """Let the end handle what has arrived, and poll its sockets."""
        self._send_all(self._end.serve())
        self._poll(self._end.sockets)

    def _send_all(self, messages: Sequence[HostMessage]) -> None:
        for one in messages:
            self._send(one)

    def _poll(self, sockets: Sequence[Any]) -> None:
        wanted = set(sockets)
        for one in self._polled - wanted:
            self._poller.unregister(one)
        for one in wanted - self._polled:
            self._poller.register(one, zmq.POLLIN)
        self._polled = wanted

    def close(self) -> None:
        """Close the end."""
        self._poll(())
        self._end.close()
