"""Functions and values in `strategy.run`: their kinds, how often they are sent, and the results."""

from __future__ import annotations

import functools
import gc
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import varsim as tf
from tests.processes import replicas
from tests.processes.conftest import Strategy, cluster, location_of, run_python
from tests.processes.replicas import all_reduce, merge_call
from tests.replica_context import replica_id
from varsim.protocol.messages import Define
from varsim.testing import simulated_cluster

pytestmark = pytest.mark.processes


class Point(NamedTuple):
    x: int
    y: Any


scale = 2.0


@pytest.fixture
def defined(strategy: Strategy, monkeypatch: pytest.MonkeyPatch) -> list[Define]:
    """Provide the functions that are sent to replica 0."""
    sent: list[Define] = []
    send = strategy.coordinator.link.channel.send

    def spy(replica_id: int, messages: Any) -> None:
        if replica_id == 0:
            sent.extend(message for message in messages if isinstance(message, Define))
        send(replica_id, messages)

    monkeypatch.setattr(strategy.coordinator.link.channel, "send", spy)
    return sent


def total(strategy: Strategy, name: str = "v") -> Any:
    with strategy.scope():
        return tf.Variable(0.0, name=name, aggregation=tf.VariableAggregation.SUM)


def on_each(strategy: Strategy, result: Any) -> list[Any]:
    return list(strategy.experimental_local_results(result))


# ---------------------------------------------------------------- kinds of functions


def test_lambdas_and_closures_run_on_replicas(strategy: Strategy) -> None:
    v, table = total(strategy), np.arange(12.0).reshape(3, 4)
    step = lambda row: float(v.assign(table[row].sum() * scale))  # noqa: E731
    assert 2 * 3 * 6.0 == strategy.run(step, args=(0,))
    assert 2 * 3 * 22.0 == strategy.run(step, kwargs={"row": 1})


def test_callable_objects_methods_partials_and_builtins_run_on_replicas(strategy: Strategy) -> None:
    class Layer:
        def __init__(self) -> None:
            self.weights = total(strategy)

        def __call__(self, x: float) -> float:
            return float(self.weights.assign(x))

    layer = Layer()
    assert 6.0 == strategy.run(layer, args=(2.0,))
    assert 9.0 == strategy.run(layer.__call__, args=(3.0,))
    assert 3.0 == strategy.run(functools.partial(layer, 1.0))
    assert 3 == strategy.run(len, args=("abc",))
    assert 12.0 == strategy.run(tf.function(layer), args=(4.0,))


def test_recursive_functions_run_on_replicas(strategy: Strategy) -> None:
    def factorial(n: int) -> int:
        return n * factorial(n - 1) if n else 1

    assert 120 == strategy.run(factorial, args=(5,))


PROGRAM = """
import varsim as tf

strategy = tf.distribute.MirroredStrategy(["a", "b"])
with strategy.scope():
    v = tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)
factor = 2.0

def helper(x):
    return factor * x

class Step:
    def __call__(self, x):
        return float(v.assign_add(helper(x)))

def step(x):
    return Step()(x)

print(strategy.run(step, args=(1.0,)))
factor = 3.0
print(strategy.run(step, args=(1.0,)))
"""


@pytest.mark.thorough
@pytest.mark.parametrize("how", ["-c", "script"])
def test_functions_of_main_use_the_current_globals_of_main(how: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    printed = run_python("-c", PROGRAM) if how == "-c" else run_python(str(script))
    assert "5.0\n11.0\n" == printed


def test_importable_functions_are_sent_by_reference(
    strategy: Strategy, defined: list[Define]
) -> None:
    assert 7 == strategy.run(replicas.importable, args=(7,))
    (define,) = defined
    assert "importable" in str(define.function)
    assert len(str(define.function)) < 200
    assert () == define.function.arrays


# ---------------------------------------------------------------- how often they are sent


def test_an_unchanged_function_is_sent_once(strategy: Strategy, defined: list[Define]) -> None:
    v, table = total(strategy), np.arange(3.0)

    def step(x: float) -> float:
        return float(v.assign_add(x + table.sum()))

    for number in range(5):
        strategy.run(step, args=(float(number),))
    assert 1 == len(defined)


def test_a_function_that_changed_is_sent_again(strategy: Strategy, defined: list[Define]) -> None:
    table, offset = np.arange(3.0), 1.0

    def step() -> float:
        return float(table.sum()) + offset

    assert 4.0 == strategy.run(step)
    offset = 2.0
    assert 5.0 == strategy.run(step)
    table[0] = 10.0
    assert 15.0 == strategy.run(step)
    assert 3 == len(defined)


def test_a_tf_function_is_sent_once_and_keeps_its_closure(
    strategy: Strategy, defined: list[Define]
) -> None:
    v, offset = total(strategy), 1.0

    @tf.function
    def step() -> float:
        return float(v) + offset

    assert 1.0 == strategy.run(step)
    offset = 2.0
    v.assign(10.0)
    assert 11.0 == strategy.run(step)  # the captured number keeps its first value
    assert 1 == len(defined)
    assert 12.0 == step()  # outside `run`, the function itself is called


def test_a_function_is_sent_again_after_300_other_functions(
    strategy: Strategy, defined: list[Define]
) -> None:
    assert 0 == strategy.run(lambda: 0)
    for number in range(300):
        assert number == strategy.run(_constant(number))
    assert 0 == strategy.run(_constant(0))
    assert 302 == len(defined)


def _constant(number: int) -> Callable[[], int]:
    return lambda: number


def test_a_tf_function_keeps_its_variable_after_a_rebinding(
    strategy: Strategy,
) -> None:
    """This happens when a notebook cell that creates the variable runs again."""
    names = {"v": total(strategy)}
    step = tf.function(_reader(names["v"]))
    names["v"].assign(3.0)
    assert 3.0 == strategy.run(step)
    del names["v"]
    gc.collect()
    assert [3.0, 3.0] == [strategy.run(step) for _ in range(2)]


def _reader(variable: Any) -> Callable[[], float]:
    return lambda: float(variable)


REBOUND = """
import gc
import varsim as tf
strategy = tf.distribute.MirroredStrategy(["a", "b"])

@tf.function
def step():
    return float(v)

for number in range(3):
    with strategy.scope():
        v = tf.Variable(float(number))
    gc.collect()
    try:
        print(strategy.run(step), strategy.run(step))
    except tf.VarsimError as error:
        print("step" in str(error) or "dropped" in str(error))
"""


@pytest.mark.thorough
def test_a_freed_variable_in_a_function_works_or_raises() -> None:
    """In TensorFlow such a function raises an error that says that the old variable was freed."""
    first, *others = run_python("-c", REBOUND).splitlines()
    assert "0.0 0.0" == first
    assert set(others) <= {"True", "0.0 0.0"}


# ---------------------------------------------------------------- arguments and results


def test_structures_are_sent_and_returned(strategy: Strategy) -> None:
    structure = {
        "tuple": (1, 2.5, None, True, "ü", b"b", 1 + 2j, 2**100),
        "list": [np.arange(3), [np.float16(1.5)]],
        "point": Point(1, {"deep": ()}),
        "enum": tf.distribute.ReduceOp.SUM,
    }
    shown = strategy.run(repr, args=(structure,))
    assert repr(structure) == shown
    back = strategy.run(lambda: structure)
    assert structure["tuple"] == back["tuple"]
    assert isinstance(back["point"], Point)
    assert (1, {"deep": ()}) == back["point"]
    assert [0, 1, 2] == back["list"][0].values[2].tolist()
    assert isinstance(on_each(strategy, back["list"][1][0])[0], np.float16)


@pytest.mark.parametrize(
    "value",
    [
        np.array([1, "a", None], object),
        np.array(["a", "bc"]),
        np.array(["2020-01-01"], "datetime64[D]"),
        np.zeros(2, [("a", "i4"), ("b", "f8")]),
        {1, 2},
        frozenset({3}),
        range(5),
        "\udcff" + "x" * 100_000,
        b"x" * 100_000,
        Path("somewhere"),
        [{}],
        slice(1, 2),
        np.longdouble(1.5),
    ],
    ids=lambda value: type(value).__name__ + str(getattr(value, "dtype", "")),
)
def test_values_of_all_kinds_are_sent_and_returned(strategy: Strategy, value: Any) -> None:
    back = on_each(strategy, strategy.run(lambda given: given, args=(value,)))[-1]
    assert type(value) is type(back)
    assert repr(value) == repr(back)


def test_deep_and_circular_structures_are_sent_and_returned(strategy: Strategy) -> None:
    deep: list[Any] = []
    for _ in range(100):
        deep = [deep]
    assert 100 == strategy.run(_depth, args=(deep,))


def _depth(value: list[Any]) -> int:
    return 1 + _depth(value[0]) if value else 0


def test_large_arrays_are_returned_unchanged(strategy: Strategy) -> None:
    large = np.random.default_rng(0).random((3, 1 << 18))  # 6 MiB
    rows = tf.distribute.PerReplica([np.asfortranarray(row) for row in large])

    def step(row: Any, whole: Any) -> tuple[Any, bool]:
        row *= 2  # each replica has its own copy of this argument
        return row, bool(np.array_equal(2 * whole[replica_id()], row))

    doubled, alike = strategy.run(step, args=(rows, large))

    assert alike is True
    assert all(np.array_equal(2 * large[i], doubled.values[i]) for i in range(3))


def test_per_replica_arguments_are_split_at_any_depth(strategy: Strategy) -> None:
    made = strategy.experimental_distribute_values_from_function(
        lambda context: context.replica_id_in_sync_group * 10
    )

    def step(nested: dict[str, Any], *, also: Any) -> tuple[int, int]:
        return nested["a"][0] + 1, also

    first, also = strategy.run(step, args=({"a": [made]},), kwargs={"also": made})

    assert [1, 11, 21] == on_each(strategy, first)
    assert [0, 10, 20] == on_each(strategy, also)


def test_a_variable_as_argument_or_result_is_the_same_variable(strategy: Strategy) -> None:
    v = total(strategy)
    back = strategy.run(lambda given: given[0].assign_add(1.0), args=([v],))
    assert back is v
    assert 3.0 == float(v)


def test_a_captured_strategy_is_the_current_strategy_on_a_replica(strategy: Strategy) -> None:
    assert strategy is strategy.run(tf.distribute.get_strategy)
    assert 3 == strategy.run(lambda: strategy.num_replicas_in_sync)


# ---------------------------------------------------------------- output, warnings, variables


def test_each_line_of_output_has_the_replicas_number(
    strategy: Strategy, capfd: pytest.CaptureFixture[str]
) -> None:
    strategy.run(lambda: print("one\ntwo", replica_id()))
    expected = [f"[replica {i}] {line}" for i in range(3) for line in ("one", f"two {i}")]
    assert expected == capfd.readouterr().out.splitlines()


def test_only_the_end_of_very_long_output_is_shown(
    strategy: Strategy, capfd: pytest.CaptureFixture[str]
) -> None:
    strategy.run(lambda: print("x" * 5_000_000 + "\nend") if replica_id() == 1 else None)
    shown = capfd.readouterr().out
    assert shown.endswith("[replica 1] end\n")
    assert len(shown) < 100_000
    assert "characters before this are only in" in shown


def test_a_warning_of_a_replica_has_the_location_of_the_write(strategy: Strategy) -> None:
    with strategy.scope():
        broken = tf.Variable(0.0, name="broken")

    def step() -> None:
        broken.assign(1.0)

    with pytest.warns(tf.VarsimWarning, match="'broken'") as caught:
        strategy.run(step)
    assert {location_of(step, "assign")} == {
        f"{os.path.relpath(warning.filename)}:{warning.lineno}" for warning in caught
    }


def test_plain_variables_are_shared_by_all_replicas(strategy: Strategy) -> None:
    plain = tf.Variable(1.0, name="plain")

    strategy.run(lambda: plain.assign_add(1.0 + replica_id()) is None)
    assert 7.0 == float(plain)
    strategy.run(lambda: plain.assign(float(replica_id())) is None)
    assert 2.0 == float(plain)  # the value of the last replica


def test_replicas_use_a_plain_variable_one_after_the_other(strategy: Strategy) -> None:
    plain = tf.Variable(0.0)

    def step() -> None:
        plain.assign(plain.read_value() + 1)

    for _ in range(100):
        strategy.run(step)
    assert 300.0 == float(plain)


def test_replicas_use_a_component_of_another_replica_in_turn(strategy: Strategy) -> None:
    with strategy.scope():
        v: Any = tf.Variable(
            0.0,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def step() -> None:
        if replica_id():
            v.values[0].assign_add(1.0)

    for _ in range(20):
        strategy.run(step)
    assert 40.0 == float(v.values[0].numpy())


def test_a_component_written_in_a_call_is_read_there(strategy: Strategy) -> None:
    """The copies have diverged. An add keeps their difference; an assign makes them equal."""
    v = total(strategy)

    def step() -> tuple[float, float, float]:
        v.values[replica_id()].assign(10.0 + replica_id())
        seen = merge_call(lambda strategy: float(v))
        added = float(v.assign_add(1.0))
        return seen, added, float(v.assign(1.0))

    seen, added, healed = strategy.run(step)

    assert 10.0 == seen
    assert [13.0, 14.0, 15.0] == on_each(strategy, added)
    assert 3.0 == healed


def test_local_writes_of_a_failed_call_are_read(strategy: Strategy) -> None:
    v = total(strategy)

    def step() -> None:
        v.values[replica_id()].assign(10.0 + replica_id())
        all_reduce("SUM", 1.0)
        if replica_id() == 2:
            raise LookupError
        all_reduce("SUM", 1.0)

    with pytest.raises(LookupError):
        strategy.run(step)
    assert [10.0, 11.0, 12.0] == [float(part) for part in v.values]


def test_every_collective_exchanges_small_and_large_values(strategy: Strategy) -> None:
    """The large values are in shared memory, and some replicas get a part of them."""

    def step(rows: int) -> Any:
        own, i = tf.distribute.get_replica_context(), replica_id()
        value = np.full((3, rows), i + 1, np.float64)
        parts = own.all_to_all([np.full(rows * to, 10 * i + to) for to in range(3)])
        return [
            own.all_reduce("MEAN", value, weight=i)[0, 0],
            own.all_reduce("PROD", value)[-1, -1],
            own.reduce_scatter("MAX", np.arange(3 * rows).reshape(3, rows) * (i + 1))[0, 0],
            own.reduce_scatter("SUM", value, axis=0).sum(),
            own.reduce_scatter("SUM", np.arange(6 * rows).reshape(2, 3 * rows), axis=1)[1, 0],
            own.broadcast(value, root=1)[0, 0],
            own.scan("SUM", value, exclusive=True)[0, 0],
            [int(part.sum()) for part in parts],
        ]

    for rows in (1, 40_000):
        each = on_each(strategy, strategy.run(step, args=(rows,)))
        assert [8 / 3, 6.0, 0, 6.0 * rows, 9 * rows, 2.0, 0.0, [0, 0, 0]] == each[0]
        assert [8 / 3, 6.0, 3 * rows, 6.0 * rows, 12 * rows, 2.0, 1.0] == each[1][:-1]
        assert [2 * rows * number for number in (2, 12, 22)] == each[2][-1]


def test_equal_numbers_of_all_replicas_are_returned_as_one(strategy: Strategy) -> None:
    """Numbers are compared bit for bit: −0.0 differs from 0.0, and NaN equals NaN."""
    zeros = strategy.run(lambda: -0.0 if replica_id() else 0.0)
    assert ["0.0", "-0.0", "-0.0"] == [str(zero) for zero in on_each(strategy, zeros)]
    assert "nan" == str(strategy.run(lambda: float("nan")))


def test_too_many_replicas_are_refused() -> None:
    with pytest.raises(ValueError, match="at most 1024"):
        Strategy([f"cpu:{i}" for i in range(1025)])


@pytest.mark.thorough
def test_sixteen_workers_run_one_call() -> None:
    with cluster(16) as many:
        v = total(many)
        assert 16.0 == many.run(lambda: float(v.assign_add(1.0)))
        assert list(range(16)) == on_each(many, many.run(replica_id))


def test_two_strategies_can_be_used_side_by_side_but_not_mixed(strategy: Strategy) -> None:
    with cluster(2) as other:
        mine, theirs = total(strategy, "mine"), total(other, "theirs")
        assert 3.0 == strategy.run(lambda: float(mine.assign_add(1.0)))
        assert 2.0 == other.run(lambda: float(theirs.assign_add(1.0)))
        with pytest.raises(RuntimeError, match="two strategies cannot be mixed"):
            strategy.run(lambda: theirs.assign_add(1.0))
        assert strategy.run(lambda: True)
        assert other.run(lambda: True)


# ---------------------------------------------------------------- objects of the program


def test_a_change_to_an_object_of_the_program_causes_one_warning(
    strategy: Strategy,
) -> None:
    losses: list[float] = []

    def step() -> None:
        losses.append(1.0)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            strategy.run(step)
            losses.clear()  # if the list differs, the function is sent again

    (warning,) = caught
    assert tf.VarsimWarning is warning.category
    assert location_of(step, "append") == f"{warning.filename}:{warning.lineno}"
    assert str(warning.message).startswith("list 'losses' of the program: a replica changed")


def test_a_simulated_cluster_causes_no_warning_of_changes() -> None:
    losses: list[float] = []
    with simulated_cluster():
        Strategy(["cpu:0", "cpu:1"]).run(lambda: losses.append(1.0))
    assert [1.0, 1.0] == losses
