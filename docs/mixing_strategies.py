"""Programs with two strategies, and the table about them in docs/mixing.md.

tests/mixing runs the programs, and compares each row of the table with what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np

import varsim as tf
from docs.mixing import AGGREGATION, SYNC, context

REFUSED: Final = "refused"


class Mixture(NamedTuple):
    """A program with two strategies, A and B."""

    title: str
    program: Callable[[Any, Any], Any]  # A, B → the value that it computes
    expected: Any  # the value; REFUSED if the program is refused
    remedy: str  # what to do instead, or why it works
    said: tuple[str, ...] = ()  # parts of the error; by default it names both strategies


def variable(strategy: Any, value: Any = 2.0, synchronization: Any = SYNC.ON_WRITE) -> Any:
    """Return a variable of a strategy."""
    aggregation = AGGREGATION.SUM if synchronization is SYNC.ON_WRITE else AGGREGATION.NONE
    with strategy.scope():
        return tf.Variable(
            value, name="x", synchronization=synchronization, aggregation=aggregation
        )


def replica_id() -> Any:
    """Return the id of the current replica."""
    return context().replica_id_in_sync_group


def _results(strategy: Any, value: Any) -> list[float]:
    return [float(one) for one in strategy.experimental_local_results(value)]


def _read(a: Any, b: Any) -> Any:
    x = variable(a)
    return b.run(x.read_value)


def _write(a: Any, b: Any) -> Any:
    x = variable(a)
    return b.run(lambda: x.assign_add(1.0))


def _argument(a: Any, b: Any) -> Any:
    return b.run(lambda x: x + 1.0, args=(variable(a, synchronization=SYNC.NONE),))


def _sparse(a: Any, b: Any) -> Any:
    x = variable(a, [1.0, 2.0])
    return b.run(lambda: x.scatter_add(tf.IndexedSlices([1.0], [0])))


def _push(a: Any, b: Any) -> Any:
    x = variable(a, synchronization=SYNC.NONE)
    return b.run(lambda: x.push(1.0))


def _sync(a: Any, b: Any) -> Any:
    x = variable(a, synchronization=SYNC.NONE)
    return b.run(lambda: x.sync(tf.distribute.ReduceOp.MEAN))


def _in_scope(a: Any, b: Any) -> Any:
    x = variable(a)
    with b.scope():
        return x.read_value()


def _reduced(a: Any, b: Any) -> Any:
    return b.reduce("MEAN", variable(a, synchronization=SYNC.NONE), axis=None)


def _updated(a: Any, b: Any) -> Any:
    return b.extended.update(variable(a), lambda component: component.assign(1.0))


def _operand(a: Any, b: Any) -> Any:
    x, y = variable(a), variable(b, 5.0)
    x.assign(y)
    return float(x.read_value())


def _operand_in_call(a: Any, b: Any) -> Any:
    x, y = variable(a), variable(b, 5.0)
    a.run(lambda: x.assign(y))
    return float(x.read_value())


def _value(a: Any, b: Any) -> Any:
    x = variable(a)
    return _results(b, b.run(lambda value: value + 1.0, args=(x.numpy(),)))


def _in_turns(a: Any, b: Any) -> Any:
    x, y = variable(a, 0.0), variable(b, 0.0)
    for _ in range(3):
        a.run(lambda: x.assign_add(1.0))
        b.run(lambda: y.assign_add(2.0))
    return float(x.read_value()), float(y.read_value())


def _per_replica(a: Any, b: Any) -> Any:
    return _results(b, b.run(lambda x: x * 10.0, args=(a.run(replica_id),)))


def _per_replica_of_more(_: Any, b: Any) -> Any:
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"]) as more:
        return _per_replica(more, b)


def _reduce_of_more(_: Any, b: Any) -> Any:
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1", "cpu:2"]) as more:
        return b.reduce("SUM", more.run(replica_id), axis=None)


def _reduce(a: Any, b: Any) -> Any:
    return float(b.reduce("SUM", a.run(replica_id), axis=None))


def _dataset(a: Any, b: Any) -> Any:
    batches = a.experimental_distribute_dataset([np.arange(4.0)])
    return [_results(b, b.run(np.sum, args=(x,))) for x in batches]


def _run_in_run(a: Any, b: Any) -> Any:
    return b.run(lambda: a.run(replica_id))


def _run_in_merge(a: Any, b: Any) -> Any:
    return b.run(lambda: context().merge_call(lambda _: a.run(replica_id)))


def _run_in_scope(a: Any, b: Any) -> Any:
    with b.scope():
        return a.run(replica_id)


def _scope_in_scope(a: Any, b: Any) -> Any:
    with b.scope(), a.scope():
        return tf.Variable(1.0)


def _group(a: Any, b: Any) -> Any:
    group = a.group([0, 1])
    return b.run(lambda: context().all_reduce("SUM", 1.0, group=group))


def _locks(a: Any, b: Any) -> Any:
    def step() -> None:
        with context().lock("file"):
            pass

    for strategy in (a, b, a):
        strategy.run(step)
    return [sum(one.requests for one in strategy.lock_statistics()) for strategy in (a, b)]


def _checkpoint(a: Any, b: Any) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        x, y = variable(a), variable(b, 5.0)
        b.restore(a.save(f"{folder}/saved"))
        return float(x.read_value()), float(y.read_value())


def _served() -> tuple[Any, Any]:
    """Return a coordinator of closures, and a variable on a parameter server."""
    strategy = tf.distribute.ParameterServerStrategy(workers=2, servers=1)
    with strategy.scope():
        return tf.distribute.coordinator.ClusterCoordinator(strategy), tf.Variable(2.0, name="s")


def _served_in_turns(a: Any, _: Any) -> Any:
    (coordinator, served), x = _served(), variable(a, 0.0)
    for _step in range(3):
        coordinator.schedule(served.assign_add, args=(1.0,))
        a.run(lambda: x.assign_add(1.0))
        coordinator.join()
    return float(served.read_value()), float(x.read_value())


def _served_in_call(a: Any, _: Any) -> Any:
    _coordinator, served = _served()
    a.run(lambda: served.assign_add(1.0))
    return float(served.read_value())


def _written_in_closure(a: Any, _: Any) -> Any:
    (coordinator, _served_one), x = _served(), variable(a)
    return coordinator.schedule(lambda: x.assign_add(1.0)).fetch()


def _run_in_closure(a: Any, _: Any) -> Any:
    coordinator, _served_one = _served()
    return coordinator.schedule(lambda: a.run(replica_id)).fetch()


def _schedule_in_call(a: Any, _: Any) -> Any:
    coordinator, served = _served()
    return a.run(lambda: coordinator.schedule(served.read_value))


_VALUE: Final = "give its value as an argument: `args=(x.numpy(),)`"
_TURNS: Final = "call one after the other"

MIXTURES: Final = [
    Mixture("steps of A and B in turns", _in_turns, (6.0, 12.0), "each has its own workers"),
    Mixture("read x of A in a call of B", _read, REFUSED, _VALUE),
    Mixture("write x of A in a call of B", _write, REFUSED, "return the value, and write it in A"),
    Mixture("use x of A as an argument of a call of B", _argument, REFUSED, _VALUE),
    Mixture("sparse write to x of A in a call of B", _sparse, REFUSED, "return the rows"),
    Mixture("push to x of A in a call of B", _push, REFUSED, "push outside the call: `x.push(…)`"),
    Mixture("sync x of A in a call of B", _sync, REFUSED, "sync outside the call: `x.sync(…)`"),
    Mixture("use x of A in the scope of B", _in_scope, REFUSED, "leave the scope"),
    Mixture("`B.reduce` or `B.gather` of x of A", _reduced, REFUSED, "use `A.reduce`"),
    Mixture("`B.extended.update` of x of A", _updated, REFUSED, "use `A.extended.update`"),
    Mixture("value of x of A as an argument of a call of B", _value, [3.0, 3.0], "a value"),
    Mixture("assign y of B to x of A, outside calls", _operand, 5.0, "the value of y is read"),
    Mixture(
        "assign y of B to x of A, in a call of A",
        _operand_in_call,
        10.0,
        "as in TensorFlow: each replica reads the component of y with its id (x has SUM)",
    ),
    Mixture("PerReplica of A in a call of B", _per_replica, [0.0, 10.0], "it is only values"),
    Mixture(
        "PerReplica of A in a call of B with fewer replicas",
        _per_replica_of_more,
        REFUSED,
        "one value for each replica of B",
    ),
    Mixture("`B.reduce` of a PerReplica of A", _reduce, 1.0, "it is only values"),
    Mixture(
        "`B.reduce` of a PerReplica of A with more replicas",
        _reduce_of_more,
        REFUSED,
        "use `A.reduce`",
    ),
    Mixture("batch of a dataset of A in a call of B", _dataset, [[1.0, 5.0]], "it is only values"),
    Mixture("`A.run` in a call of B", _run_in_run, REFUSED, _TURNS),
    Mixture("`A.run` in a `merge_call` of B", _run_in_merge, REFUSED, _TURNS),
    Mixture("`A.run` in the scope of B", _run_in_scope, REFUSED, "leave the scope"),
    Mixture("`A.scope` in the scope of B", _scope_in_scope, REFUSED, "leave the scope"),
    Mixture("group of A in a collective of B", _group, REFUSED, "make the group by `B.group`"),
    Mixture("locks with the same name", _locks, [4, 2], "each strategy has its own locks"),
    Mixture("restore a checkpoint of A in B", _checkpoint, (2.0, 2.0), "names select the values"),
    Mixture(
        "closures of a ClusterCoordinator and steps of A in turns",
        _served_in_turns,
        (5.0, 6.0),
        "each strategy has its own processes",
    ),
    Mixture(
        "write a variable of a ParameterServerStrategy in a call of A",
        _served_in_call,
        4.0,
        "each replica adds, and the program performs the writes one after another",
    ),
    Mixture(
        "write x of A in a closure",
        _written_in_closure,
        REFUSED,
        "return the value, and write it in A",
        ("variable 'x'", "MirroredStrategy(['cpu:0', 'cpu:1'])", "ParameterServerStrategy("),
    ),
    Mixture(
        "`A.run` in a closure",
        _run_in_closure,
        REFUSED,
        _TURNS,
        ("strategy.run", "MirroredStrategy(['cpu:0', 'cpu:1'])", "ParameterServerStrategy("),
    ),
    Mixture(
        "`coordinator.schedule` in a call of A",
        _schedule_in_call,
        REFUSED,
        "schedule in the program",
        ("coordinator.schedule", "in strategy.run", "call it in the program"),
    ),
]


def strategies_table() -> str:
    """Return the table of programs with two strategies. tests/mixing runs each row."""
    lines = ["| program | | instead, or why |", "| --- | --- | --- |"]
    lines += [
        f"| {one.title} | {REFUSED if one.expected is REFUSED else 'yes'} | {one.remedy} |"
        for one in MIXTURES
    ]
    return "\n".join(lines)
