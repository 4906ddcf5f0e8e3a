"""Large values have the same bits with and without shared memory; read values never change."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.effort import many
from tests.processes import shared_replicas as replicas
from tests.processes.conftest import Strategy, cluster
from tests.processes.shared_replicas import SIZE, Array
from varsim.environment import SHARED_MEMORY
from varsim.errors import ConfigError
from varsim.exchange.shared import SLICE_BYTES, SharedCoordinator
from varsim.transport.arena import Arena

pytestmark = [
    pytest.mark.processes,
    pytest.mark.filterwarnings(
        "ignore:list 'KEPT' of the program"
    ),  # each replica changes its own list
]

ON_READ = tf.VariableSynchronization.ON_READ
SUM, MEAN, FIRST = (
    tf.VariableAggregation.SUM,
    tf.VariableAggregation.MEAN,
    tf.VariableAggregation.ONLY_FIRST_REPLICA,
)


@pytest.fixture(scope="module")
def strategies() -> Iterator[dict[str, Strategy]]:
    """Provide one cluster for each exchange. All tests share the clusters."""
    with ExitStack() as stack:
        made = {
            exchange: stack.enter_context(cluster(3, exchange=exchange))
            for exchange in ("star", "shared")
        }
        # The first large frame makes pyzmq start a thread, which runs until the process ends.
        made["star"].run(np.size, args=(np.zeros(2**18),))
        yield made


@pytest.fixture
def shared(strategies: dict[str, Strategy]) -> Strategy:
    return strategies["shared"]


def link_of(strategy: Strategy) -> Any:
    return strategy.coordinator.link.channel


def arena_of(strategy: Strategy) -> Arena:
    arena: Arena = link_of(strategy)._exchange.arena
    return arena


def used_bytes(strategy: Strategy) -> int:
    """Return the size of the program's own blocks that a process still reads."""
    arena = arena_of(strategy)
    arena.reclaim(arena._held_bytes)
    arena.settle()
    return arena._held_bytes - sum(size * len(free) for size, free in arena._free.items())


def variable(strategy: Strategy, value: Any, aggregation: Any = MEAN, **settings: Any) -> Any:
    with strategy.scope():
        return tf.Variable(value, aggregation=aggregation, **settings)


# ---------------------------------------------------------------- the same bits


def kinds_of(strategy: Strategy) -> list[Any]:
    """Create variables of many dtypes; some are large enough for shared memory or slices."""
    made = []
    for dtype in "f2 f4 f8 i2 i8 c8".split():
        for size in (5, 40_000, 140_000):
            first = (np.arange(size) % 99).astype(dtype)
            both = (SUM, FIRST) if dtype[0] == "i" else (SUM, MEAN)
            made += [variable(strategy, first, aggregation) for aggregation in both]
    made.append(variable(strategy, np.ones((3, 3 * SLICE_BYTES // 8)), MEAN))
    return made


@pytest.mark.thorough
def test_every_exchange_gives_the_same_bits(strategies: dict[str, Strategy]) -> None:
    outcomes: dict[str, list[bytes]] = {}
    for exchange, strategy in strategies.items():
        variables = kinds_of(strategy)
        seen: list[Array] = []
        for seed in range(2):
            result = strategy.run(replicas.several, args=(variables, seed))
            seen += [one for part in strategy.experimental_local_results(result) for one in part]
        outcomes[exchange] = [one.tobytes() for one in (*seen, *[v.numpy() for v in variables])]
    assert outcomes["star"] == outcomes["shared"]


def test_large_values_are_not_sent_through_sockets(
    strategies: dict[str, Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: dict[str, int] = {}
    for exchange, strategy in strategies.items():
        v = variable(strategy, np.zeros(SIZE))
        link = link_of(strategy)
        lengths: list[int] = []
        send = link._listener.send

        def count(to: int, frames: Any, send: Any = send, lengths: Any = lengths) -> bool:
            lengths.append(sum(map(len, frames)))
            return bool(send(to, frames))

        with monkeypatch.context() as patch:
            patch.setattr(link._listener, "send", count)
            write = partial(replicas.write, in_place=True, keeps=False)
            strategy.run(write, args=(v, "assign", 1))
            v.assign(np.ones(SIZE))
        sent[exchange] = sum(lengths)
    assert sent["star"] > 6 * 8 * SIZE
    assert sent["shared"] < 8 * SIZE / 10


def test_large_sets_of_rows_are_not_sent_through_sockets(
    strategies: dict[str, Strategy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each replica adds to half of the rows; both exchanges give the same bits."""
    sent: dict[str, int] = {}
    seen: dict[str, bytes] = {}

    for exchange, strategy in strategies.items():
        table = variable(strategy, np.zeros(SIZE), SUM)
        listener = link_of(strategy)._listener
        lengths: list[int] = []
        send = listener.send

        def count(to: int, frames: Any, send: Any = send, lengths: Any = lengths) -> bool:
            lengths.append(sum(map(len, frames)))
            return bool(send(to, frames))

        with monkeypatch.context() as patch:
            patch.setattr(listener, "send", count)
            strategy.run(replicas.add_half, args=(table,))
        sent[exchange], seen[exchange] = sum(lengths), table.numpy().tobytes()
    rows_bytes = 3 * (8 + 8) * SIZE // 2  # indices and values of all replicas
    assert sent["star"] > 3 * rows_bytes
    assert sent["shared"] < rows_bytes / 10
    assert seen["star"] == seen["shared"]


# ---------------------------------------------------------------- read values never change


@pytest.mark.parametrize("seed", range(many(3)))
@pytest.mark.parametrize("exchange", ["star", "shared"])
def test_a_read_value_never_changes(
    strategies: dict[str, Strategy], exchange: str, seed: int
) -> None:
    """The program and the replicas keep read values during many commits."""
    strategy, chance = strategies[exchange], random.Random(seed)
    variables = [
        variable(strategy, np.zeros(chance.choice([SIZE, SIZE + 1, 4 * SIZE])), aggregation)
        for aggregation in (MEAN, SUM, FIRST)
    ]
    variables.append(variable(strategy, np.zeros(SIZE), SUM, synchronization=ON_READ))
    kept: list[tuple[Array, bytes]] = []
    for number in range(40):
        v = chance.choice(variables)
        match chance.choice("write write write program read forget".split()):
            case "write":
                write = partial(
                    replicas.write, in_place=chance.random() < 0.5, keeps=chance.random() < 0.5
                )
                operation = chance.choice(["assign", "assign_add", "assign_sub"])
                result = strategy.run(write, args=(v, operation, number))
                assert {0} == set(strategy.experimental_local_results(result))
            case "program":
                given = np.random.default_rng(number).normal(size=v.shape)
                v.assign(given)
                given.fill(0)
            case "read":
                values = v.values if chance.random() < 0.3 else [v]
                kept += [(a, a.tobytes()) for a in (one.read_value() for one in values)]
            case _:
                del kept[: chance.randint(0, 4)]
                strategy.run(replicas.changed, args=(chance.randint(0, 4),))
        for now, then in kept:
            assert then == now.tobytes()
            assert not now.flags.writeable
    result = strategy.run(replicas.changed, args=(1000,))
    assert {0} == set(strategy.experimental_local_results(result))


def test_a_read_value_can_be_used_after_its_cluster_has_ended() -> None:
    with cluster(2) as strategy:
        v = variable(strategy, np.zeros(SIZE))
        strategy.run(partial(replicas.write, in_place=True, keeps=True), args=(v, "assign", 1))
        read = v.read_value()
        before = read.tobytes()
    assert before == read.tobytes()
    del v, read, strategy


def test_a_buffer_is_read_only_after_its_assign(shared: Strategy) -> None:
    v = variable(shared, np.zeros(SIZE), FIRST)
    result = shared.run(replicas.address_and_writeable, args=(v,))
    first, *_ = shared.experimental_local_results(result)
    assert (True, False, True) == first


# ---------------------------------------------------------------- memory is limited and freed


@pytest.mark.thorough
@pytest.mark.parametrize("what", ["replicas write", "replicas return", "program writes", "reads"])
def test_memory_is_reused(shared: Strategy, what: str) -> None:
    """After a few steps, no further step needs more memory for the values of any process.

    Every ten steps the test waits for the replicas. A program that only writes can be ahead of
    the replicas; how far ahead depends on the exchange, on memory and on time.
    """
    v = variable(shared, np.zeros(SIZE), FIRST if what == "replicas return" else MEAN)
    write = partial(replicas.write, in_place=True, keeps=False)
    used: list[int] = []
    for number in range(200):
        if what == "program writes":
            v.assign(np.full(SIZE, float(number)))
            if number % 10 == 9:
                shared.run(replicas.changed)
        elif what == "reads":
            v.assign(np.full(SIZE, float(number)))
            shared.run(replicas.last_read, args=(v,))
        else:
            shared.run(write, args=(v, "assign", number))
            if what == "replicas return":
                shared.run(replicas.last_read, args=(v,))
        used.append(arena_of(shared)._held_bytes)
    assert used[-1] <= used[20] + 40 * 8 * SIZE
    shared.run(replicas.changed)
    assert used_bytes(shared) <= 20 * 8 * SIZE


def test_memory_of_a_dropped_variable_is_freed(shared: Strategy) -> None:
    shared.run(replicas.changed)
    before = used_bytes(shared)
    v = variable(shared, np.zeros(4 * SIZE))
    shared.run(partial(replicas.write, in_place=True, keeps=False), args=(v, "assign", 1))
    del v
    variable(shared, 0.0)  # the next operation sends the message that drops `v`
    shared.run(replicas.changed)
    assert used_bytes(shared) <= before


def test_memory_of_a_lost_worker_is_freed() -> None:
    with cluster(2) as strategy:
        v = variable(strategy, np.zeros(SIZE))
        strategy.run(partial(replicas.write, in_place=True, keeps=True), args=(v, "assign", 1))
        leases = link_of(strategy)._exchange._codec._leases[1]
        assert leases._lent
        with pytest.raises(tf.errors.WorkerLost):
            strategy.run(replicas.end_at, args=(1,))
        assert not leases._lent
    del v, strategy, leases  # the mirror is in the shared memory


# ---------------------------------------------------------------- settings


def test_when_memory_is_full_values_are_sent_through_sockets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(SHARED_MEMORY, "1000000")
    with cluster(2) as strategy, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        v = variable(strategy, np.zeros(SIZE), SUM)
        for number in range(5):
            strategy.run(
                partial(replicas.write, in_place=True, keeps=True), args=(v, "assign", number)
            )
            v.assign(v.read_value() + 1)
        chances = [np.random.default_rng([4, i]) for i in range(2)]
        expected = sum(chance.normal(0, 99, SIZE) for chance in chances) + 1
        assert expected.tobytes() == v.numpy().tobytes()
        result = strategy.run(replicas.changed)
        assert {0} == set(strategy.experimental_local_results(result))
    texts = [str(one.message) for one in caught if one.category is tf.VarsimWarning]
    assert 1 == sum(SHARED_MEMORY in text for text in texts), texts


def test_a_limit_that_is_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SHARED_MEMORY, "lots")
    with pytest.raises(ConfigError, match=f"{SHARED_MEMORY}='lots'"):
        cluster(1)


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"exchange": "shared", "transport": "tcp"}, "use exchange='auto'"),
        ({"exchange": "nonsense"}, "expected 'auto', 'shared', 'chain' or 'star'"),
    ],
)
def test_an_unavailable_exchange_is_refused(settings: dict[str, Any], remedy: str) -> None:
    with pytest.raises(ConfigError, match=remedy):
        cluster(1, **settings)


@pytest.mark.parametrize(
    ("settings", "is_shared"),
    [
        ({}, True),
        pytest.param({"exchange": "star"}, False, marks=pytest.mark.thorough),
        ({"transport": "tcp"}, False),
    ],
    ids=str,
)
def test_shared_memory_is_used_if_possible(settings: dict[str, Any], is_shared: bool) -> None:
    with cluster(1, **settings) as strategy:
        assert is_shared == isinstance(link_of(strategy)._exchange, SharedCoordinator)
