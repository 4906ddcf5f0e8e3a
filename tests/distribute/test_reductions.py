"""Reductions, broadcasts, scans and exchanges in replica context, and `strategy.reduce`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import AggregationError, MismatchError, UnsupportedError, ValueMismatchError

F = np.float32
Op = tf.distribute.ReduceOp


def context() -> Any:
    return tf.distribute.get_replica_context()


def cluster(count: int, **settings: Any) -> Any:
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)], **settings)


def results(strategy: Any, step: Any) -> list[Any]:
    """Return the result of each replica; equal Python values are one value."""
    given = strategy.experimental_local_results(strategy.run(step))
    return list(given) if len(given) > 1 else list(given) * strategy.num_replicas_in_sync


# ---------------------------------------------------------------- reductions


@pytest.mark.parametrize(
    ("op", "values", "expected"),
    [
        ("min", F([1, np.nan, 3]), [1, np.nan, 1]),
        (Op.MAX, F([1, np.nan, 3]), [2, np.nan, 3]),
        ("PROD", F([1, np.nan, 3]), [2, np.nan, 3]),
        (Op.ANY, np.array([False, True, True]), [True, True, True]),
        (Op.ALL, np.array([False, True, True]), [False, True, False]),
    ],
)
def test_all_reduce_and_reduce_have_the_same_ops(strategy, op, values, expected):
    second = np.array([True, True, False]) if values.dtype == bool else F([2, 1, 1])

    def step():
        own = second if replica_id() else values
        return own, context().all_reduce(op, own)

    own, reduced = strategy.run(step)
    for result in (*reduced.values, strategy.reduce(op, own, axis=None)):
        assert values.dtype == result.dtype
        np.testing.assert_array_equal(np.array(expected, values.dtype), result)


def test_a_weighted_mean_of_means_is_the_mean_of_all_rows(simulated):
    """The last batch has 3 rows on replica 0, 1 row on replica 1, and none on replica 2."""
    three = cluster(3)
    shards = [F([1, 2, 3]), F([10]), F([])]

    def step():
        rows = shards[replica_id()]
        with np.errstate(invalid="ignore"):
            mean = rows.sum() / F(len(rows))
        return context().all_reduce("MEAN", mean, weight=len(rows)), mean, len(rows)

    weighted, means, rows = three.run(step)
    assert [4.0] * 3 == [float(one) for one in weighted.values]
    assert 4.0 == three.reduce("MEAN", means, axis=None, weight=rows)
    assert F == three.reduce("MEAN", means, axis=None, weight=rows).dtype


def test_one_number_is_the_weight_of_every_replica(strategy):
    """A plain number that is equal on all replicas is returned from `run` as one number."""
    means, rows = strategy.run(lambda: (F(replica_id()), 4))
    assert 4 == rows
    assert 0.5 == strategy.reduce("MEAN", means, axis=None, weight=rows)


def test_weights_that_are_all_zero_fail_the_call_on_all_replicas(strategy):
    with pytest.raises(AggregationError, match="the weights of all replicas are 0"):
        strategy.run(lambda: context().all_reduce("MEAN", 1.0, weight=0))
    with pytest.raises(AggregationError, match="the weights of all replicas are 0"):
        strategy.reduce("MEAN", strategy.run(lambda: F(replica_id())), axis=None, weight=0)


@pytest.mark.parametrize(
    ("op", "weight", "said"),
    [
        ("SUM", 1, "only a MEAN has weights"),
        ("MEAN", -1, "one finite number from 0"),
        ("MEAN", float("nan"), "one finite number from 0"),
        ("MEAN", [1, 2], "one finite number from 0"),
    ],
)
def test_a_wrong_weight_is_refused(strategy, op, weight, said):
    with pytest.raises(ValueError, match=said):
        strategy.run(lambda: context().all_reduce(op, 1.0, weight=weight))
    with pytest.raises(ValueError, match=said):
        strategy.reduce(op, strategy.run(lambda: F(replica_id())), axis=None, weight=weight)


def test_a_weight_needs_no_axis(strategy):
    with pytest.raises(ValueError, match="weight= needs axis=None"):
        strategy.reduce("MEAN", np.ones(2), axis=0, weight=1)


@pytest.mark.parametrize(
    ("op", "expected"),
    [("MIN", -3.0), ("MAX", 7.0), ("PROD", -84.0)],
)
def test_reduce_along_an_axis_uses_the_op_twice(strategy, op, expected):
    """Replica 1 has no rows."""
    rows = tf.distribute.PerReplica([F([4, -3, 7]), F([])])
    assert expected == strategy.reduce(op, rows, axis=0)


def test_the_largest_of_no_rows_has_no_value(strategy):
    rows = tf.distribute.PerReplica([F([]), F([])])
    with pytest.raises(ValueError, match="the MAX of no rows has no value"):
        strategy.reduce("MAX", rows, axis=0)
    assert 1 == strategy.reduce("PROD", rows, axis=0)


@pytest.mark.parametrize("op", ["MEAN", "MIN", "MAX"])
def test_copies_of_one_value_reduce_to_the_value(strategy, op):
    with strategy.scope():
        v = tf.Variable(3.0)
    assert 3.0 == strategy.reduce(op, v, axis=None)
    assert 3.0 == strategy.reduce(op, 3.0, axis=None)


def test_a_product_of_copies_is_refused(strategy):
    with strategy.scope():
        v = tf.Variable(3.0)
    with pytest.raises(ValueError, match="their product has no meaning"):
        strategy.reduce("PROD", v, axis=None)
    with pytest.raises(ValueError, match=r"cannot PROD 3\.0 over 2 replicas"):
        strategy.reduce("PROD", 3.0, axis=None)


def test_an_op_without_meaning_fails_the_call_on_all_replicas(strategy):
    with pytest.raises(AggregationError, match="Use ANY or ALL for bools"):
        strategy.run(lambda: context().all_reduce("MAX", np.array(True)))


@pytest.mark.parametrize("op", ["MIN", "MAX", "PROD"])
def test_rows_are_joined_only_by_sum_and_mean(strategy, op):
    rows = tf.IndexedSlices(np.ones((1, 2), F), [0], dense_shape=(3, 2))
    for refused in (
        lambda: strategy.run(lambda: context().all_reduce(op, rows)),
        lambda: strategy.reduce(op, tf.distribute.PerReplica([rows, rows]), axis=None),
    ):
        with pytest.raises(UnsupportedError, match=f"which join their rows, and not with {op}"):
            refused()
    with pytest.raises(UnsupportedError, match="not with a weighted MEAN"):
        strategy.run(lambda: context().all_reduce("MEAN", rows, weight=1))


# ---------------------------------------------------------------- the other collectives


def test_reduce_scatter_gives_each_replica_its_part(strategy):
    def step():
        value = {"a": np.arange(4) + replica_id(), "b": np.ones((2, 2), F)}
        return context().reduce_scatter("SUM", value)

    first, second = results(strategy, step)
    assert ([1, 3], [[2.0, 2.0]]) == (first["a"].tolist(), first["b"].tolist())
    assert ([5, 7], [[2.0, 2.0]]) == (second["a"].tolist(), second["b"].tolist())


def test_reduce_scatter_accepts_an_axis_and_weights(strategy):
    def step():
        value = F([[1, 2]]) if replica_id() else F([[5, 6]])
        return context().reduce_scatter("MEAN", value, axis=1, weight=3 if replica_id() else 1)

    assert [[[2.0]], [[3.0]]] == [one.tolist() for one in results(strategy, step)]


def test_reduce_scatter_names_the_sizes_that_do_not_divide(strategy):
    with pytest.raises(ValueError, match="cannot split 5 rows along axis 0 into 2 equal parts"):
        strategy.run(lambda: context().reduce_scatter("SUM", np.zeros(5)))


def test_all_to_all_exchanges_uneven_parts(simulated):
    three = cluster(3)

    def step():
        i = replica_id()
        return context().all_to_all([np.full(i + j, 10 * i + j) for j in range(3)])

    got = results(three, step)
    assert [[[], [10], [20, 20]], [[1], [11, 11], [21, 21, 21]]] == [
        [part.tolist() for part in one] for one in got[:2]
    ]


def test_all_to_all_needs_one_value_for_each_replica(strategy):
    with pytest.raises(ValueError, match="got 3 values, and 2 replicas take part"):
        strategy.run(lambda: context().all_to_all([np.zeros(1)] * 3))


def test_broadcast_gives_the_value_of_the_root(strategy):
    def step():
        return context().broadcast({"w": F([replica_id()]), "n": replica_id()}, root=1)

    assert [(1.0, 1)] * 2 == [
        (float(one["w"][0]), int(one["n"])) for one in results(strategy, step)
    ]


@pytest.mark.parametrize("root", [2, -1, "a"])
def test_the_root_must_take_part(strategy, root):
    with pytest.raises(ValueError, match="from 0 to 1"):
        strategy.run(lambda: context().broadcast(1.0, root=root))


def test_scan_gives_the_number_of_the_first_row(simulated):
    three = cluster(3)
    step = lambda: context().scan("SUM", np.int32(replica_id() + 2), exclusive=True)  # noqa: E731

    got = results(three, step)
    assert [0, 2, 5] == [int(one) for one in got]
    assert [np.dtype(np.int32)] * 3 == [one.dtype for one in got]
    inclusive = results(three, lambda: context().scan("MAX", F([-replica_id(), replica_id()])))
    assert [[0, 0], [0, 1], [0, 2]] == [one.tolist() for one in inclusive]


def test_scan_has_no_mean(strategy):
    with pytest.raises(ValueError, match="scan has no MEAN: scan the SUM"):
        strategy.run(lambda: context().scan("MEAN", 1.0))


def test_only_the_replicas_that_take_part_are_combined(simulated):
    """Replica 2 has joined: it has no rows."""
    three = cluster(3, uneven="join")
    batch = tf.distribute.PerReplica([np.float32(1), np.float32(3)], 1)

    def step(value):
        own = context()
        return (
            own.all_reduce("MEAN", value, weight=1 + 2 * replica_id()),
            own.reduce_scatter("MAX", np.arange(2) * value),
            own.all_to_all([value, value])[1],
            own.broadcast(value, root=1),
            own.scan("SUM", value),
        )

    got = three.run(step, args=(batch,))
    assert [
        [2.5, 2.5], [[0.0], [3.0]], [3.0, 3.0], [3.0, 3.0], [1.0, 4.0]
    ] == [[one.tolist() for one in part.values] for part in got]  # fmt: skip


@pytest.mark.parametrize(
    "collective",
    [
        lambda own, value: own.all_reduce("MAX", value),
        lambda own, value: own.all_gather(value, axis=0),
        lambda own, value: own.reduce_scatter("SUM", value),
        lambda own, value: own.all_to_all([value, value]),
        lambda own, value: own.broadcast(value),
        lambda own, value: own.scan("SUM", value),
    ],
)
def test_a_collective_needs_a_value_and_no_slices(strategy, collective):
    with pytest.raises((ValueError, TypeError), match=r"it needs a value|neither a number nor"):
        strategy.run(lambda: collective(context(), {}))
    slices = tf.IndexedSlices(np.ones((1, 2), F), [0], dense_shape=(3, 2))
    with pytest.raises(UnsupportedError, match="IndexedSlices"):
        strategy.run(lambda: collective(context(), slices))


# ---------------------------------------------------------------- one replica


@pytest.fixture(params=["one device", "no strategy", "one replica"])
def alone(request, simulated):
    """Provide a function that runs a step in a replica context of the only replica."""
    if request.param == "no strategy":
        return lambda step: step()
    one = cluster(1) if request.param == "one replica" else tf.distribute.OneDeviceStrategy("cpu:0")
    return lambda step: one.experimental_local_results(one.run(step))[0]


def test_one_replica_combines_its_own_value(alone):
    value = F([1, 2])

    def step():
        own = context()
        return (
            own.all_reduce("PROD", value),
            own.all_reduce("MEAN", value, weight=3),
            own.reduce_scatter("MAX", value),
            own.all_to_all([value])[0],
            own.broadcast(value),
            own.scan("SUM", value),
        )

    assert [[1.0, 2.0]] * 6 == [one.tolist() for one in alone(step)]
    assert [0.0, 0.0] == alone(lambda: context().scan("SUM", value, exclusive=True)).tolist()
    with pytest.raises(AggregationError, match="weights of all replicas are 0"):
        alone(lambda: context().all_reduce("MEAN", value, weight=0))


def test_reduce_on_one_device_returns_the_value(simulated):
    one = tf.distribute.OneDeviceStrategy("cpu:0")
    assert 3.0 == one.reduce("MAX", 3.0, axis=None)
    assert 3.0 == one.reduce("MEAN", 3.0, axis=None, weight=2)
    assert 6.0 == one.reduce("PROD", F([2, 3]), axis=0)
    with pytest.raises(AggregationError):
        one.reduce("MEAN", 3.0, axis=None, weight=0)


# ---------------------------------------------------------------- mismatches


@pytest.mark.parametrize(
    ("collective", "names", "fixes"),
    [
        (
            lambda own, i: own.broadcast(F(5 + i), root=i),
            ["replica 0: broadcast(float32[], root=0)", "replica 1: broadcast(float32[], root=1)"],
            {
                "broadcast(root=0) on every replica": "gives 5.0",
                "broadcast(root=1) on every replica": "gives 6.0",
            },
        ),
        (
            lambda own, i: own.reduce_scatter("SUM", np.ones((2, 2), F), axis=i),
            ["reduce_scatter(SUM, float32[2, 2], axis=0)", "float32[2, 2], axis=1)"],
            {
                "reduce_scatter(SUM, axis=0) on every replica": (
                    "gives ([[2.0, 2.0]], [[2.0, 2.0]])"
                ),
                "reduce_scatter(SUM, axis=1) on every replica": (
                    "gives ([[2.0], [2.0]], [[2.0], [2.0]])"
                ),
            },
        ),
        (
            lambda own, i: own.scan("SUM", F(2 + i), exclusive=bool(i)),
            ["replica 1: scan(SUM, float32[], exclusive=True)"],
            {
                "scan(SUM) on every replica": "gives (2.0, 5.0)",
                "scan(SUM, exclusive=True) on every replica": "gives (0.0, 2.0)",
            },
        ),
        (
            lambda own, i: own.all_reduce("MAX" if i else "MIN", F(i)),
            ["all_reduce(MIN, float32[])", "all_reduce(MAX, float32[])"],
            {
                "all_reduce(MIN) on every replica": "gives 0.0",
                "all_reduce(MAX) on every replica": "gives 1.0",
            },
        ),
        (
            lambda own, i: own.all_reduce("MEAN", F(i), weight=5 if i else None),
            ["replica 1: all_reduce(MEAN, float32[], weight=…)"],
            {"all_reduce(MEAN) on every replica": "gives 0.5"},
        ),
        (
            lambda own, i: own.scan("SUM", F(i)) if i else own.all_reduce("SUM", F(i)),
            ["replica 0: all_reduce(SUM, float32[])", "replica 1: scan(SUM, float32[])"],
            {},
        ),
    ],
)
def test_a_mismatch_names_the_arguments_and_their_fixes(strategy, collective, names, fixes):
    with pytest.raises(MismatchError) as caught:
        strategy.run(lambda: collective(context(), replica_id()))

    for name in names:
        assert name in str(caught.value)
    assert fixes == {one.change: one.gives for one in caught.value.fixes}


def test_different_values_of_a_broadcast_are_reported(strategy):
    with pytest.raises(ValueMismatchError, match=r"shape \(1,\) on replica 0 against \(2,\)"):
        strategy.run(lambda: context().broadcast(np.zeros(1 + replica_id())))


def test_different_dtypes_in_an_all_to_all_are_reported(strategy):
    def step():
        dtype = np.float32 if replica_id() else np.int32
        return context().all_to_all([np.zeros(1, np.int32), np.zeros(3, dtype)])

    with pytest.raises(
        ValueMismatchError, match=r"\[1\]: dtype int32 on replica 0 against float32"
    ):
        strategy.run(step)


@pytest.mark.parametrize("axis", [np.int64(0), 0])
def test_an_axis_may_be_a_numpy_integer(strategy, axis):
    gathered = strategy.run(lambda: context().all_gather(F([replica_id()]), axis=axis))
    assert [[0.0, 1.0]] * 2 == [one.tolist() for one in gathered.values]
    part = strategy.run(lambda: context().reduce_scatter("SUM", F([1, 2]), axis=axis))
    assert [[2.0], [4.0]] == [one.tolist() for one in part.values]


def test_a_context_of_another_call_is_refused(strategy):
    kept = []
    strategy.run(lambda: kept.append(context()))
    for collective in (
        lambda: kept[0].broadcast(1.0),
        lambda: kept[0].scan("SUM", 1.0),
        lambda: kept[0].all_reduce("MAX", 1.0),
    ):
        with pytest.raises(RuntimeError, match="this replica context belongs to"):
            strategy.run(collective)
