"""ROUTER and DEALER sockets in one process, over ipc and tcp, with keys and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zmq

from tests.waiting import MS, wait_for
from varsim.errors import StartError
from varsim.protocol.limits import Buffer
from varsim.transport.keys import AllowList, KeyPair
from varsim.transport.sockets import (
    COPY_LIMIT_BYTES,
    MAX_DRAINED,
    Dealer,
    DealerConnection,
    DealerKeys,
    Router,
    RouterListener,
    timeout_ms,
)


@dataclass
class Server:
    """A router, and the data to connect to it."""

    router: Router
    context: zmq.Context[zmq.Socket[bytes]]
    keys: KeyPair | None = None
    allow_list: AllowList | None = None
    peer_keys: KeyPair | None = None
    dealers: list[Dealer] = field(default_factory=list)

    def connect(self, routing_id: bytes, pair: KeyPair | None = None) -> Dealer:
        pair = pair or self.peer_keys
        keys = DealerKeys(pair, self.keys.public) if pair and self.keys else None
        dealer = Dealer(self.context, self.router.endpoint, routing_id, keys)
        self.dealers.append(dealer)
        return dealer

    def is_connected(self, dealer: Dealer) -> bool:
        if self.allow_list is not None:
            self.allow_list.answer()
        return bool(dealer.socket.poll(0, zmq.POLLOUT))

    def received(self, count: int = 1) -> list[tuple[bytes, list[Buffer]]]:
        envelopes: list[tuple[bytes, list[Buffer]]] = []

        def enough() -> bool:
            envelopes.extend(self.router.drain())
            return len(envelopes) >= count

        wait_for(enough)
        return envelopes


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as made:
        yield made


def close(server: Server) -> None:
    for closing in (*server.dealers, server.router, server.allow_list):
        if closing is not None:
            closing.close()


@pytest.fixture
def ipc(context: zmq.Context[zmq.Socket[bytes]], private_temporary: Path) -> Iterator[Server]:
    path = private_temporary / "s"
    server = Server(Router(context, f"ipc://{path}"), context)
    yield server
    close(server)
    path.unlink()


@pytest.fixture
def tcp(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Server]:
    keys, peer = KeyPair.generate(), KeyPair.generate()
    allow_list = AllowList(context, {peer.public: b"a"})
    router = Router(context, "tcp://127.0.0.1:*", keys)
    server = Server(router, context, keys, allow_list, peer)
    yield server
    close(server)


@pytest.fixture(params=["ipc", "tcp"])
def server(request: pytest.FixtureRequest) -> Server:
    made: Server = request.getfixturevalue(request.param)
    return made


def test_an_envelope_is_sent_and_answered(server: Server) -> None:
    dealer = server.connect(b"a")
    wait_for(lambda: server.is_connected(dealer))

    dealer.send([b"header", b"x" * 100_000])
    assert [(b"a", [b"header", b"x" * 100_000])] == server.received()

    assert server.router.send(b"a", [b"answer"])
    assert [[b"answer"]] == dealer.receive(2_000 * MS)


def test_large_frames_arrive_as_views(ipc: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    # To send large frames pyzmq starts a thread, which the leak check would report.
    monkeypatch.setattr("varsim.transport.sockets.COPY_LIMIT_BYTES", 2**40)
    dealer = ipc.connect(b"a")
    dealer.send([b"header", bytes(COPY_LIMIT_BYTES)])

    ((_, (header, large)),) = ipc.received()

    assert isinstance(header, bytes)
    assert isinstance(large, memoryview)
    assert COPY_LIMIT_BYTES == len(large)


def test_envelopes_keep_their_order(ipc: Server) -> None:
    dealer = ipc.connect(b"a")
    for number in range(100):
        dealer.send([b"%d" % number])
    assert [[b"%d" % number] for number in range(100)] == [
        frames for _, frames in ipc.received(100)
    ]


def test_a_busy_peer_is_interrupted(ipc: Server) -> None:
    dealer = ipc.connect(b"a")
    for _ in range(3 * MAX_DRAINED):
        dealer.send([b"x"])
    assert MAX_DRAINED == max(len(ipc.received(1)), MAX_DRAINED)


def test_an_unknown_peer_is_reported(server: Server) -> None:
    assert not server.router.send(b"nobody", [b"x"])


def test_a_failed_connection_of_a_dealer_is_an_error(
    context: zmq.Context[zmq.Socket[bytes]],
    monkeypatch: pytest.MonkeyPatch,
    private_temporary: Path,
) -> None:
    monkeypatch.setattr("varsim.transport.sockets._CONNECT_TIMEOUT_MS", 10)
    dealer = Dealer(context, f"ipc://{private_temporary}/nobody", b"a")
    with pytest.raises(zmq.Again):
        dealer.send([b"x"])
    dealer.close()


def test_receiving_ends_at_its_timeout(ipc: Server) -> None:
    assert [] == ipc.connect(b"a").receive(1 * MS)


def rejected(server: Server, dealer: Dealer) -> bool:
    """Return whether the other end has refused the dealer's key."""
    events: list[int] = []
    monitor = dealer.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)

    def refused() -> bool:
        if server.allow_list is not None:
            server.allow_list.answer()
        if monitor.poll(0):
            events.append(1)
        return bool(events)

    try:
        return wait_for(refused)
    finally:
        dealer.socket.disable_monitor()
        monitor.close()


def test_a_key_that_is_not_on_the_list_is_refused(tcp: Server) -> None:
    stranger = tcp.connect(b"a", KeyPair.generate())

    assert rejected(tcp, stranger)
    assert not tcp.is_connected(stranger)
    assert not tcp.router.send(b"a", [b"secret"])


def test_a_peer_without_keys_is_not_connected(tcp: Server) -> None:
    plain = Dealer(tcp.context, tcp.router.endpoint, b"a")
    tcp.dealers.append(plain)
    friend = tcp.connect(b"a")
    wait_for(lambda: tcp.is_connected(friend))
    assert not tcp.is_connected(plain)


def test_a_peer_with_another_peers_routing_id_is_ignored(tcp: Server) -> None:
    impostor, friend = tcp.connect(b"b"), tcp.connect(b"a")
    wait_for(lambda: tcp.is_connected(impostor) and tcp.is_connected(friend))

    impostor.send([b"lie"])
    friend.send([b"truth"])

    assert [(b"a", [b"truth"])] == tcp.received()


@pytest.mark.parametrize("endpoint", ["tcp://127.0.0.1:*", "tcp://0.0.0.0:*"])
def test_tcp_is_refused_without_keys(endpoint: str) -> None:
    """Both ends refuse it, before they open a socket."""
    refused = re.escape(f"{endpoint}: refused without keys")
    with pytest.raises(StartError, match=refused):
        RouterListener(endpoint, 1)
    with pytest.raises(StartError, match=refused):
        DealerConnection(endpoint, b"a")


@pytest.mark.parametrize(("timeout_s", "expected"), [(None, None), (-1, 0), (0, 0), (0.0001, 1)])
def test_a_short_timeout_is_not_rounded_to_zero(
    timeout_s: float | None, expected: int | None
) -> None:
    assert expected == timeout_ms(timeout_s)
