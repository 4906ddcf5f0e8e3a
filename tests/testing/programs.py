"""Programs for the simulated cluster; each returns a text of all values that it reads."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

import varsim as tf
from tests.replica_context import replica_id
from varsim.spec import Operation
from varsim.sync.policies.cells import Cell, Exchange, Local
from varsim.sync.policies.copy import ReadCopy, ToAllAndCopy
from varsim.sync.policies.exchanging import ExchangeEvery
from varsim.sync.policies.policy import on_every_write, rows

SYNC, AGG = tf.VariableSynchronization, tf.VariableAggregation
REPLICAS = 3


def three_replicas() -> Any:
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(REPLICAS)])


def create_without_warnings(
    strategy: Any, value: Any, synchronization: str, aggregation: str = "NONE"
) -> Any:
    with strategy.scope(), warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        return tf.Variable(
            value, synchronization=SYNC[synchronization], aggregation=AGG[aggregation]
        )


def seen(*values: Any) -> str:
    """Return a text of all values that a program read, bit for bit."""
    return "\n".join(_text(value) for value in values)


def _text(value: Any) -> str:
    if isinstance(value, tf.distribute.DistributedValues):
        return " | ".join(_text(part) for part in value.values)
    if hasattr(value, "numpy"):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}{value.tobytes().hex()}"
    return repr(value)


def several_writes() -> str:
    """Write several variables with every aggregation, and read some of them in between."""
    strategy = three_replicas()
    a = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
    b = create_without_warnings(strategy, [1.0, 2.0], "ON_WRITE", "MEAN")
    c = create_without_warnings(strategy, 0, "AUTO", "ONLY_FIRST_REPLICA")

    def step(x: Any) -> Any:
        a.assign_add(0.1 * (replica_id() + 1))
        b.assign(b * x)
        first = a.read_value()
        c.assign_add(replica_id() + 5)
        a.assign_sub(first / 3.0)
        return first, c.read_value(), b.read_value()

    results = [strategy.run(step, (np.float32(0.7 + i),)) for i in range(2)]
    return seen(*results[0], *results[1], a, b, c, *a.values)


def all_reduces() -> str:
    """Reduce and gather between writes."""
    strategy = three_replicas()
    w = create_without_warnings(strategy, 1.0, "ON_WRITE", "SUM")

    def step() -> Any:
        context = tf.distribute.get_replica_context()
        w.assign_add(np.float32(replica_id()) / 7)
        total, mean = context.all_reduce("sum", (w + replica_id(), np.float32(replica_id() * 0.1)))
        gathered = context.all_gather(np.arange(replica_id() + 1, dtype=np.float32), axis=0)
        w.assign(total * mean)
        return total, mean, gathered, context.all_reduce("mean", replica_id())

    return seen(*strategy.run(step), w)


def collectives() -> str:
    """Exchange values by every collective, between writes."""
    strategy = three_replicas()
    w = create_without_warnings(strategy, 1.0, "ON_WRITE", "SUM")

    def step() -> Any:
        context, i = tf.distribute.get_replica_context(), replica_id()
        w.assign_add(np.float32(i) / 7)
        value = np.arange(6, dtype=np.float32).reshape(3, 2) * (w + i)
        mean = context.all_reduce("mean", value, weight=i + 0.5)
        largest = context.all_reduce("max", (value, np.int8(i)))
        part = context.reduce_scatter("prod", value)
        first = context.broadcast(value, root=2)
        parts = context.all_to_all([np.full(i + to, np.int64(i - to)) for to in range(3)])
        before = context.scan("sum", i + 1, exclusive=True)
        w.assign(mean[1, 1])
        return mean, *largest, part, first, np.concatenate(parts), before, context.scan("min", -i)

    return seen(*strategy.run(step), w)


def merge_calls() -> str:
    """Do cross-replica writes in a merge_call, with a nested call between them."""
    strategy = three_replicas()
    w = create_without_warnings(strategy, 1.0, "ON_WRITE", "MEAN")
    hits = create_without_warnings(strategy, 0.0, "ON_READ", "SUM")

    def inner() -> Any:
        w.assign_add(np.float32(replica_id()))
        hits.assign_add(1.0)
        return w.read_value()

    def combine(strategy: Any, value: Any) -> Any:
        w.assign(strategy.reduce("SUM", value, axis=None))
        nested = strategy.run(inner)
        hits.assign(hits.read_value() + 3.0)
        return nested

    def step() -> Any:
        hits.assign_add(np.float32(replica_id()))
        w.assign_sub(np.float32(replica_id() * 0.3))
        result = tf.distribute.get_replica_context().merge_call(
            combine, args=(w * (1.0 + replica_id()),)
        )
        w.assign_add(result)
        return result, w.read_value(), hits.read_value()

    return seen(*strategy.run(step), w, hits, *hits.values)


def counters() -> str:
    """Use ON_READ and NONE variables, and a mirror whose components diverge and become equal."""
    strategy = three_replicas()
    total = create_without_warnings(strategy, 0, "ON_READ", "SUM")
    average = create_without_warnings(strategy, 0.0, "ON_READ", "MEAN")
    own = create_without_warnings(strategy, 0.0, "NONE")
    diverged = create_without_warnings(strategy, 0.0, "ON_WRITE", "NONE")

    def step() -> Any:
        total.assign_add(replica_id() + 1)
        average.assign(np.float32(replica_id() * 0.1))
        own.assign_sub(1.5 * replica_id())
        diverged.assign(np.float32(replica_id()))
        return total.read_value(), own.read_value()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        first = strategy.run(step)
    before = seen(*first, total, average, *own.values, *diverged.values, diverged)
    total.assign(9)
    diverged.assign_add(1.0)
    middle = seen(total, *diverged.values)
    diverged.assign(4.0)
    return "\n".join([before, middle, seen(diverged, *diverged.values)])


def mismatch() -> str:
    """Skip a write on replica 1: this call fails, and the next call succeeds."""
    strategy = three_replicas()
    w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")

    def step(skip: bool) -> None:
        w.assign_add(1.0)
        assert w.read_value() > 0.0  # the first merge is complete now
        if not (skip and replica_id() == 1):
            w.assign_add(10.0)

    strategy.run(step, (False,))
    try:
        strategy.run(step, (True,))
    except RuntimeError as error:
        failed = f"{type(error).__name__} {str(error).splitlines()[0]}"
    strategy.run(step, (False,))
    return seen(failed, w, *w.values)


def exception() -> str:
    """Raise on replicas 1 and 2 while replica 0 waits; earlier local writes keep their effect."""
    strategy = three_replicas()
    w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
    mine = create_without_warnings(strategy, 0.0, "ON_READ", "SUM")

    def step() -> Any:
        mine.assign_add(1.0)
        w.assign_add(1.0)
        before = w.read_value()
        if replica_id() > 0:
            raise KeyError(f"replica {replica_id()}")
        w.assign_add(100.0)
        return before + w.read_value()

    try:
        strategy.run(step)
    except KeyError as error:
        failed = f"{error} {type(error.__cause__).__name__} {error.__cause__.replica_id}"  # type: ignore[union-attr]
    return seen(failed, w, mine, *w.values, strategy.run(w.read_value))


def host_calls() -> str:
    """Read components of other replicas between two collectives."""
    strategy = three_replicas()
    mine = create_without_warnings(strategy, 1.0, "ON_READ", "SUM")

    def step() -> Any:
        context = tf.distribute.get_replica_context()
        mine.assign_add(np.float32(replica_id()))
        context.all_reduce("sum", 0)
        before = mine.values[(replica_id() + 1) % REPLICAS].read_value()
        context.all_reduce("sum", 0)
        mine.assign(before)
        return before, mine.read_value()

    return seen(*strategy.run(step), mine, *mine.values)


def sparse_writes() -> str:
    """Write rows of variables with several settings, in both contexts, and rows of components."""
    strategy = three_replicas()
    zeros = np.zeros((6, 2), np.float32)
    mean, total, first, own, gathered = [
        create_without_warnings(strategy, zeros, synchronization, aggregation)
        for synchronization, aggregation in (
            ("ON_WRITE", "MEAN"),
            ("ON_WRITE", "SUM"),
            ("ON_WRITE", "ONLY_FIRST_REPLICA"),
            ("NONE", "NONE"),
            ("ON_READ", "SUM"),
        )
    ]

    def step(x: float) -> Any:
        mine = replica_id()
        rows = tf.IndexedSlices(np.full((mine + 1, 2), x, np.float32), [mine, 5, 5][: mine + 1])
        mean.scatter_add(rows)
        total.scatter_sub(rows)
        first.scatter_update(rows)
        own.scatter_max(rows)
        gathered.values[mine].scatter_add(rows)
        gathered.values[mine].scatter_mul(rows)
        return mean[[0, 5]], total.read_value(), first[[0]], own.read_value()

    returned = [strategy.run(step, args=(x,)) for x in (1.5, -0.3)]
    one = tf.IndexedSlices(np.full((1, 2), 3.0, np.float32), [5])
    none = tf.IndexedSlices(np.zeros((0, 2), np.float32), [])
    mean.scatter_div(one)
    total.scatter_add(tf.distribute.PerReplica([one, none, one]))
    for part in gathered.values:
        part.scatter_add(one)
    own.values[1].scatter_min(one)
    parts = [part.read_value() for part in (*own.values, *gathered.values)]
    return seen(*[v for each in returned for v in each], mean, total, first, gathered, *parts)


def joined_replicas() -> str:
    """Run batches of three, two and one row: replicas without rows take no part in the call."""
    strategy = three_replicas()
    strategy.uneven = "join"
    mean = create_without_warnings(strategy, 1.0, "ON_WRITE", "MEAN")
    pair = create_without_warnings(strategy, [1.0, 2.0], "ON_WRITE", "MEAN")
    first = create_without_warnings(strategy, 0, "ON_WRITE", "ONLY_FIRST_REPLICA")
    total = create_without_warnings(strategy, 0.0, "ON_READ", "SUM")
    table = create_without_warnings(strategy, [0.0] * 4, "ON_WRITE", "MEAN")

    def apply(strategy: Any, value: Any) -> Any:
        return strategy.extended.reduce_to("MEAN", value, mean)

    def step(rows: Any) -> Any:
        context = tf.distribute.get_replica_context()
        mean.assign_add(rows[0] * 0.3)
        pair.assign_sub(np.array([0.1, 0.7], np.float32) * rows[0])
        first.assign_add(replica_id() + context.num_replicas_present)
        total.assign_add(rows[0] / 3)
        table.scatter_add(tf.IndexedSlices(rows, [replica_id()]))
        merged = context.merge_call(apply, args=(rows[0],))
        return mean.read_value(), merged, context.all_reduce("MEAN", rows[0] + mean)

    rows = [np.arange(count, dtype=np.float32) + 0.1 for count in (3, 2, 1, 3)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        batches = list(strategy.experimental_distribute_dataset(rows))
    results = [strategy.run(step, args=(batch,)) for batch in batches]
    reduced = [strategy.reduce("MEAN", one[0], axis=None) for one in results]
    components = [part for v in (mean, total, first) for part in v.values]
    return seen(*[v for each in results for v in each], *reduced, pair, total, table, *components)


def joins() -> str:
    """Run other numbers of batches on each replica, and join after the last one, in two epochs."""
    strategy = three_replicas()
    mean = create_without_warnings(strategy, 1.0, "ON_WRITE", "MEAN")
    pair = create_without_warnings(strategy, [1.0, 2.0], "ON_WRITE", "SUM")
    total = create_without_warnings(strategy, 0.0, "ON_READ", "SUM")
    table = create_without_warnings(strategy, [0.0] * 4, "ON_WRITE", "MEAN")

    def step() -> Any:
        context, mine, read = tf.distribute.get_replica_context(), replica_id(), np.float32(0)
        lasts = []
        for batches in (mine + 1, 3 - mine):
            for batch in range(batches):
                x = np.float32(0.1 * (mine + 1) + batch)
                gradient = context.all_reduce("MEAN", {"x": x, "y": [x, 2 * x]})
                mean.assign_add(gradient["x"])
                pair.assign_sub(np.array([0.1, 0.7], np.float32) * x)
                total.assign_add(context.all_reduce("MEAN", x, weight=mine + batch + 1))
                table.scatter_add(tf.IndexedSlices([x], [mine]))
                if batch % 2:
                    read = read + mean.read_value() * table[[mine]][0]
                context.barrier()
                pair.assign_add([0.3, 0.4])  # the replica joins before this is committed
            lasts.append(context.join())
        return read, np.array(lasts), context.all_gather(np.float32([mine]), axis=0)

    results = strategy.run(step)
    components = [part for v in (mean, pair, total, table) for part in v.values]
    return seen(*results, total, *components)


@dataclass(frozen=True, slots=True)
class Turn(ExchangeEvery):
    """An exchange: each replica gets the component of the next one; the copy is their sum."""

    def exchanged(self, spec: Any, components: Any, copy: Any) -> Exchange:
        first, *others = components
        return Exchange([*others, first], copy + sum(components))


@dataclass(frozen=True, slots=True)
class PushAndPull(Cell):
    """A write that is pushed to the copy; the replica continues with the copy."""

    writes_itself: ClassVar[bool] = True

    def write(
        self, replica: Any, variable: Any, operation: Any, operand: Any, location: str
    ) -> Any:
        actions = replica.push(variable, np.array(operand), location)
        return [*actions, *replica.publish(variable, location), *replica.pull(variable, location)]

    def obtained(self, replica: Any, variable: Any, value: Any) -> Any:
        return replica.adopt(variable, value)


@dataclass(frozen=True)
class WithCopy(tf.CustomPolicy):
    """A policy with a copy; its writes are those of `Turn`, or of `PushAndPull`."""

    keyword: ClassVar[str] = "with_copy"
    keeps_copy: ClassVar[bool] = True
    turns: int = 1

    @property
    def rows(self) -> Any:
        write: Cell = Turn(2) if self.turns else PushAndPull()
        return rows(
            replica={Operation.READ: Local(), **on_every_write(write)},
            cross_replica={Operation.READ: ReadCopy(), **on_every_write(ToAllAndCopy())},
        )


def policies_with_a_copy() -> str:
    """Exchange components, push and pull. No record can be judged: there is no promise."""
    strategy = three_replicas()
    with strategy.scope():
        turned, pushed = (
            tf.Variable([1.0, 2.0], synchronization=WithCopy(turns), aggregation=AGG.MEAN)
            for turns in (1, 0)
        )

    def step(x: float) -> Any:
        turned.assign_add([x, replica_id()])
        turned.assign_add([x, 1.0], read_value=False)
        pushed.assign_add([x, 1.0])
        return turned.read_value(), pushed.read_value()

    returned = [strategy.run(step, args=(x,)) for x in (1.5, -0.3)]
    turned.assign([0.0, 1.0])
    pushed.assign_sub([1.0, 1.0])
    return seen(*[v for each in returned for v in each], turned, pushed)


PROGRAMS = (
    several_writes,
    all_reduces,
    collectives,
    merge_calls,
    counters,
    host_calls,
    sparse_writes,
    joined_replicas,
    joins,
    mismatch,
    exception,
)
