"""Collectives of replicas are matched by name, or by order and line; dicts are matched by key."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import Pair
from tests.replica_context import replica_id
from varsim.errors import MismatchError, ValueMismatchError

F = np.float32


def context() -> Any:
    return tf.distribute.get_replica_context()


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


def cluster(count: int, **settings: Any) -> Any:
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)], **settings)


# ---------------------------------------------------------------- by key


@pytest.mark.parametrize(
    ("first", "second", "mean"),
    [
        ({"loss": 2.0, "acc": 0.5}, {"acc": 1.5, "loss": 4.0}, {"acc": 1.0, "loss": 3.0}),
        (
            {"m": {"a": 1.0, "b": [2.0, 3.0]}, "n": 4.0},
            {"n": 6.0, "m": {"b": [4.0, 5.0], "a": 3.0}},
            {"m": {"a": 2.0, "b": [3.0, 4.0]}, "n": 5.0},
        ),
        ({1: 1.0, "1": 5.0, (2,): 0.0}, {(2,): 2.0, "1": 7.0, 1: 3.0}, {1: 2, "1": 6, (2,): 1}),
        ({np.int64(7): 1.0, 8: 3.0}, {8: 5.0, 7: 3.0}, {7: 2.0, 8: 4.0}),
        (Pair({"a": 1.0, "b": 2.0}, 3.0), Pair({"b": 4.0, "a": 5.0}, 5.0), [{"a": 3, "b": 3}, 4]),
        (OrderedDict(b=1.0, a=2.0), {"a": 4.0, "b": 3.0}, {"b": 2.0, "a": 3.0}),
    ],
)  # fmt: skip
def test_dicts_are_combined_by_key_in_any_order(strategy, first, second, mean):
    seen = []  # a simulated replica shares the program's memory
    strategy.run(
        lambda: seen.append(context().all_reduce("MEAN", second if replica_id() else first))
    )

    assert [mean, mean] == [plain(one) for one in seen]
    if isinstance(first, dict):
        assert {tuple(first), tuple(second)} == {tuple(one) for one in seen}


def test_dicts_are_gathered_by_key(strategy):
    seen = []

    def step():
        rows = {"a": F([replica_id()]), "b": F([10 + replica_id()] * 2)}
        order = reversed(rows) if replica_id() else rows
        seen.append(context().all_gather({key: rows[key] for key in order}, axis=0))

    strategy.run(step)
    assert [{"a": [0.0, 1.0], "b": [10.0, 10.0, 11.0, 11.0]}] * 2 == [plain(one) for one in seen]


def test_arguments_and_results_of_merge_call_are_matched_by_key(strategy):
    def merged(strategy, values):
        return {key: strategy.reduce("SUM", values[key], axis=None) for key in ("b", "a")}

    def step():
        values = {"a": F(replica_id()), "b": F(10)}
        if replica_id():
            values = dict(reversed(values.items()))
        return {key: float(one) for key, one in context().merge_call(merged, (values,)).items()}

    got = strategy.run(step)
    assert {"a": 1.0, "b": 20.0} == got


def test_keys_with_the_same_text_are_refused(strategy):
    class Key:
        def __repr__(self) -> str:
            return "Key"

    with pytest.raises(ValueMismatchError, match=r"same repr\(\)"):
        strategy.run(lambda: context().all_reduce("SUM", {Key(): 1.0, Key(): 2.0}))


@pytest.mark.parametrize(
    ("odd", "others", "expected"),
    [
        ({"loss": 1.0}, {"loss": 1.0, "accuracy": 2.0}, "replica 1 has no 'accuracy'"),
        (
            {"m": {"loss": np.zeros(2)}},
            {"m": {"loss": np.zeros(3)}},
            "['m']['loss']: shape (2,) on replica 1 against (3,) on replicas 0, 2",
        ),
        (
            [1.0, 2.0],
            [1.0],
            "the value: a list of 2 on replica 1 against a list of 1 on replicas 0",
        ),
        (Pair(1.0, 1), Pair(1.0, 1.0), ".y: dtype int32 on replica 1 against float32 on replicas"),
        ({"a": 1.0}, [1.0], "the value: a dict on replica 1 against a list of 1 on replicas 0, 2"),
    ],
)
def test_different_structures_are_reported_by_path(simulated, odd, others, expected):
    strategy = cluster(3)

    with pytest.raises(ValueMismatchError) as caught:
        strategy.run(lambda: context().all_reduce("MEAN", odd if replica_id() == 1 else others))
    assert expected in str(caught.value)
    assert [(1,), (0, 2)] == [group.replica_ids for group in caught.value.groups]
    assert ("dtype" in expected) == bool(caught.value.fixes)


def test_different_shapes_in_a_gather_are_reported_by_path(simulated):
    strategy = cluster(3)

    def step():
        rows = {
            "images": np.zeros((replica_id(), 3 + (replica_id() == 2)), F),
            "labels": np.zeros(replica_id()),
        }
        context().all_gather(rows, axis=0)

    with pytest.raises(ValueMismatchError) as caught:
        strategy.run(step)
    expected = "  ['images']: shape (any, 4) on replica 2 against (any, 3) on replicas 0, 1\n"
    assert expected in str(caught.value)
    assert [(2,), (0, 1)] == [group.replica_ids for group in caught.value.groups]


def test_different_results_are_reported_by_path(simulated):
    strategy = cluster(3)

    def step():
        return (
            {"m": {"loss": 1.0}}
            if replica_id() == 2
            else {"m": {"loss": 1.0, "acc": [replica_id()]}}
        )

    with pytest.raises(ValueMismatchError, match=r"replica 2 has no \['m'\]\['acc'\]"):
        strategy.run(step)


# ---------------------------------------------------------------- by name


def log_all(named: bool) -> Callable[[], tuple[float, float]]:
    """Return a step that reduces two metrics; odd replicas reduce them in the opposite order."""

    def step():
        values = {"loss": F(2.0), "accuracy": F(0.5)}
        out = {}
        for key in reversed(values) if replica_id() % 2 else values:
            name = key if named else None
            out[key] = float(context().all_reduce("MEAN", values[key], name=name))
        return out["loss"], out["accuracy"]

    return step


def test_named_metrics_in_different_orders_are_refused(strategy):
    with pytest.raises(MismatchError) as caught:
        strategy.run(log_all(named=True))

    text = str(caught.value)
    assert "the name 'loss' on replica 0 against the name 'accuracy' on replica 1" in text
    assert () == caught.value.fixes


def test_names_in_the_same_order_are_matched(strategy):
    def step():
        names = ["loss", "accuracy"]
        return [float(context().all_reduce("SUM", F(i), name=n)) for i, n in enumerate(names)]

    assert [0.0, 2.0] == strategy.run(step)


@pytest.mark.parametrize("what", ["all_reduce", "all_gather", "merge_call"])
def test_a_name_on_only_some_replicas_is_refused(simulated, what):
    strategy = cluster(3)

    def step():
        name = "rows" if replica_id() == 1 else None
        operations = {
            "all_reduce": lambda: context().all_reduce("SUM", 1.0, name=name),
            "all_gather": lambda: context().all_gather(np.ones(1), axis=0, name=name),
            "merge_call": lambda: context().merge_call(lambda _: None, name=name),
        }
        operations[what]()

    with pytest.raises(MismatchError, match="the name 'rows' on replica 1 against no name on"):
        strategy.run(step)


def test_an_update_on_replicas_accepts_a_name(strategy):
    with strategy.scope():
        v = tf.Variable(0.0, name="v")

    def step():
        update = strategy.extended.update
        update(v, lambda own: own.assign(1.0), name="a" if replica_id() else "b")

    with pytest.raises(MismatchError, match="merge_call"):
        strategy.run(step)


@pytest.mark.parametrize(
    ("name", "error"),
    [("", ValueError), ("a\nb", ValueError), ("\ud800", ValueError), (7, TypeError)],
)
@pytest.mark.parametrize("count", [1, 2])
def test_an_invalid_name_is_refused(simulated, name, error, count):
    strategy = cluster(count) if count > 1 else tf.distribute.OneDeviceStrategy("cpu:0")

    with pytest.raises(error, match="name="):
        strategy.run(lambda: context().all_reduce("SUM", 1.0, name=name))


def test_names_are_compared_by_their_text(strategy):
    def step():
        name = np.str_("loss") if replica_id() else "loss"
        return float(context().all_reduce("SUM", 1.0, name=name))

    assert 2.0 == strategy.run(step)


def test_without_replicas_a_name_has_no_effect():
    strategy = tf.distribute.OneDeviceStrategy("cpu:0")

    assert 1.0 == strategy.run(lambda: float(context().all_reduce("SUM", 1.0, name="x")))
    assert 3 == strategy.run(lambda: context().merge_call(lambda _: 3, name="x"))


# ---------------------------------------------------------------- by order, without a name


def lines_apart() -> float:
    if replica_id() == 0:
        return float(context().all_reduce("MEAN", F(2.0)))
    return float(context().all_reduce("MEAN", F(0.5)))


def test_collectives_in_different_lines_cause_one_warning_with_both_lines(simulated):
    strategy = cluster(3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            strategy.run(lines_apart)

    (warning,) = caught
    line = lines_apart.__code__.co_firstlineno
    assert (tf.VarsimWarning, line + 2) == (warning.category, warning.lineno)
    first = str(warning.message).splitlines()[0]
    assert f"test_collectives.py:{line + 2} (replica 0) is combined with all_reduce at " in first
    assert f"test_collectives.py:{line + 3} (replicas 1, 2): without a name" in first
    assert "name=" in str(warning.message)


def test_each_pair_of_lines_causes_a_warning(strategy):
    def step(flip):
        first = replica_id() == flip
        if first:
            context().merge_call(lambda _: None)
        else:
            context().merge_call(lambda _: None)
        if first:
            context().all_gather(np.ones(1), axis=0)
        else:
            context().all_gather(np.ones(1), axis=0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        strategy.run(step, (0,))
        strategy.run(step, (1,))

    kinds = [str(warning.message).partition(" ")[0] for warning in caught]
    assert ["merge_call", "all_gather"] == kinds


def test_a_strict_strategy_refuses_collectives_in_different_lines(simulated):
    strategy = cluster(2, strict=True)

    with pytest.raises(MismatchError, match="unnamed collectives in different lines") as caught:
        strategy.run(lines_apart)
    assert () == caught.value.fixes


def test_collectives_in_one_line_cause_no_warning(strategy):
    assert (1.25, 1.25) == strategy.run(log_all(named=False))


# ---------------------------------------------------------------- descriptions in the error


def test_the_replica_that_skips_a_write_is_named_first(simulated):
    strategy = cluster(5)
    with strategy.scope():
        w = tf.Variable(np.zeros(2, F), name="w", aggregation=tf.VariableAggregation.MEAN)
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)

    def load():
        if replica_id() != 0:
            w.assign([3.0, 4.0])
        v.assign_add(1.0)
        return float(v.read_value())

    with pytest.raises(MismatchError) as caught:
        strategy.run(load)
    _, odd, others, *_ = str(caught.value).splitlines()
    line = load.__code__.co_firstlineno
    assert odd.startswith("  only replica 0: v.assign_add ")
    assert odd.endswith(f"test_collectives.py:{line + 3}")
    assert others.startswith("  replicas 1–4: w.assign ")
    assert others.endswith(f"test_collectives.py:{line + 2}")


def test_replicas_that_stay_in_a_loop_are_one_group(simulated):
    strategy = cluster(4)

    def step():
        for i in range(3):
            if i == 2 and replica_id() == 3:
                break
            context().all_reduce("SUM", 1.0, name=f"step {i}")

    with pytest.raises(MismatchError) as caught:
        strategy.run(step)
    assert ["replica 3: never arrived; its function returned after 2 collectives"] == [
        str(group) for group in caught.value.groups if 3 in group.replica_ids
    ]
    assert (0, 1, 2) == caught.value.groups[-1].replica_ids


def test_an_exception_on_one_replica_takes_precedence_over_a_mismatch(simulated):
    strategy = cluster(3)

    def step():
        if replica_id() == 1:
            raise LookupError("no such file")
        context().all_reduce("SUM", 1.0)

    with pytest.raises(LookupError, match="no such file"):
        strategy.run(step)


def test_a_circular_list_can_be_returned_but_not_reduced(simulated):
    endless: list[Any] = [1.0]
    endless.append(endless)

    with cluster(2) as strategy:
        with pytest.raises(ValueMismatchError, match=r"^a list contains itself"):
            strategy.run(lambda: context().all_reduce("SUM", endless))
        first, _ = strategy.experimental_local_results(strategy.run(lambda: endless))
        assert 1.0 == first[1][1][0]


def test_the_error_says_that_keys_have_the_same_text(simulated):
    with cluster(2) as strategy, pytest.raises(ValueMismatchError, match="have the same repr"):
        strategy.run(lambda: {float("nan"): 1.0})
