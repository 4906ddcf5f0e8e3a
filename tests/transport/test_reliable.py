"""Both ends of a link over TCP in one process: cuts, damaged streams, strangers."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import zmq

from tests.waiting import MS, wait_for
from varsim.errors import LinkLost, ProtocolError
from varsim.protocol.limits import Buffer
from varsim.transport import reliable
from varsim.transport.listening_port import ListeningPort
from varsim.transport.reliable import ReliableConnection, ReliableListener
from varsim.transport.tcp import Tcp

LOSS_S = 150 * MS
LOOK_S = 10 * MS


@dataclass
class Link:
    """The two ends, and what each has received."""

    listener: ReliableListener
    worker: ReliableConnection
    at_listener: list[list[Buffer] | ProtocolError]
    at_worker: list[list[Buffer]]
    lost: bool = False
    is_stopped: bool = False  # what the system says about the worker's process

    def serve(self) -> None:
        """Let the coordinator's end handle what has arrived, and look at its connection."""
        self.at_listener += [envelope for _, envelope in self.listener.drain()]
        self.lost = self.lost or bool(self.listener.look(lambda _: self.is_stopped))

    def turn(self) -> None:
        """Let both ends handle what has arrived, and look at their connection."""
        self.serve()
        self.at_worker += self.worker.receive(0)

    def until(self, state: Callable[[], object]) -> None:
        def reached() -> object:
            self.turn()
            return state()

        wait_for(reached)

    def is_connected(self) -> bool:
        return bool(self.worker._dealer.socket.poll(0, zmq.POLLOUT))


@pytest.fixture
def link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Link]:
    monkeypatch.setattr(reliable, "LOOK_S", LOOK_S)
    with ExitStack() as opened:  # if the setup fails, what it has opened is closed, too
        listener = Tcp().listen(2, tmp_path, LOSS_S)
        opened.callback(listener.close)
        worker = Tcp().connect(listener.addresses[1], 1)
        opened.callback(worker.close, 0.0)
        made = Link(listener, worker, [], [])
        made.until(made.is_connected)
        worker.send([b"ready"])
        made.until(lambda: made.at_listener)
        made.at_listener.clear()
        yield made


def test_envelopes_arrive_on_both_sides(link: Link) -> None:
    link.worker.send([b"header", b"x" * 100_000])
    link.until(lambda: link.at_listener)
    link.listener.send(1, [b"answer"])
    link.until(lambda: link.at_worker)
    assert [[b"header", b"x" * 100_000]] == link.at_listener
    assert [[b"answer"]] == link.at_worker


@pytest.mark.parametrize("fault", ["drop", "duplicate", "reorder", "corrupt", "truncate", "cut"])
def test_a_fault_loses_and_repeats_nothing(link: Link, fault: str) -> None:
    """Both ends send twenty envelopes. The fault comes in the middle."""
    faults = link.worker.link_faults
    for number in range(20):
        if number == 10:
            match fault:
                case "drop" | "duplicate" | "reorder":
                    getattr(faults, fault)(3)
                case "cut":
                    faults.partition(LOSS_S / 10)
                case _:
                    getattr(faults, fault)()
        link.worker.send([b"w%d" % number])
        link.listener.send(1, [b"c%d" % number])
        link.turn()
    link.until(lambda: 20 == len(link.at_listener) and 20 == len(link.at_worker))

    assert [[b"w%d" % number] for number in range(20)] == link.at_listener
    assert [[b"c%d" % number] for number in range(20)] == link.at_worker
    assert not link.lost


def test_both_ends_lose_a_link_that_is_cut_for_too_long(link: Link) -> None:
    link.worker.link_faults.partition(100 * LOSS_S)

    def worker_has_lost() -> bool:
        link.serve()
        try:
            link.worker.receive(0)
        except LinkLost:
            return True
        return False

    def coordinator_has_lost() -> bool:
        link.serve()
        return link.lost

    wait_for(worker_has_lost)
    wait_for(coordinator_has_lost)
    with pytest.raises(LinkLost, match=f"no connection to the coordinator for {LOSS_S:g} s"):
        link.until(lambda: False)


def test_a_partition_ends_a_connection_with_unread_messages(link: Link) -> None:
    """ZeroMQ would keep such a connection until the worker reads the messages."""
    socket = link.worker._dealer.socket
    for _ in range(3):
        link.listener.send(1, [b"unread"])
    wait_for(lambda: socket.poll(0))
    link.worker.link_faults.partition(100 * LOSS_S)

    def is_lost() -> bool:
        link.serve()
        return link.lost

    wait_for(is_lost)


def test_the_worker_keeps_a_link_to_a_computing_program(link: Link) -> None:
    """The program computes: its system accepts connections, but no key is checked."""
    link.worker.link_faults.corrupt()
    watch = link.worker._dealer.watch
    assert watch is not None
    made = watch.connections

    for _ in range(15):  # longer than LOSS_S
        link.worker.receive(LOSS_S / 10)

    assert made < watch.connections
    assert not link.is_connected()
    link.until(link.is_connected)


def test_a_stopped_worker_is_not_lost(link: Link) -> None:
    link.is_stopped = True
    link.worker.link_faults.partition(100 * LOSS_S)
    silences: list[float] = []

    def is_excused() -> bool:
        link.serve()
        silences.append(link.listener._links[1]._silence_s)
        return silences[-1] < max(silences)

    wait_for(is_excused)
    assert not link.lost


def test_after_a_message_without_a_header_the_next_envelope_arrives(link: Link) -> None:
    link.worker._dealer.try_send([b"no header"])
    link.worker.send([b"good"])
    link.until(lambda: 2 == len(link.at_listener))
    wrong, good = link.at_listener
    assert isinstance(wrong, ProtocolError)
    assert "the first frame is not the header of a link" in str(wrong)
    assert [b"good"] == good


def test_small_arrays_can_be_changed_after_they_were_sent(link: Link) -> None:
    """The first envelope is lost, and is sent again with the array's first value."""
    link.worker.link_faults.drop(1)
    array = bytearray(b"before")
    link.worker.send([memoryview(array)])
    array[:] = b"after!"
    link.until(lambda: link.at_listener)
    assert [[b"before"]] == link.at_listener


# ---------------------------------------------------------------- who can connect


@pytest.fixture
def port() -> Iterator[ListeningPort]:
    opened = ListeningPort(2)
    yield opened
    opened.close()


def place(endpoint: str) -> tuple[str, int]:
    host, _, number = endpoint.removeprefix("tcp://").rpartition(":")
    return host, int(number)


def connects(port: ListeningPort, source: tuple[str, int] | None) -> socket.socket | None:
    """Return a connection from an address and port; None if the system refuses it."""
    sender = socket.socket()
    sender.settimeout(30 * MS)
    try:
        if source is not None:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sender.bind(source)
        sender.connect(place(port.endpoint))
    except OSError:
        sender.close()
        return None
    return sender


def test_there_are_never_more_connections_than_workers(port: ListeningPort) -> None:
    """Only the addresses and ports of the workers can connect, and each has one connection."""
    (host, number), last = (place(port.endpoint_of(i).partition(";")[0]) for i in (0, 1))
    (after, _) = place(port.endpoint_of(2).partition(";")[0])
    assert connects(port, None) is None
    assert connects(port, (after, number)) is None
    assert connects(port, (host, number + 1)) is None
    made = [connects(port, (host, number)), connects(port, last)]
    assert None not in made
    assert connects(port, (host, number)) is None
    for one in made:
        assert one is not None
        one.close()
