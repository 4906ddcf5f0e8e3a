"""Try varsim's link on networks that are slow, lose packets, or are cut; print a table.

    python -m tests.hosts.partitions [NAME...]

A coordinator's end and a worker's end are on two test hosts. Both send numbered envelopes all the
time, during cuts, too. Every envelope must arrive once, in order and unchanged. *Recovered* is the
time from the end of a cut until both ends have all envelopes that were sent before this moment.
"""

from __future__ import annotations

import statistics
import struct
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Final

import zmq

from tests.hosts.lab import Lab
from tests.hosts.namespaces import why_impossible
from tests.hosts.wire import Counts
from tests.waiting import MS
from varsim.errors import ProtocolError
from varsim.launch.launcher import LINK_LOSS_S
from varsim.protocol.limits import Buffer
from varsim.transport.keys import KeyPair
from varsim.transport.reliable import ReliableConnection, ReliableListener
from varsim.transport.sockets import (
    DealerConnection,
    DealerKeys,
    RouterListener,
    ServerKeys,
    routing_id,
)

COORDINATOR, WORKER = 0, 1  # numbers of hosts
BOTH: Final = ((COORDINATOR, WORKER), (WORKER, COORDINATOR))

_EVERY_S: Final = 0.01  # each end sends an envelope so often
_LARGE_EVERY: Final = 25  # one of so many envelopes is large
_BEFORE_S: Final = 0.3  # before a cut, and after the recovery
_DEADLINE_S: Final = 30_000 * MS
_NUMBER: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Case:
    """A network, and perhaps a cut."""

    name: str
    shape: dict[str, float] = field(default_factory=dict)
    cut: tuple[tuple[int, int], ...] = ()  # the directions (sender, receiver) that are cut
    time_s: float = 2.0  # of the cut; without a cut, of the whole case
    large_bytes: int = 64 * 1024


CASES: Final = (
    Case("no cut"),
    Case("10 ms each way", {"delay_s": 0.01}),
    Case("1 % loss", {"loss": 0.01}),
    Case("100 Mbit/s", {"bit_per_s": 100e6}, large_bytes=512 * 1024),
    # An envelope takes 4 s, which is longer than a cut that ends a connection.
    Case("2 Mbit/s, envelopes of 1 MB", {"bit_per_s": 2e6}, time_s=0.1, large_bytes=1_000_000),
    Case("partition, 0.2 s", cut=BOTH, time_s=0.2),
    Case("partition, 1 s", cut=BOTH, time_s=1.0),
    Case("partition, 1.8 s", cut=BOTH, time_s=1.8),
    Case("partition, 3 s", cut=BOTH, time_s=3.0),
    Case("partition, 15 s", cut=BOTH, time_s=15.0),
    Case("to the worker only, 3 s", cut=((COORDINATOR, WORKER),), time_s=3.0),
    Case("to the coordinator only, 3 s", cut=((WORKER, COORDINATOR),), time_s=3.0),
    Case("to the worker only, 8 s", cut=((COORDINATOR, WORKER),), time_s=8.0),
    Case("to the coordinator only, 8 s", cut=((WORKER, COORDINATOR),), time_s=8.0),
    Case(
        "partition, 3 s; 10 ms, 1 % loss, 100 Mbit/s",
        {"delay_s": 0.01, "loss": 0.01, "bit_per_s": 100e6},
        cut=BOTH,
        time_s=3.0,
    ),
)


class Direction:
    """The envelopes from one end to the other."""

    def __init__(self, send: Callable[[Sequence[Buffer]], object], large_bytes: int) -> None:
        self._send = send
        self._large_bytes = large_bytes
        self.sent_s: list[float] = []  # when each envelope was sent
        self.sent_bytes = 0
        self.delays_s: list[float] = []
        self.arrived: list[int] = []  # the numbers, in order of arrival
        self.damaged = 0

    def send(self) -> None:
        number = len(self.sent_s)
        self.sent_s.append(time.monotonic())
        frames = [_NUMBER.pack(number), self._body(number)]
        self.sent_bytes += sum(map(len, frames))
        self._send(frames)

    def arrives(self, frames: Sequence[Buffer]) -> None:
        first, body = frames
        (number,) = _NUMBER.unpack(first)
        self.arrived.append(number)
        self.damaged += body != self._body(number)
        self.delays_s.append(time.monotonic() - self.sent_s[number])

    def _body(self, number: int) -> bytes:
        size = 100 if number % _LARGE_EVERY else self._large_bytes
        return bytes([number % 256]) * size

    @property
    def is_complete(self) -> bool:
        return len(self.arrived) >= len(self.sent_s)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What happened to the envelopes of a case, of both directions together."""

    sent: int
    lost: int
    repeated: int
    disordered: int  # envelopes that arrived after a later one
    damaged: int
    connections: int  # how often the worker has connected
    recovered_s: float | None  # None: there was no cut
    delays_s: list[float]
    dropped: int  # packets that the network has lost
    carried_ratio: float  # the bytes of all packets, divided by those of the envelopes

    @property
    def is_right(self) -> bool:
        """Return whether each envelope arrived once, in order and unchanged."""
        return not (self.lost or self.repeated or self.disordered or self.damaged)


class Ends:
    """The two ends of a link, on the first two hosts of a lab."""

    def __init__(self, lab: Lab, loss_s: float, large_bytes: int = 100) -> None:
        own, pair = KeyPair.generate(), KeyPair.generate()
        with ExitStack() as stack:
            with lab.inside(lab.hosts[COORDINATOR]):
                endpoint = f"tcp://{lab.hosts[COORDINATOR].address}:*"
                router = RouterListener(endpoint, 1, ServerKeys(own, [pair]))
            self.listener = ReliableListener(router, 1, loss_s)
            stack.callback(self.listener.close)
            keys = DealerKeys(pair, own.public)
            with lab.inside(lab.hosts[WORKER]):
                dealer = DealerConnection(router.endpoint, routing_id(0), keys)
            self.worker = ReliableConnection(dealer, loss_s)
            stack.callback(self.worker.close, 0.0)
            self._stack = stack.pop_all()
        self.close = self._stack.close
        self.watch: Any = dealer.dealer.watch
        self.up = Direction(self.worker.send, large_bytes)
        self.down = Direction(lambda frames: self.listener.send(0, frames), large_bytes)
        self._poller = zmq.Poller()
        for socket in (*self.listener.sockets, *self.worker.sockets):
            self._poller.register(socket, zmq.POLLIN)
        self._send_at_s = time.monotonic()
        self.lost: list[int] = []  # replicas whose links the coordinator has lost

    def connect(self) -> None:
        """Wait until the worker is connected, and one envelope has arrived in each direction."""
        until_s = time.monotonic() + _DEADLINE_S
        while not self.worker.sockets[0].poll(1, zmq.POLLOUT) and time.monotonic() < until_s:
            self.listener.drain()  # accepts the worker's key
        self.up.send()
        self.turn_until(lambda: self.up.is_complete)
        self.down.send()
        self.turn_until(lambda: self.down.is_complete)

    def turn(self, *, sending: bool = False) -> None:
        """Let both ends handle what has arrived; then wait for at most half of `_EVERY_S`."""
        if sending and time.monotonic() >= self._send_at_s:
            self._send_at_s = time.monotonic() + _EVERY_S
            self.up.send()
            self.down.send()
        self.coordinator_turn()
        self.worker_turn()
        self._poller.poll(round(_EVERY_S * 500))

    def coordinator_turn(self) -> None:
        """Let the coordinator's end handle what has arrived, and look at its connection."""
        for _, envelope in self.listener.drain():
            if isinstance(envelope, ProtocolError):
                raise envelope
            self.up.arrives(envelope)
        self.lost += self.listener.look(lambda _: False)

    def worker_turn(self) -> None:
        """Let the worker's end handle what has arrived, and look at its connection.

        Raises:
            LinkLost: There was no connection for too long.
        """
        for frames in self.worker.receive(0):
            self.down.arrives(frames)

    def turn_until(self, state: Callable[[], object], *, sending: bool = False) -> None:
        """Turn until a state is reached.

        Raises:
            TimeoutError: It is not reached for a long time.
        """
        until_s = time.monotonic() + _DEADLINE_S
        while not state():
            if time.monotonic() > until_s:
                raise TimeoutError(f"not reached in {_DEADLINE_S:g} s")
            self.turn(sending=sending)

    def turn_for(self, time_s: float) -> None:
        """Send and receive for some time."""
        until_s = time.monotonic() + time_s
        self.turn_until(lambda: time.monotonic() >= until_s, sending=True)


def tried(case: Case) -> Outcome:
    """Run a case on two new hosts."""
    with Lab(2) as lab, closing(Ends(lab, LINK_LOSS_S, case.large_bytes)) as ends:
        lab.switch.shape(**case.shape)
        ends.connect()
        recovered_s = None
        if case.cut:
            ends.turn_for(_BEFORE_S)
            recovered_s = _recovery(lab, ends, case)
            ends.turn_for(_BEFORE_S)
        else:
            ends.turn_for(case.time_s)
        ends.turn_until(lambda: ends.up.is_complete and ends.down.is_complete)
        ends.turn()  # what arrives now is repeated
        return _outcome(ends, recovered_s, lab.switch.counts().values())


def _recovery(lab: Lab, ends: Ends, case: Case) -> float:
    """Cut a network for a time; return how long it takes until all that was sent has arrived."""
    for sender, receiver in case.cut:
        lab.switch.cut(sender, receiver)
    ends.turn_for(case.time_s)
    lab.switch.heal()
    healed_s = time.monotonic()
    up, down = len(ends.up.sent_s), len(ends.down.sent_s)
    ends.turn_until(
        lambda: len(ends.up.arrived) >= up and len(ends.down.arrived) >= down, sending=True
    )
    return time.monotonic() - healed_s


def _outcome(ends: Ends, recovered_s: float | None, wires: Collection[Counts]) -> Outcome:
    ways = (ends.up, ends.down)
    ends.watch.update()
    return Outcome(
        sent=sum(len(way.sent_s) for way in ways),
        lost=sum(len(way.sent_s) - len(set(way.arrived)) for way in ways),
        repeated=sum(len(way.arrived) - len(set(way.arrived)) for way in ways),
        disordered=sum(
            later < earlier
            for way in ways
            for earlier, later in zip(way.arrived, way.arrived[1:], strict=False)
        ),
        damaged=sum(way.damaged for way in ways),
        connections=ends.watch.connections,
        recovered_s=recovered_s,
        delays_s=[delay_s for way in ways for delay_s in way.delays_s],
        dropped=sum(wire.lost + wire.cut + wire.overflowed for wire in wires),
        carried_ratio=sum(wire.offered_bytes for wire in wires)
        / sum(way.sent_bytes for way in ways),
    )


COLUMNS: Final = (
    "network",
    "dropped packets",
    "envelopes",
    "lost",
    "repeated",
    "out of order",
    "bytes carried / needed",
    "connections",
    "recovered after",
    "median delay",
    "longest delay",
)
HEAD: Final = f"| {' | '.join(COLUMNS)} |\n| --- |{' ---: |' * (len(COLUMNS) - 1)}"


def row(case: Case, outcome: Outcome) -> str:
    """Return a row of the table."""
    counts = (
        outcome.dropped,
        outcome.sent,
        outcome.lost,
        outcome.repeated,
        outcome.disordered,
    )
    cells = (
        case.name,
        *(f"{count:,}" for count in counts),
        f"{outcome.carried_ratio:.2f}",
        str(outcome.connections),
        "–" if outcome.recovered_s is None else f"{outcome.recovered_s:.2f} s",
        f"{statistics.median(outcome.delays_s):.4f} s",
        f"{max(outcome.delays_s):.2f} s",
    )
    return f"| {' | '.join(cells)} |"


def main(names: Sequence[str]) -> None:
    """Try the cases whose names contain one of some texts; without texts, all cases."""
    if why := why_impossible():
        raise SystemExit(why)
    print(HEAD, flush=True)
    for case in CASES:
        if not names or any(name in case.name for name in names):
            print(row(case, tried(case)), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
