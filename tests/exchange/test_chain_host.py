"""Hosts of a chain reduce values in the shared memory of their workers, as the orders say."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.waiting import MS, wait_for
from varsim import environment
from varsim.errors import ProtocolError, StartError
from varsim.exchange.between_hosts import HostEnd, HostMessage, HostPlace
from varsim.exchange.chain_host import ChainHostEnd
from varsim.exchange.chain_orders import (
    HOME_BYTES,
    Ask,
    Before,
    Cancel,
    Connect,
    Fetch,
    Filled,
    Home,
    Linked,
    Listens,
    Order,
    Progress,
    ReduceOnHosts,
    Refused,
    Release,
    packed,
    unpacked,
)
from varsim.exchange.shared import join_memory
from varsim.protocol.buffers import SharedReference, code_of
from varsim.spec import Operation, ReduceOp, VariableAggregation
from varsim.sync import reduce
from varsim.transport.arena import Arena

Array = np.ndarray[Any, Any]
FLOAT = np.dtype(np.float32)
SIZE = 3 * HOME_BYTES // 8 + 5
"""The number of float32 elements of a value: two parts of the home, and 12 chunks."""
CHUNK = 2**15

SETTINGS = json.dumps({"from_bytes": 2**18, "window": 16})


class Hosts:
    """The ends of all hosts of a chain, with the memory of their workers, in one process."""

    def __init__(self, counts: Sequence[int], stack: ExitStack, link_loss_s: float = 20.0) -> None:
        self.counts = tuple(counts)
        self.ends: list[HostEnd] = []
        self.workers: list[list[Arena]] = []
        self.said: list[list[tuple[Order, bytes]]] = [[] for _ in counts]
        bounds = np.cumsum([0, *counts]).tolist()
        for host, (first, stop) in enumerate(pairwise(bounds)):
            place = HostPlace(
                host,
                len(counts),
                range(first, stop),
                bounds[-1],
                "tcp://127.0.0.1:*",
                link_loss_s,
                SETTINGS,
            )
            end = ChainHostEnd(place)
            stack.callback(end.close)
            self.ends.append(end)
            (descriptor,) = end.handover.descriptors
            own = []
            for replica_id in range(first, stop):
                memory = json.loads(end.handover.settings)["memory"]
                handover = end.handover.__class__((os.dup(descriptor),), memory)
                own.append(join_memory(handover, replica_id, bounds[-1]))
                stack.callback(own[-1].close)
            self.workers.append(own)
        self.serve()
        for host in range(1, len(counts)):
            (listens,) = self.take(host - 1, Listens)
            assert isinstance(listens, Listens)
            self.order(host, Connect(listens.address))
        assert [Listens("")] == self.take(len(counts) - 1, Listens)
        wait_for(self._are_connected, 10_000 * MS, what="the connections")  # else they need probes
        assert [[Linked()]] * (len(counts) - 1) == [
            self.take(host, Linked) for host in range(1, len(counts))
        ]

    def _are_connected(self) -> bool:
        self.serve()
        return all(self.said[1:])

    def order(self, host: int, order: Order, part: bytes = b"") -> None:
        """Give an order to a host, and keep its answers."""
        self._keep(host, self.ends[host].take(HostMessage(packed(order), part)))

    def serve(self, host: int | None = None) -> None:
        for number, end in enumerate(self.ends):
            if host in (None, number):
                self._keep(number, end.serve())

    def _keep(self, host: int, messages: Sequence[HostMessage]) -> None:
        self.said[host] += [(unpacked(one.value), bytes(one.part)) for one in messages]

    def take(self, host: int, kind: type[Any]) -> list[Order]:
        """Return and forget what a host has said of a kind."""
        taken = [one for one, _ in self.said[host] if isinstance(one, kind)]
        self.said[host] = [one for one in self.said[host] if not isinstance(one[0], kind)]
        return taken

    def home(self, host: int, token: int) -> bytes:
        """Return and forget the parts that a host has sent, which are in order."""
        parts = [(one, part) for one, part in self.said[host] if isinstance(one, Home)]
        self.take(host, Home)
        content = b""
        for one, part in parts:
            assert Home(token, len(content)) == one
            assert len(part) <= HOME_BYTES
            content += part
        return content

    def put(self, host: int, worker: int, value: Array) -> tuple[SharedReference, Array]:
        """Return where a value is in the memory of a worker, and what keeps it there."""
        memory = self.workers[host][worker]
        made = memory.empty(value.shape, value.dtype)
        assert made is not None
        made[...] = value
        reference = memory.reference_of(made)
        assert reference is not None
        return reference, made

    def reduction(self, token: int, values: Sequence[Array], **changed: Any) -> list[ReduceOnHosts]:
        """Return the orders of a sum of values, which are put into the memory of workers."""
        orders = []
        self.leases = []  # the arrays of the workers
        rest = iter(values)
        for host, count in enumerate(self.counts):
            put = [self.put(host, worker, next(rest)) for worker in range(count)]
            self.leases += [made for _, made in put]
            references = tuple(reference for reference, _ in put)
            order = ReduceOnHosts(
                token,
                self.counts,
                values[0].size,
                CHUNK,
                ReduceOp.SUM,
                Operation.ASSIGN,
                code_of(values[0].dtype),
                references,
                None,
                comes_home=host == 0,
            )
            orders.append(order._replace(**changed))
        return orders

    def reduced(self, token: int, orders: Sequence[ReduceOnHosts], mirror: bytes = b"") -> None:
        """Run a reduction until all hosts have the result."""
        for start in range(0, len(mirror), HOME_BYTES):
            part = mirror[start : start + HOME_BYTES]
            self.order(len(orders) - 1, Before(token, start, len(mirror)), part)
            assert [Progress(token, start // HOME_BYTES + 1)] == self.take(-1, Progress)
        for host, order in enumerate(orders):
            self.order(host, order)
        wait_for(lambda: self.have_filled(token), 10_000 * MS, what="the result")

    def have_filled(self, token: int) -> bool:
        self.serve()
        filled = [[one for one, _ in said if isinstance(one, Filled)] for said in self.said]
        return all(one and one[-1].token == token for one in filled)

    def filled(self, host: int) -> Filled:
        """Return and forget the place of a host's result."""
        (filled,) = self.take(host, Filled)
        assert isinstance(filled, Filled)
        return filled

    def in_use(self, host: int) -> list[Array]:
        """Return the blocks that a host's end uses."""
        end = self.ends[host]
        assert isinstance(end, ChainHostEnd)
        end._memory.settle()
        return end._memory.in_use()


MakeHosts = Callable[..., Hosts]


@pytest.fixture
def make_hosts(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeHosts]:
    """Return a function that makes hosts; they are closed after the test."""
    monkeypatch.setenv(environment.SHARED_MEMORY, str(2**26))
    with ExitStack() as stack:
        yield lambda counts, **options: Hosts(counts, stack, **options)


def values_of(count: int, dtype: np.dtype[Any] = FLOAT, size: int = SIZE) -> list[Array]:
    chance = np.random.default_rng(1)
    return [chance.normal(0, 99, size).astype(dtype) for _ in range(count)]


@pytest.mark.parametrize(
    ("counts", "op", "operation", "dtype"),
    [
        ([1, 2], ReduceOp.SUM, Operation.ASSIGN, np.dtype(np.int16)),
        ([2, 1, 1], ReduceOp.MEAN, Operation.ASSIGN_SUB, FLOAT),
        ([2, 1], ReduceOp.MEAN, Operation.ASSIGN_ADD, np.dtype(np.complex128)),
    ],
)
@pytest.mark.parametrize("is_here", [True, False], ids=["mirror here", "mirror sent"])
def test_all_hosts_have_the_bits_of_a_merge(
    make_hosts: MakeHosts,
    counts: Sequence[int],
    op: ReduceOp,
    operation: Operation,
    dtype: np.dtype[Any],
    is_here: bool,
) -> None:
    hosts = make_hosts(counts)
    size = 3 * HOME_BYTES // 2 // dtype.itemsize + 1
    *values, mirror = values_of(sum(counts) + 1, dtype, size)
    has_mirror = operation is not Operation.ASSIGN
    orders = hosts.reduction(7, values, op=op, operation=operation)
    place = None
    if has_mirror and is_here:
        reference, place = hosts.put(len(counts) - 1, 0, mirror)
        orders[-1] = orders[-1]._replace(mirror=reference)
    hosts.reduced(7, orders, mirror.tobytes() if has_mirror and place is None else b"")

    aggregation = VariableAggregation[op.name]
    expected = reduce.merge(values, aggregation, operation, mirror if has_mirror else None)
    assert expected.tobytes() == hosts.home(0, 7)
    for host, workers in enumerate(hosts.workers):
        filled = hosts.filled(host)
        view = workers[0].view(filled.reference, expected.nbytes, lambda *_: None)
        assert expected.tobytes() == view.tobytes()
        assert [] == hosts.said[host], "no host except the first one sends the result home"


def test_memory_is_reused_after_a_release(make_hosts: MakeHosts) -> None:
    hosts = make_hosts([1, 1])
    values = values_of(2)
    blocks = []
    for token in (1, 2, 3):
        hosts.reduced(token, hosts.reduction(token, values))
        first, last = (hosts.filled(host).reference.block for host in (0, 1))
        assert [1, 1] == [len(hosts.in_use(host)) for host in (0, 1)], "no values"
        hosts.order(0, Release((token,)))
        hosts.order(1, Release((token, 2**30)))
        hosts.order(1, Release((token,)))
        wait_for(lambda: (hosts.serve(), not any(map(hosts.in_use, (0, 1))))[1])
        blocks.append((first, last))
    assert 1 == len(set(blocks))


def test_values_and_results_are_fetched_in_parts(make_hosts: MakeHosts) -> None:
    hosts = make_hosts([1, 1])
    values = values_of(2)
    orders = hosts.reduction(1, values)
    hosts.order(1, Fetch(9, orders[1].values[0], values[1].nbytes))
    assert values[1].tobytes() == hosts.home(1, 9)
    hosts.reduced(1, orders)
    hosts.order(1, Fetch(11, hosts.filled(1).reference, values[1].nbytes))
    assert sum(values).tobytes() == hosts.home(1, 11)  # type: ignore[union-attr]


def test_a_host_without_room_refuses_and_frees_its_neighbours(
    make_hosts: MakeHosts, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts = make_hosts([1, 1])
    full = hosts.ends[1]
    assert isinstance(full, ChainHostEnd)
    full._memory.fill()
    orders = hosts.reduction(1, values_of(2))
    for host, order in enumerate(orders):
        hosts.order(host, order)
    assert [Refused(1, "has no room for the result in its shared memory")] == hosts.take(1, Refused)
    assert "there is no room in shared memory" in capsys.readouterr().err
    hosts.order(0, Cancel(1))
    assert [[], []] == [hosts.in_use(host) for host in (0, 1)]
    hosts.serve()
    assert [[], []] == hosts.said


def test_orders_of_ended_reductions_do_nothing(make_hosts: MakeHosts) -> None:
    """An order that comes twice, an order after `Cancel`, and `Cancel` after the result."""
    hosts = make_hosts([1, 1])
    values = values_of(2)
    first = hosts.reduction(1, values)
    hosts.order(0, first[0])
    hosts.order(0, Ask(1))
    (progress,) = hosts.take(0, Progress)
    assert isinstance(progress, Progress)
    assert progress.chunks > 0
    for host in (0, 1):
        hosts.order(host, Cancel(1))  # on host 1, before the reduction begins
        hosts.order(host, first[host])
        hosts.order(host, Before(1, 0, 3), b"abc")
        assert [Progress(1, 0)] == hosts.take(host, Progress), "not kept"
    assert [[], []] == [hosts.in_use(host) for host in (0, 1)]

    hosts.order(1, Before(2, 0, 3), b"abc")
    hosts.take(1, Progress)
    hosts.order(1, Cancel(2))
    second = hosts.reduction(3, values)
    hosts.reduced(3, second)
    assert sum(values).tobytes() == hosts.home(0, 3)  # type: ignore[union-attr]
    for host in (0, 1):
        hosts.filled(host)
        hosts.order(host, second[host])
        hosts.order(host, Cancel(3))
        hosts.order(host, Cancel(1))
        hosts.order(host, Ask(1))
        wait_for(lambda h=host: (hosts.serve(), not hosts.in_use(h))[1])  # type: ignore[misc]
        assert [] == hosts.said[host]


def refused_of_lost_links(hosts: Hosts, host: int) -> str:
    """Return why a host has lost its links; check that it says it once, and refuses from now on."""
    wait_for(lambda: (hosts.serve(host), hosts.said[host])[1], 5_000 * MS)
    hosts.serve(host)
    (refused,) = hosts.take(host, Refused)
    assert isinstance(refused, Refused)
    assert 0 == refused.token
    assert () == hosts.ends[host].sockets
    hosts.order(host, hosts.reduction(5, values_of(2))[host])
    assert [Refused(5, refused.reason)] == hosts.take(host, Refused)
    assert [] == hosts.in_use(host)
    hosts.order(host, Cancel(5))
    assert [] == hosts.said[host]
    return refused.reason


def test_a_lost_link_is_reported_once(make_hosts: MakeHosts) -> None:
    hosts = make_hosts([1, 1], link_loss_s=0.05)
    wait_for(lambda: (hosts.serve(), hosts.ends[1]._links._below.is_connected)[1])  # type: ignore[attr-defined]
    hosts.order(1, hosts.reduction(1, values_of(2))[1])
    hosts.ends[0].close()
    assert (
        "has lost its link to the host before it: no connection for 0.05 s"
        == refused_of_lost_links(hosts, 1)
    )


def test_a_malformed_message_of_a_neighbour_ends_the_link(make_hosts: MakeHosts) -> None:
    hosts = make_hosts([1, 1])
    hosts.ends[1]._links._below.send_at_once([b"x"])  # type: ignore[attr-defined]

    def arrived() -> list[Any]:
        hosts.serve()
        return hosts.said[0]

    wait_for(arrived)
    reason = refused_of_lost_links(hosts, 0)
    assert reason.startswith("has lost its link to the host after it: not a message of a chain")


def test_a_plan_that_differs_from_the_neighbours_ends_the_link(make_hosts: MakeHosts) -> None:
    """The chunks arrive before the reduction begins."""
    hosts = make_hosts([1, 1])
    first, second = hosts.reduction(1, values_of(2))
    end = hosts.ends[1]
    assert isinstance(end, ChainHostEnd)
    hosts.order(0, first)
    wait_for(lambda: (hosts.serve(), end._links._chain.early_chunks)[1])
    hosts.order(1, second._replace(chunk=CHUNK // 2))
    reason = refused_of_lost_links(hosts, 1)
    assert "has lost its link to a neighbour: chunk 0 has 131072 bytes instead of 65536" == reason


REFERENCE = SharedReference(2**16, 2**16, 0)


@pytest.mark.parametrize(
    ("order", "said"),
    [
        (Fetch(1, REFERENCE, 4), "is not in a block that was sent"),
        (Fetch(1, SharedReference(2**60, 2**16, 0), 4), "cannot hold 4 bytes"),
        (Fetch(1, REFERENCE, 2**17), "cannot hold 131072 bytes"),
        (Before(1, 1, 4), "byte 1 of the old value comes after 0"),
        (Before(1, 0, 4), "bytes 0 to 0 of a value of 4 bytes"),
        (Before(1, 0, 2**40), "has .* bytes; the limit is"),
        (Listens("x"), "a host of a chain got Listens"),
        (Connect("{}"), "connects to no other one"),
        (Release((-1,)), "-1 is not int, or is negative"),
    ],
)
def test_malformed_orders_are_protocol_errors(
    make_hosts: MakeHosts, order: Order, said: str
) -> None:
    hosts = make_hosts([1, 1])
    with pytest.raises(ProtocolError, match=said):
        hosts.order(0, order)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"counts": (1,)}, "host 0 of 2 does not have the values"),
        ({"counts": (0, 0), "values": ()}, "host 0 of 2 does not have the values"),
        ({"values": ()}, "host 0 of 2 does not have the values"),
        ({"chunk": 0}, "a chunk has no elements"),
        ({"size": 2**40}, "has .* bytes; the limit is"),
        ({"size": SIZE * 2}, "cannot hold"),
        ({"dtype_code": 63}, "no dtype has the code 63"),
        ({"op": ReduceOp.MEAN, "dtype_code": code_of(np.dtype("i4"))}, "in chunks has other bits"),
        ({"mirror": SharedReference(0, 2**16, 0)}, "cannot hold"),
    ],
)
def test_malformed_reductions_are_protocol_errors(
    make_hosts: MakeHosts, changed: dict[str, Any], said: str
) -> None:
    hosts = make_hosts([1, 1])
    order = hosts.reduction(1, values_of(2))[0]
    with pytest.raises(ProtocolError, match=said):
        hosts.order(0, order._replace(**changed))
    start = order.values[0]._replace(start=2)
    with pytest.raises(ProtocolError, match="cannot start at 2"):
        hosts.order(0, order._replace(values=(start,)))
    hosts.order(0, Before(1, 0, 4), b"abc")
    with pytest.raises(ProtocolError, match=r"the old value of .* has 3 bytes"):
        hosts.order(0, order)
    hosts.order(0, Before(1, 0, 3), b"abc")
    with pytest.raises(ProtocolError, match=r"the old value of .* has 3 bytes"):
        hosts.order(0, order)


@pytest.mark.parametrize(
    "value",
    [7, [], ["Ask"], ["Ask", "1"], ["Ask", True], ["Release", 7], ["Home", 1, 2, 3], ["No"]],
)
def test_values_that_are_no_message_are_protocol_errors(value: Any) -> None:
    with pytest.raises(ProtocolError, match="not a message of the exchange chain"):
        unpacked(value)


def test_a_reduction_before_the_connection_is_a_protocol_error() -> None:
    place = HostPlace(1, 2, range(1, 2), 2, "", 20.0, SETTINGS)
    end = ChainHostEnd(place)
    with ExitStack() as stack:
        stack.callback(end.close)
        order = ReduceOnHosts(
            1, (1, 0), 1, 1, ReduceOp.SUM, Operation.ASSIGN, 0, (), None, comes_home=False
        )
        with pytest.raises(ProtocolError, match="begins before this host is connected"):
            end.take(HostMessage(packed(order)))
        with pytest.raises(ProtocolError, match="not the address of a host: KeyError"):
            end.take(HostMessage(packed(Connect("{}"))))


def test_an_endpoint_that_cannot_be_bound_is_an_error() -> None:
    with pytest.raises(StartError, match="cannot listen at tcp://nowhere:1"):
        ChainHostEnd(HostPlace(0, 2, range(1), 2, "tcp://nowhere:1", 20.0, SETTINGS))
