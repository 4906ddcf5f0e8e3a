"""Connections of strangers to a public port: few are kept, and peers with keys connect anyway."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from tests.waiting import MS, wait_for
from varsim.transport import strangers
from varsim.transport.keys import KeyPair
from varsim.transport.sockets import (
    DealerConnection,
    DealerKeys,
    RouterListener,
    ServerKeys,
    routing_id,
)

MOST, RAW = 10, 60
OWN, WORKER = KeyPair.generate(), KeyPair.generate()


@pytest.fixture
def listener() -> Iterator[RouterListener]:
    with closing(RouterListener("tcp://127.0.0.1:*", 1, ServerKeys(OWN, [WORKER]))) as made:
        yield made


def connect_raw(listener: RouterListener, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection that sends nothing."""
    address, _, port = listener.endpoint.removeprefix("tcp://").rpartition(":")
    return socket.create_connection((address, int(port)), 200 * MS, source_address=(source, 0))


def has_ended(connection: socket.socket) -> bool:
    connection.setblocking(False)
    with suppress(BlockingIOError):
        return connection.recv(2**10) == b"" or has_ended(connection)  # after the greeting
    return False


def exchange(listener: RouterListener, dealer: DealerConnection) -> None:
    """Wait until an envelope of the worker has arrived."""
    arrived: list[object] = []

    def came() -> bool:
        arrived.extend(listener.drain())
        return bool(arrived)

    wait_for(lambda: (listener.drain(), dealer.sockets[0].poll(1, 2))[1])
    dealer.send([b"here"])
    wait_for(came)
    assert [(0, [b"here"])] == arrived


def test_the_oldest_strangers_are_ended_and_a_worker_connects(
    listener: RouterListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers, "MOST_STRANGERS", MOST)
    with ExitStack() as stack:
        keys = DealerKeys(WORKER, OWN.public)
        known = DealerConnection(listener.endpoint, routing_id(0), keys)
        stack.callback(known.close, 0.0)
        exchange(listener, known)

        raw = [stack.enter_context(connect_raw(listener)) for _ in range(RAW)]

        def num_open() -> int:
            listener.drain()
            return sum(not has_ended(one) for one in raw)

        wait_for(lambda: num_open() == MOST)
        assert not any(map(has_ended, raw[-MOST:])), "the newest ones have time to show a key"
        exchange(listener, known)


@pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")
def test_other_addresses_are_dropped_when_all_peers_are_there(listener: RouterListener) -> None:
    with ExitStack() as stack:
        known = DealerConnection(listener.endpoint, routing_id(0), DealerKeys(WORKER, OWN.public))
        stack.callback(known.close, 0.0)
        exchange(listener, known)
        connect_raw(listener, "127.0.0.2").close()

        listener.admit_only_known()

        with pytest.raises(TimeoutError):
            connect_raw(listener, "127.0.0.2")
        connect_raw(listener, "127.0.0.1").close()
        exchange(listener, known)
