"""A chain of hosts has the value of a plain reduction, in every order, and always ends."""

from __future__ import annotations

import random
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dtypes import DTYPES
from tests.effort import many
from varsim.errors import ProtocolError
from varsim.exchange.chain import (
    ChainAction,
    ChainHost,
    ChainMessage,
    ChainPlan,
    Chunk,
    ChunkKind,
    Filled,
    Taken,
    ToHost,
    can_chain,
    chain_plan,
)
from varsim.exchange.chain_watch import (
    ASK_S,
    STALLED_S,
    ChainWatch,
    Failed,
    Order,
    Reduced,
    Tell,
    WatchAction,
)
from varsim.extension_dtypes import kind_of
from varsim.spec import Operation, ReduceOp
from varsim.sync import reduce

Array = np.ndarray[Any, Any]
SUM, MEAN = ReduceOp.SUM, ReduceOp.MEAN
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB


def bits_of(dtype: np.dtype[Any], shape: tuple[int, ...], seed: int) -> Array:
    """Return arrays with all kinds of values, also infinities, NaNs and zeros with signs."""
    chance = np.random.default_rng(seed)
    if dtype.kind == "b":
        return chance.integers(0, 2, shape).astype(bool)
    raw = chance.integers(0, 256, (*shape, dtype.itemsize), np.uint8)
    values: Array = raw.view(dtype)[..., 0]
    if dtype.kind not in "iu":
        real = values.view(values.real.dtype) if dtype.kind == "c" else values
        special = np.asarray(chance.random(real.shape) < 0.3)
        choices = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0])
        real[special] = chance.choice(choices, np.count_nonzero(special)).astype(real.dtype)
    return values


def bits(array: Array) -> bytes:
    """Return the bytes of an array; all NaNs have the same bits, see ADR 12."""
    real = array.copy().view(array.real.dtype) if array.dtype.kind == "c" else array.copy()
    if real.dtype.kind not in "iub":
        with np.errstate(invalid="ignore"):
            real[np.isnan(real)] = np.nan
    return real.tobytes()


def ops_of(dtype: np.dtype[Any]) -> list[ReduceOp]:
    """Return the ops that have a meaning for a dtype, and that a chain can compute."""
    kind = kind_of(dtype)
    if kind == "b":
        return [ReduceOp.ANY, ReduceOp.ALL]
    ordered = [] if kind == "c" else [ReduceOp.MIN, ReduceOp.MAX]
    ops = [SUM, MEAN, ReduceOp.PROD, *ordered]
    return [op for op in ops if can_chain(dtype, op)]


@dataclass
class Values:
    """The values of all replicas, and what is computed of them."""

    plan: ChainPlan
    by_host: Sequence[Sequence[Array]]
    mirror: Array | None

    @property
    def expected(self) -> Array:
        """Return the value of a plain reduction."""
        every = [value for values in self.by_host for value in values]
        total = reduce.reduce(every, self.plan.op)
        if self.mirror is None:
            return total
        return reduce.apply(self.plan.operation, self.mirror, total)


@st.composite
def reductions(draw: st.DrawFn, dtypes: Sequence[np.dtype[Any]] = DTYPES) -> Values:
    """Draw hosts with replicas, an op, and the size of the chunks."""
    dtype = draw(st.sampled_from(dtypes))
    inner = draw(st.lists(st.integers(0, 3), max_size=3))
    counts = [draw(st.integers(0, 3)), *inner, draw(st.integers(1, 3))]
    size = draw(st.integers(0, 40))
    operation = draw(st.sampled_from([ASSIGN] if dtype.kind == "b" else [ASSIGN, ADD, SUB]))
    chunk_bytes = draw(st.integers(1, 12)) * dtype.itemsize
    op = draw(st.sampled_from(ops_of(dtype)))
    plan = chain_plan(counts, size, dtype, op, operation, chunk_bytes)
    seed = draw(st.integers(0, 2**32))
    every = bits_of(dtype, (sum(counts) + 1, size), seed)
    bounds = np.cumsum([0, *counts])
    by_host = [list(every[a:b]) for a, b in pairwise(bounds)]
    return Values(plan, by_host, None if operation is ASSIGN else every[-1])


class Network:
    """Hosts whose messages arrive in any order, but those of one link in the order of sending."""

    def __init__(self, num_hosts: int, window: int, chance: random.Random) -> None:
        self.hosts = [ChainHost(number, num_hosts, window) for number in range(num_hosts)]
        self.links: dict[tuple[int, int], deque[ChainMessage]] = {}
        self.filled: dict[int, int] = {}  # host → the reduction whose result it has
        self.outs: dict[tuple[int, int], Array] = {}  # token, host → its output
        self.window = window
        self.chance = chance
        self.lost: set[int] = set()

    def begin(self, host: int, token: int, values: Values) -> None:
        """Begin a reduction on a host."""
        own = values.by_host[host]
        like = next(value for each in values.by_host for value in each)
        out = self.outs[token, host] = np.full_like(like, 1)
        self._do(host, self.hosts[host].begin(token, values.plan, own, values.mirror, out))

    def deliver(self, link: tuple[int, int]) -> None:
        """Deliver the next message of a link."""
        sender, receiver = link
        message = self.links[link].popleft()
        if receiver not in self.lost and sender not in self.lost:
            self._do(receiver, self.hosts[receiver].arrives(sender, message))

    def _do(self, host: int, actions: Sequence[ChainAction]) -> None:
        for action in actions:
            if isinstance(action, ToHost):
                link = self.links.setdefault((host, action.host), deque())
                link.append(action.message)
                chunks = sum(isinstance(one, Chunk) for one in link)
                assert chunks <= 2 * self.window, "one window of each of two reductions"
            else:
                assert self.filled.get(host, 0) < action.token, "reported once"
                self.filled[host] = action.token
        assert self.hosts[host].early_chunks <= self.window

    @property
    def full_links(self) -> list[tuple[int, int]]:
        return [link for link, messages in self.links.items() if messages]


@settings(max_examples=many(150), deadline=None)
@given(reductions(), st.integers(1, 4), st.randoms(use_true_random=False))
def test_every_host_gets_the_left_fold_in_replica_order(
    values: Values, window: int, chance: random.Random
) -> None:
    count = len(values.by_host)
    network = Network(count, window, chance)
    waiting = list(range(count))
    chance.shuffle(waiting)
    while waiting or network.full_links:
        if waiting and (not network.full_links or chance.random() < 0.2):
            network.begin(waiting.pop(), 1, values)
        else:
            network.deliver(chance.choice(network.full_links))

    assert all(host.is_delivered for host in network.hosts)
    expected = values.expected
    assert dict.fromkeys(range(count), 1) == network.filled
    for host in range(count):
        out = network.outs[1, host]
        assert (expected.dtype, bits(expected)) == (out.dtype, bits(out)), host


@settings(max_examples=many(100), deadline=None)
@given(
    reductions([np.dtype("float32"), np.dtype("int8")]),
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from(["lost", "silent", "cut", "replaced", "none"]),
    st.randoms(use_true_random=False),
)
def test_a_reduction_ends_whatever_is_lost(
    values: Values, window: int, steps: int, fault: str, chance: random.Random
) -> None:
    """A fault after some steps: the next reduction of the hosts that are left works."""
    cluster = Cluster(values, window, chance)
    cluster.start()
    last = 1
    for _ in range(steps):
        cluster.step()
    if fault == "replaced":
        if cluster.outcome is None:
            cluster.start()
        last = cluster.token
    elif fault != "none":
        cluster.break_at(chance.randrange(len(values.by_host)), fault)
    cluster.run()

    if cluster.outcome == Reduced(last):
        expected = bits(values.expected)
        outs = cluster.network.outs
        assert all(expected == bits(outs[last, host]) for host in range(len(values.by_host)))
        return
    assert isinstance(cluster.outcome, Failed)
    assert fault in {"lost", "silent", "cut"}
    assert (fault == "lost") == bool(cluster.outcome.lost)
    if fault == "cut":  # the links are there again
        cluster.network.lost.clear()
        cluster.outcome = None
        cluster.start()
        cluster.run()
        assert Reduced(2) == cluster.outcome


class Cluster:
    """A coordinator with the hosts of a chain."""

    def __init__(self, values: Values, window: int, chance: random.Random) -> None:
        count = len(values.by_host)
        self.values = values
        self.network = Network(count, window, chance)
        self.watch = ChainWatch(count)
        self.orders: list[deque[Tell]] = [deque() for _ in range(count)]
        self.reports: list[tuple[int, int]] = []
        self.outcome: Reduced | Failed | None = None
        self.now_s = 0.0
        self.token = 0
        self.chance = chance

    def start(self) -> None:
        self.token += 1
        self._do(self.watch.begin(self.token, self.now_s))

    def _do(self, actions: Sequence[WatchAction]) -> None:
        for action in actions:
            if isinstance(action, Tell):
                self.orders[action.host].append(action)
            else:
                assert self.outcome is None, "one outcome"
                self.outcome = action

    def break_at(self, host: int, fault: str) -> None:
        """Lose a host, or its messages to its neighbours."""
        self.network.lost.add(host)
        if fault == "lost":
            self.orders[host].clear()
            self._do(self.watch.lose(host))
        elif fault == "cut":
            self._do(self.watch.refuse(host, self.token, "has lost its link"))

    def step(self) -> bool:
        """Let one message arrive; return False if none is on its way."""
        network = self.network
        told = [orders for orders in self.orders if orders]
        moves: list[deque[Tell] | tuple[int, int]] = [*told, *network.full_links]
        if not moves:
            return False
        move = self.chance.choice(moves)
        if isinstance(move, tuple):
            network.deliver(move)
        else:
            self._obey(move.popleft())
        for host, token in list(network.filled.items()):
            self._do(self.watch.filled(host, token, self.now_s))
        return True

    def _obey(self, tell: Tell) -> None:
        host, order, token = tell
        if order is Order.BEGIN:
            self.network.begin(host, token, self.values)
        elif order is Order.CANCEL:
            self.network.hosts[host].cancel(token)
        else:
            self.watch.progress(host, token, self.network.hosts[host].handled, self.now_s)

    def run(self) -> None:
        """Let all messages arrive, and time pass, until the reduction has ended everywhere."""
        until_s = self.now_s + 2 * STALLED_S
        while self.step() or self.outcome is None:
            if not self.network.full_links and not any(self.orders) and self.outcome is None:
                assert self.watch.deadline_s is not None
                self.now_s = max(self.now_s, self.watch.deadline_s)
                assert self.now_s < until_s, "it has not ended"
                self._do(self.watch.look(self.now_s))
        assert not self.watch.is_running


def small(counts: Sequence[int], chunks: int = 3) -> ChainPlan:
    """Return the plan of a sum of float64 with one element for each chunk."""
    return chain_plan(counts, chunks, np.dtype("f8"), SUM, chunk_bytes=8)


def prefix(token: int, index: int, content: bytes = bytes(8)) -> Chunk:
    return Chunk(token, ChunkKind.PREFIX, index, content)


def test_chunks_of_a_later_reduction_wait_while_an_earlier_one_begins() -> None:
    """A host can learn that a reduction was cancelled later than its neighbour."""
    host = ChainHost(1, 2, window=2)
    values, out = [np.ones(3)], np.zeros(3)
    assert [] == host.arrives(0, prefix(1, 0)) + host.arrives(0, prefix(1, 1))
    assert [] == host.arrives(0, prefix(2, 0)), "the neighbour has ended reduction 1"
    assert 1 == host.early_chunks
    assert [] == host.arrives(0, prefix(1, 2)), "of an ended reduction"
    assert [] == host.begin(1, small([1, 1]), values, None, out)
    assert 1 == host.early_chunks
    host.cancel(1)
    actions = host.begin(2, small([1, 1]), values, None, out)
    assert [Chunk, Taken] == [type(one.message) for one in actions if isinstance(one, ToHost)]
    assert [1.0, 0.0, 0.0] == out.tolist()


def test_the_root_sends_the_result_both_ways() -> None:
    """ONLY_FIRST_REPLICA: the value of the first host, without a fold."""
    host = ChainHost(1, 3)
    out = np.zeros(3)
    actions = host.begin(1, small([0, 1, 0]), [np.arange(3.0)], None, out)
    sent = [(one.host, one.message.kind) for one in actions if isinstance(one, ToHost)]  # type: ignore[union-attr]
    assert sorted([(0, ChunkKind.RESULT), (2, ChunkKind.RESULT)] * 3) == sorted(sent)
    assert Filled(1) == actions[-1]
    assert 6 == host.handled


def test_arrays_are_dropped_when_they_are_not_needed() -> None:
    """The values after the result is here; the output after the neighbours have the result."""
    host = ChainHost(1, 3)
    value, out = np.arange(3.0), np.zeros(3)
    is_alive = weakref.ref(value), weakref.ref(out)
    host.begin(1, small([0, 1, 0]), [value], None, out)
    del value, out
    assert [False, True] == [one() is not None for one in is_alive]
    assert [] == host.arrives(0, Taken(1, 3)) + host.arrives(2, Taken(1, 2))
    assert is_alive[1]() is not None
    assert [] == host.arrives(2, Taken(1, 3))
    assert is_alive[1]() is None
    assert (6, 3, True) == (host.handled, host.results, host.is_delivered)


@pytest.mark.parametrize(
    ("sender", "message", "said"),
    [
        (3, prefix(1, 0), "host 3 is not a neighbour of host 1"),
        (0, prefix(1, 1), "host 0 sent PREFIX 1"),
        (0, prefix(1, 0, bytes(7)), "has 7 bytes instead of 8"),
        (0, Chunk(1, ChunkKind.RESULT, 0, bytes(8)), "host 0 sent RESULT 0"),
        (2, prefix(1, 0), "host 2 sent PREFIX 0"),
        (2, Taken(1, 1), "took 1 chunks, which were not sent"),
        (0, Taken(1, 1), "took 1 chunks, which were not sent"),
        (0, Taken(2, 1), "took chunks of a reduction that has not begun"),
    ],
)
def test_messages_that_do_not_follow_the_plan_are_protocol_errors(
    sender: int, message: ChainMessage, said: str
) -> None:
    host = ChainHost(1, 3)
    host.begin(1, small([1, 1, 1]), [np.ones(3)], None, np.zeros(3))
    with pytest.raises(ProtocolError, match=said):
        host.arrives(sender, message)


def test_more_early_chunks_than_a_window_are_a_protocol_error() -> None:
    host = ChainHost(1, 2, window=2)
    for index in range(2):
        host.arrives(0, prefix(1, index))
    with pytest.raises(ProtocolError, match="more than a window of early chunks"):
        host.arrives(0, prefix(1, 2))


def test_a_reduction_without_progress_fails_and_one_with_progress_does_not() -> None:
    watch = ChainWatch(2)
    assert [Tell(0, Order.BEGIN, 1), Tell(1, Order.BEGIN, 1)] == watch.begin(1, 0.0)
    now_s = 0.0
    for chunks in range(20):
        now_s += ASK_S
        assert [Tell(0, Order.ASK, 1), Tell(1, Order.ASK, 1)] == watch.look(now_s)
        watch.progress(1, 1, chunks, now_s)
    *asked, last = [watch.look(now_s + second) for second in range(1, int(STALLED_S) + 1)]
    assert all(asked)
    assert [Order.CANCEL, Order.CANCEL] == [one.order for one in last if isinstance(one, Tell)]
    assert Failed(1, "no progress for 10 s", ()) == last[-1]


def test_no_reduction_begins_without_a_lost_host() -> None:
    watch = ChainWatch(2)
    assert [] == watch.lose(1) + watch.lose(1)
    assert [Failed(1, "host 1 is lost", (1,))] == watch.begin(1, 0.0)
    assert watch.deadline_s is None
