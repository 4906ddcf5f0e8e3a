"""How merges of large values are shared out, and what is done when a helper fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from varsim.errors import AggregationError
from varsim.launch.exchange import SLICE_BYTES, SharedExchange, empty, reduce_slice
from varsim.protocol.messages import ReduceSlice
from varsim.spec import Operation, VariableAggregation
from varsim.sync import reduce
from varsim.transport.arena import Arena, create_file
from varsim.transport.loans import SHARED_FROM_BYTES

Array = np.ndarray[Any, Any]
SUM, MEAN, FIRST = (a for a in VariableAggregation if a is not VariableAggregation.NONE)
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB
LARGE = 4 * SLICE_BYTES // 8
"""So many float64s are enough for four helpers."""


@dataclass
class Workers:
    """Do what they are asked, or leave it."""

    works: bool = True
    asked: dict[int, ReduceSlice] = field(default_factory=dict)

    def ask(self, requests: dict[int, ReduceSlice]) -> None:
        self.asked |= requests

    def wait(self) -> bool:
        for request in self.asked.values():
            if self.works:
                reduce_slice(request)
        return self.works


@pytest.fixture
def arena() -> Iterator[Arena]:
    made = Arena(create_file(), 0, 1, 2**30, pytest.fail)
    yield made
    made.close()


@pytest.fixture
def exchange(arena: Arena) -> SharedExchange:
    made = SharedExchange(arena)
    made._cores = 4
    return made


def values_of(size: int, count: int = 3) -> list[Array]:
    chance = np.random.default_rng(1)
    return [chance.normal(0, 99, size) for _ in range(count)]


@pytest.mark.parametrize("works", [True, False], ids=["helped", "left alone"])
@pytest.mark.parametrize("aggregation", [SUM, MEAN, FIRST])
@pytest.mark.parametrize("operation", [ASSIGN, ADD, SUB])
@pytest.mark.parametrize("size", [10, SHARED_FROM_BYTES // 8, LARGE + 3])
def test_any_merge_is_what_a_plain_merge_is(
    exchange: SharedExchange,
    works: bool,
    aggregation: VariableAggregation,
    operation: Operation,
    size: int,
) -> None:
    values, mirror = values_of(size), values_of(size, 1)[0]
    for before in (None, mirror):
        expected = reduce.merge(values, aggregation, operation, before)
        got = exchange.merge(values, aggregation, operation, before, range(9), Workers(works))
        assert expected.tobytes() == got.tobytes()
        assert (expected.dtype, expected.shape) == (got.dtype, got.shape)


def test_large_results_lie_in_shared_memory(arena: Arena, exchange: SharedExchange) -> None:
    for size in (SHARED_FROM_BYTES // 8 - 1, SHARED_FROM_BYTES // 8):
        got = exchange.merge(values_of(size), SUM, ASSIGN, None, (), Workers())
        assert (arena.place_of(got) is not None) == (got.nbytes >= SHARED_FROM_BYTES)


def test_helpers_get_equal_parts_that_make_up_the_whole(exchange: SharedExchange) -> None:
    workers = Workers()
    got = exchange.merge(values_of(LARGE), SUM, ASSIGN, None, [5, 2, 7, 1], workers)

    assert [5, 2, 7] == list(workers.asked), "one for each core but this process's own"
    sizes = {request.out.size for request in workers.asked.values()}
    assert max(sizes) - min(sizes) <= 1
    assert all(np.shares_memory(request.out, got) for request in workers.asked.values())
    assert 3 == len({request.request_id for request in workers.asked.values()})


@pytest.mark.parametrize("cores", [1, 2, 64, 1000])
def test_every_part_is_large_enough_to_be_shared(exchange: SharedExchange, cores: int) -> None:
    """One that is sent by value would be computed where nobody sees it."""
    exchange._cores = cores
    for size in (SHARED_FROM_BYTES // 8, SLICE_BYTES // 4, LARGE, 10 * LARGE):
        workers = Workers()
        exchange.merge(values_of(size), SUM, ASSIGN, None, range(1000), workers)
        assert len(workers.asked) < cores
        assert all(r.out.nbytes >= SHARED_FROM_BYTES for r in workers.asked.values())
        assert all(
            value.nbytes >= SHARED_FROM_BYTES for r in workers.asked.values() for value in r.values
        )


def test_what_a_lost_helper_may_still_write_to_is_not_the_result(
    exchange: SharedExchange,
) -> None:
    workers = Workers(works=False)
    got = exchange.merge(values_of(LARGE), MEAN, ASSIGN, None, [1], workers)
    expected = got.copy()

    workers.asked[1].out.fill(7)

    assert expected.tobytes() == got.tobytes()


def test_nothing_is_computed_for_one_value_that_is_assigned(exchange: SharedExchange) -> None:
    for count, aggregation in ((1, MEAN), (3, FIRST)):
        values = values_of(LARGE, count)
        got = exchange.merge(values, aggregation, ASSIGN, values[0], [1], Workers())
        assert got is values[0]


def test_bools_are_refused_as_a_plain_merge_refuses_them(exchange: SharedExchange) -> None:
    values = [np.zeros(SHARED_FROM_BYTES, np.bool_) for _ in range(2)]
    for merge in (
        lambda: reduce.merge(values, SUM, ASSIGN, None),
        lambda: exchange.merge(values, SUM, ASSIGN, None, (), Workers()),
    ):
        with pytest.raises(AggregationError):
            merge()
    assert exchange.merge(values, FIRST, ASSIGN, None, (), Workers()) is values[0]


def test_where_there_is_no_room_it_is_a_plain_merge() -> None:
    warnings: list[str] = []
    arena = Arena(create_file(), 0, 1, 2**16, warnings.append)
    values = values_of(LARGE)
    workers = Workers()

    got = SharedExchange(arena).merge(values, SUM, ASSIGN, None, [1], workers)

    assert reduce.merge(values, SUM, ASSIGN, None).tobytes() == got.tobytes()
    assert not workers.asked
    assert 1 == len(warnings)
    arena.close()


@pytest.mark.parametrize("interrupted", ["ask", "wait"])
def test_an_interrupted_merge_leaves_nothing(
    arena: Arena, exchange: SharedExchange, monkeypatch: pytest.MonkeyPatch, interrupted: str
) -> None:
    def interrupt(*_: Any) -> bool:
        raise KeyboardInterrupt

    workers = Workers()
    with monkeypatch.context() as patch:
        patch.setattr(workers, interrupted, interrupt)
        with pytest.raises(KeyboardInterrupt):
            exchange.merge(values_of(LARGE), SUM, ASSIGN, None, [1], workers)
    workers.asked.clear()
    arena.settle()
    assert arena._held_bytes == sum(size * len(free) for size, free in arena._free.items())


@pytest.mark.parametrize(
    ("make", "is_shared"),
    [(lambda arena: None, False), (lambda arena: arena, True)],
    ids=["no memory", "memory"],
)
def test_an_array_to_be_sent_lies_where_the_other_end_sees_it(
    arena: Arena, make: Callable[[Arena], Arena | None], is_shared: bool
) -> None:
    for size in (1, SHARED_FROM_BYTES):
        made = empty(make(arena), (size,), np.dtype(np.uint8))
        assert (arena.place_of(made) is not None) == (is_shared and size == SHARED_FROM_BYTES)
