"""The merge of a large value is divided among workers, and needs no worker that has failed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from varsim.exchange.shared import (
    SLICE_BYTES,
    SLICE_TIMEOUT_S,
    SharedMemoryReducer,
    SharedWorker,
    reduce_slice,
)
from varsim.exchange.star import StarWorker
from varsim.protocol.messages import ReduceSlice, SliceReduced
from varsim.spec import Operation, VariableAggregation
from varsim.sync import reduce
from varsim.sync.actions import Reduce
from varsim.transport.arena import Arena, create_file
from varsim.transport.leases import SHARED_FROM_BYTES

Array = np.ndarray[Any, Any]
SUM, MEAN, FIRST = (a for a in VariableAggregation if a is not VariableAggregation.NONE)
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB
LARGE = 4 * SLICE_BYTES // 8
"""The number of float64 elements of a value that is large enough for four workers."""


@dataclass
class Workers:
    """The slices requested of workers, and whether the workers compute them."""

    works: bool = True
    requested: dict[int, ReduceSlice] = field(default_factory=dict)

    def request(self, requests: dict[int, ReduceSlice]) -> None:
        self.requested |= requests


def merged(
    reducer: SharedMemoryReducer,
    values: Sequence[Array],
    aggregation: VariableAggregation,
    operation: Operation,
    mirror: Array | None,
    idle: Sequence[int],
    workers: Workers,
) -> Array:
    """Return the value of a reduction.

    If the workers do not compute their slices, the reducer computes the value alone.
    """
    request = Reduce(7, values, aggregation, operation, mirror, idle)
    value = reducer.reduce(request, workers.request, now_s=0.0)
    if value is not None:
        return value
    if workers.works:
        *before, done = (reducer.take(reduce_slice(one)) for one in workers.requested.values())
        assert not any(before)
    else:
        done = reducer.give_up()
    assert done is not None
    assert (7, None) == (done.token, reducer.deadline_s)
    return done.value


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(create_file(), 0, 1, 2**30, pytest.fail)
    yield made
    made.close()


@pytest.fixture
def reducer(arena: Arena) -> SharedMemoryReducer:
    made = SharedMemoryReducer(arena)
    made._cores = 4
    return made


def values_of(size: int, count: int = 3) -> list[Array]:
    chance = np.random.default_rng(1)
    return [chance.normal(0, 99, size) for _ in range(count)]


@pytest.mark.thorough
@pytest.mark.parametrize("works", [True, False], ids=["helped", "left alone"])
@pytest.mark.parametrize("aggregation", [SUM, MEAN, FIRST])
@pytest.mark.parametrize("operation", [ASSIGN, ADD, SUB])
@pytest.mark.parametrize("size", [10, SHARED_FROM_BYTES // 8, LARGE + 3])
def test_a_divided_merge_has_the_value_of_a_plain_merge(
    reducer: SharedMemoryReducer,
    works: bool,
    aggregation: VariableAggregation,
    operation: Operation,
    size: int,
) -> None:
    values, mirror = values_of(size), values_of(size, 1)[0]
    for before in (None, mirror):
        expected = reduce.merge(values, aggregation, operation, before)
        got = merged(reducer, values, aggregation, operation, before, range(9), Workers(works))
        assert expected.tobytes() == got.tobytes()
        assert (expected.dtype, expected.shape) == (got.dtype, got.shape)


def test_large_results_are_in_shared_memory(arena: Arena, reducer: SharedMemoryReducer) -> None:
    for size in (SHARED_FROM_BYTES // 8 - 1, SHARED_FROM_BYTES // 8):
        got = merged(reducer, values_of(size), SUM, ASSIGN, None, (), Workers())
        assert (arena.reference_of(got) is not None) == (got.nbytes >= SHARED_FROM_BYTES)


def test_workers_get_equal_slices_which_together_are_the_whole_array(
    reducer: SharedMemoryReducer,
) -> None:
    workers = Workers()
    got = merged(reducer, values_of(LARGE), SUM, ASSIGN, None, [5, 2, 7, 1], workers)

    assert [5, 2, 7] == list(workers.requested), "one slice for each core except one"
    sizes = {request.out.size for request in workers.requested.values()}
    assert max(sizes) - min(sizes) <= 1
    assert all(np.shares_memory(request.out, got) for request in workers.requested.values())
    assert 3 == len({request.request_id for request in workers.requested.values()})


@pytest.mark.thorough
@pytest.mark.parametrize("cores", [1, 2, 64, 1000])
def test_every_slice_is_large_enough_to_be_in_shared_memory(
    reducer: SharedMemoryReducer, cores: int
) -> None:
    """A smaller array is sent by value, and a worker would write its slice into its own copy."""
    reducer._cores = cores
    for size in (SHARED_FROM_BYTES // 8, SLICE_BYTES // 4, LARGE, 10 * LARGE):
        workers = Workers()
        merged(reducer, values_of(size), SUM, ASSIGN, None, range(1000), workers)
        assert len(workers.requested) < cores
        assert all(r.out.nbytes >= SHARED_FROM_BYTES for r in workers.requested.values())
        assert all(
            value.nbytes >= SHARED_FROM_BYTES
            for r in workers.requested.values()
            for value in r.values
        )


def test_late_writes_of_a_lost_worker_change_no_result(
    reducer: SharedMemoryReducer,
) -> None:
    workers = Workers(works=False)
    got = merged(reducer, values_of(LARGE), MEAN, ASSIGN, None, [1], workers)
    expected = got.copy()

    workers.requested[1].out.fill(7)

    assert expected.tobytes() == got.tobytes()


def test_an_assign_of_one_value_needs_no_computation(reducer: SharedMemoryReducer) -> None:
    for count, aggregation in ((1, MEAN), (3, FIRST)):
        values = values_of(LARGE, count)
        got = merged(reducer, values, aggregation, ASSIGN, values[0], [1], Workers())
        assert got is values[0]


def test_bools_of_the_first_replica_need_no_computation(reducer: SharedMemoryReducer) -> None:
    values = [np.zeros(SHARED_FROM_BYTES, np.bool_) for _ in range(2)]
    assert merged(reducer, values, FIRST, ASSIGN, None, (), Workers()) is values[0]


def test_a_reduction_with_workers_ends_with_the_last_slice(reducer: SharedMemoryReducer) -> None:
    """Slices of an earlier reduction, which was abandoned, are ignored."""
    workers = Workers()
    request = Reduce(7, values_of(LARGE), SUM, ASSIGN, None, [1, 2])
    assert None is reducer.reduce(request, workers.request, now_s=1.0)
    late = [SliceReduced(request_id=one.request_id) for one in workers.requested.values()]
    assert None is reducer.reduce(request, workers.request, now_s=2.0)

    assert 2.0 + SLICE_TIMEOUT_S == reducer.deadline_s
    assert [None, None] == [reducer.take(one) for one in late]
    first, last = [reducer.take(reduce_slice(one)) for one in workers.requested.values()]
    assert None is first
    assert last is not None
    assert None is reducer.deadline_s


def test_the_reducer_computes_the_slice_of_a_dead_worker(
    reducer: SharedMemoryReducer,
) -> None:
    workers, values = Workers(), values_of(LARGE)
    request = Reduce(7, values, SUM, ASSIGN, None, [1, 2])
    assert None is reducer.reduce(request, workers.request, now_s=0.0)

    assert None is reducer.lose(0)
    done = reducer.lose(2)

    assert done is not None
    assert request.computed().tobytes() == done.value.tobytes()
    assert None is reducer.lose(1)


def test_if_shared_memory_is_full_a_merge_is_not_divided() -> None:
    warnings: list[str] = []
    arena = Arena(create_file(), 0, 1, 2**16, warnings.append)
    values = values_of(LARGE)
    workers = Workers()

    got = merged(SharedMemoryReducer(arena), values, SUM, ASSIGN, None, [1], workers)

    assert reduce.merge(values, SUM, ASSIGN, None).tobytes() == got.tobytes()
    assert not workers.requested
    assert 1 == len(warnings)
    arena.close()


@pytest.mark.parametrize("interrupted", [True, False], ids=["interrupted", "replaced"])
def test_an_abandoned_reduction_keeps_no_shared_memory(
    arena: Arena, reducer: SharedMemoryReducer, interrupted: bool
) -> None:
    def send(_: Any) -> None:
        if interrupted:
            raise KeyboardInterrupt

    request = Reduce(7, values_of(LARGE), SUM, ASSIGN, None, [1])
    with pytest.raises(KeyboardInterrupt) if interrupted else nullcontext():
        reducer.reduce(request, send, now_s=0.0)
    reducer.reduce(Reduce(8, values_of(1), SUM, ASSIGN, None, []), send, now_s=0.0)
    arena.settle()
    assert arena._held_bytes == sum(size * len(free) for size, free in arena._free.items())


@pytest.mark.parametrize(
    ("worker", "is_shared"), [(lambda arena: StarWorker(), False), (SharedWorker, True)]
)
def test_an_array_to_be_sent_is_created_in_shared_memory(
    arena: Arena, worker: Callable[[Arena], StarWorker | SharedWorker], is_shared: bool
) -> None:
    for size in (1, SHARED_FROM_BYTES):
        made = worker(arena).empty((size,), np.dtype(np.uint8))
        assert (arena.reference_of(made) is not None) == (is_shared and size == SHARED_FROM_BYTES)
