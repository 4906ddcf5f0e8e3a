"""An agent joins an exchange between hosts, and carries the messages of its end."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zmq

from varsim.errors import ProtocolError, StartError
from varsim.exchange.between_hosts import HostMessage, HostPlace
from varsim.exchange.exchange import EXCHANGES, Handover
from varsim.exchange.star import Star
from varsim.launch.launcher import LaunchOptions
from varsim.launch.remote import agent
from varsim.launch.remote.control import Control, Name
from varsim.launch.remote.host_exchange import HostExchange, join_exchange
from varsim.launch.remote.port_probe import PortProbe
from varsim.launch.rendezvous import Rendezvous
from varsim.registry import BuiltIn

COORDINATOR = "tcp://127.0.0.1:7"
RENDEZVOUS = Rendezvous(
    options=LaunchOptions(7, ("a", "b", "c"), link_loss_s=9.0),
    addresses=("", "x", "y"),
    replica_ids=(1, 3),
    entry_point="m:f",
    search_path=(),
    log_dir="",
    private_dir="",
    exchange="between",
    handover=Handover(),
)

told: list[Any] = []
"""What happens, in order."""


class End:
    """An end that answers with what it gets, and polls the socket that the test sets."""

    handover = Handover((0,), "settings of the host")
    sockets: Sequence[Any] = ()

    def __init__(self, place: HostPlace) -> None:
        told.append(place)
        self.said = [HostMessage("the first")]

    def take(self, message: HostMessage) -> list[HostMessage]:
        told.append(("take", message.value, bytes(message.part)))
        return [HostMessage([message.value], bytearray(b"answer"))]

    def serve(self) -> list[HostMessage]:
        said, self.said = self.said, []
        return said

    def close(self) -> None:
        told.append("the end is closed")


class Between(Star):
    """An exchange with ends on hosts."""

    def open_between(self, hosts: Sequence[range]) -> Any:
        raise NotImplementedError

    def join_host(self, place: HostPlace) -> End:
        if place.host > 1:
            raise StartError("no memory")
        return End(place)


class ForkServer:
    """A fork server without processes; its reports never come."""

    ended = False

    def __init__(self, private_dir: Path, descriptors: Sequence[int]) -> None:
        told.append(("fork server", descriptors))
        self.reports, self._other_end = os.pipe()
        self.kill = None

    def fork_workers(self, rendezvous: Rendezvous) -> None:
        told.append(rendezvous.handover)

    def end(self) -> None:
        told.append("the fork server has ended")
        os.close(self.reports)
        os.close(self._other_end)


class Connection:
    """A connection to a coordinator with messages that have arrived already."""

    is_connected = True

    def __init__(self, stack: ExitStack, arrived: Sequence[Control]) -> None:
        readable, writable = os.pipe()
        os.write(writable, b"x")
        stack.callback(os.close, readable)
        stack.callback(os.close, writable)
        self.sockets = (readable,)
        self.sent: list[Control] = []
        self._arrived = deque(arrived)

    def allow_loss(self, loss_s: float) -> None:
        assert 9.0 == loss_s

    def receive(self, timeout_s: float) -> list[list[Any]]:
        assert not timeout_s
        return [list(self._arrived.popleft().packed())] if self._arrived else []

    def send(self, frames: Sequence[Any]) -> None:
        self.sent.append(Control.unpacked(frames))


@pytest.fixture(autouse=True)
def _exchange(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(EXCHANGES.built_in, "between", BuiltIn(f"{__name__}:Between", ""))
    monkeypatch.setattr(agent, "ForkServer", ForkServer)
    yield
    told.clear()


def begin(place: Sequence[Any] | None, rendezvous: Rendezvous = RENDEZVOUS) -> Control:
    value: dict[str, Any] = {
        "rendezvous": rendezvous.to_line().decode(),
        "directory": "/no such folder",
        "environment": {},
        "place": place,
    }
    return Control(Name.BEGIN, 0, value)


LEAVE = Control(Name.LEAVE, 1, None)


def sent_by_agent(*arrived: Control) -> list[Control]:
    """Run an agent that gets these messages; return what it sends."""
    with ExitStack() as stack:
        connection: Any = Connection(stack, arrived)
        agent._Agent(connection, PortProbe(COORDINATOR), stack, None).run()
    return connection.sent  # type: ignore[no-any-return]


def test_an_agent_has_an_end_while_its_workers_run() -> None:
    order = Control(Name.EXCHANGE, 0, ["Ask", 5], b"bytes")
    sent = sent_by_agent(begin([1, 2, "s"]), order, LEAVE)

    place = HostPlace(1, 2, range(1, 3), 3, "tcp://127.0.0.1:*", 9.0, "s")
    assert [
        place,
        ("fork server", (0,)),
        End.handover,
        ("take", ["Ask", 5], b"bytes"),
        "the fork server has ended",
        "the end is closed",
    ] == told
    assert [
        Control(Name.EXCHANGE, 0, "the first"),
        Control(Name.EXCHANGE, 0, [["Ask", 5]], b"answer"),
        LEAVE,
    ] == sent


def test_other_exchanges_have_no_end() -> None:
    star = replace(RENDEZVOUS, exchange="star")
    assert [LEAVE] == sent_by_agent(begin(None, star), LEAVE)
    assert [("fork server", ()), Handover(), "the fork server has ended"] == told
    with pytest.raises(ProtocolError, match="the exchange 'star' has no ends on hosts"):
        join_exchange(star, [0, 2, ""], COORDINATOR)
    with pytest.raises(ProtocolError, match="has no end on this host"):
        sent_by_agent(begin(None, star), Control(Name.EXCHANGE, 0, None))


@pytest.mark.parametrize(
    ("place", "exchange", "said"),
    [([2, 3, ""], "between", "no memory"), ([0, 2, ""], "none", "invalid exchange 'none'")],
)
def test_a_host_that_cannot_join_the_exchange_has_failed(
    place: Sequence[Any], exchange: str, said: str
) -> None:
    failed, _ = sent_by_agent(begin(place, replace(RENDEZVOUS, exchange=exchange)), LEAVE)
    assert Name.FAILED is failed.name
    assert said in failed.value
    assert [] == told, "no fork server is started"


def test_the_sockets_of_an_end_can_change() -> None:
    """Sockets that an end has closed are polled no longer."""
    end = End(HostPlace(0, 1, range(1), 1, "", 9.0, ""))
    poller = zmq.Poller()
    exchange = HostExchange(end, poller, lambda _: None)
    with zmq.Context[zmq.Socket[bytes]]() as context:
        first, second, third = (context.socket(zmq.PULL) for _ in range(3))
        for sockets in ([first], [first, second], [second, third], []):
            for one in set(end.sockets) - set(sockets):
                one.close()
            end.sockets = sockets
            exchange.serve()
            assert sockets == [one for one, _ in poller.sockets]
