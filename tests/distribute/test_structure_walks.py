"""Structures that contain a list often, or themselves, or are very deep, end every call at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.errors import ShapeError, SizeError, ValueMismatchError, ValueTypeError
from varsim.protocol.limits import MAX_NESTING

LEVELS = 40  # a walk that visits each occurrence of a shared list would visit 2^40 lists


def context() -> Any:
    return tf.distribute.get_replica_context()


def doubled(leaf: Any) -> Any:
    """Return a list whose items are twice the same list, and so on."""
    for _ in range(LEVELS):
        leaf = [leaf, leaf]
    return leaf


def doubled_dict(leaf: Any) -> Any:
    for _ in range(LEVELS):
        leaf = {"a": leaf, "b": leaf}
    return leaf


def endless(leaf: Any) -> list[Any]:
    """Return a list of 10,000 items that contains itself."""
    items = [leaf] * 10_000
    items.append(items)
    return items


def clique(leaf: Any) -> list[Any]:
    """Return one of ten lists that all contain each other."""
    lists: list[list[Any]] = [[leaf] for _ in range(10)]
    for one in lists:
        one.extend(lists)
    return lists[0]


def nested(levels: int, leaf: Any) -> Any:
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def deep(leaf: Any) -> Any:
    return nested(5_000, leaf)


def first_leaf(value: Any) -> Any:
    while isinstance(value, list | dict):
        value = value["a"] if isinstance(value, dict) else value[0]
    return value


Make = Callable[[Any], Any]
SHARED = pytest.mark.parametrize("make", [doubled, doubled_dict])
ENDLESS = pytest.mark.parametrize("make", [endless, clique, deep])


# ---------------------------------------------------------------- one structure


def test_a_shared_container_has_one_result():
    calls: list[float] = []
    got = map_structure(lambda leaf: calls.append(leaf) or 2 * leaf, doubled(1.0))
    assert (2.0, [1.0, 1.0]) == (first_leaf(got), calls)
    assert got[0] is got[1]
    assert [3, 1, 2, 1] == leaves_of([3, inner := [1, 2], (inner, 1)])


def test_the_deepest_structure_has_a_result():
    assert 2 == first_leaf(map_structure(lambda leaf: leaf + 1, nested(MAX_NESTING, 1)))
    with pytest.raises(SizeError, match="nested more than 256 levels deep"):
        map_structure(lambda leaf: leaf, nested(MAX_NESTING + 1, 1))


# ---------------------------------------------------------------- strategies


@SHARED
def test_shared_containers_pass_through_every_call(make: Make, strategy):
    rows = tf.distribute.PerReplica([np.float32(1), np.float32(3)])

    def step(given: Any) -> Any:
        own = context().merge_call(lambda _, one: one, args=(given,))
        assert replica_id() * 2 + 1 == first_leaf(own)
        return given

    result = strategy.run(step, args=(make(rows),))
    assert (1.0, 3.0) == first_leaf(result).values
    assert 4.0 == first_leaf(strategy.reduce("SUM", result, axis=None))
    assert [1.0, 3.0] == [*map(first_leaf, strategy.experimental_local_results(result))]
    assert 2 == len(leaves_of(make(rows)))


@ENDLESS
def test_other_structures_are_refused_as_arguments(make: Make, strategy):
    value = make(tf.distribute.PerReplica([1.0, 2.0]))
    with strategy.scope():
        v = tf.Variable(1.0)
    calls: list[Callable[[], Any]] = [
        lambda: strategy.run(lambda given: 1, args=(value,)),
        lambda: strategy.run(lambda: context().merge_call(lambda _, given: 1, args=(make(0),))),
        lambda: strategy.run(lambda: context().merge_call(lambda _: value)),
        lambda: strategy.run(lambda: context().all_reduce("SUM", make(1.0))),
        lambda: strategy.run(lambda: context().all_gather(make(np.ones(1)), 0)),
        lambda: strategy.reduce("SUM", value, axis=None),
        lambda: strategy.experimental_local_results(value),
        lambda: strategy.experimental_distribute_values_from_function(lambda _: make(1.0)),
        lambda: strategy.extended.update(v, lambda v, given: 1, args=(value,)),
        lambda: next(iter(strategy.experimental_distribute_dataset([make(1.0)]))),
    ]
    for call in calls:
        with pytest.raises((SizeError, ValueMismatchError), match=r"contains itself|levels deep"):
            call()
    assert 1 == strategy.run(lambda: 1)


@ENDLESS
def test_other_structures_are_returned_whole(make: Make, strategy):
    def step() -> Any:
        return make(1.0)

    result = strategy.run(step)
    assert isinstance(result, tf.distribute.DistributedValues)
    assert 1.0 == first_leaf(strategy.experimental_local_results(result)[1])


def test_too_many_values_for_a_collective_are_refused(strategy):
    with pytest.raises(SizeError, match="too many for a collective"):
        strategy.run(lambda: context().all_reduce("SUM", doubled(1.0)))


def test_a_difference_inside_a_shared_list_is_reported_once(strategy):
    def step() -> Any:
        return doubled([1.0] * (1 + replica_id()))

    with pytest.raises(ValueMismatchError) as caught:
        strategy.run(step)
    pair = "[0]" * (LEVELS - 1)
    assert [
        f"  {pair}[{i}]: a list of 1 on replica 0 against a list of 2 on replica 1" for i in (0, 1)
    ] == str(caught.value).splitlines()[1:]


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (doubled, SizeError),
        (clique, ValueTypeError),
        (endless, ValueTypeError),
        (deep, ShapeError),
    ],
)
def test_nested_lists_without_an_array_are_refused(make: Make, error: type[Exception], strategy):
    with strategy.scope():
        v = tf.Variable(1.0)
    with pytest.raises(error):
        v.assign(make([1.0]))
    with pytest.raises(error):
        strategy.reduce("SUM", make([1.0]), axis=0)


def test_an_exception_with_a_shared_list_reaches_the_program(strategy):
    def step() -> Any:
        raise ValueError(doubled(1.0))

    with pytest.raises(ValueError) as caught:
        strategy.run(step)
    assert 1.0 == first_leaf(caught.value.args[0])
    assert "no text: the exception has too many values" in str(caught.value.__cause__)
