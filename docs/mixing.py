"""Programs that mix ways of synchronising, and the tables about them in docs/mixing.md.

tests/mixing runs the programs, and compares each cell of the tables with what happens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

import varsim as tf
from varsim.spec import Operation
from varsim.sync.policies.cells import Broadcast, Local
from varsim.sync.policies.central import Central
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import on_every_write, rows

REPLICAS: Final = 3
STEPS: Final = 3
SYNC, AGGREGATION = tf.VariableSynchronization, tf.VariableAggregation


@dataclass(frozen=True)
class MeanOnRead(tf.CustomPolicy):
    """A policy of the program: writes stay local; a cross-replica read gives the mean."""

    keyword: ClassVar[str] = "mean_on_read"
    aggregations: ClassVar = {AGGREGATION.NONE: AGGREGATION.MEAN}

    @property
    def rows(self) -> Any:
        """Return the policy's rows of the table."""
        return rows(
            replica={Operation.READ: Local(), **on_every_write(Local())},
            cross_replica={Operation.READ: Gather(), **on_every_write(Broadcast())},
        )


def context() -> Any:
    """Return the current replica's context."""
    return tf.distribute.get_replica_context()


def own() -> float:
    """Return 1, 2 or 3, on replica 0, 1 or 2."""
    return 1.0 + int(context().replica_id_in_sync_group)


# ---------------------------------------------------------------- side by side in one step


class Part(NamedTuple):
    """One way of synchronising, as a part of a step."""

    title: str
    make: Callable[[Any], Any]  # strategy → what the part needs
    step: Callable[[Any], Any]  # called on every replica; returns what the replica sees
    end: Callable[[Any], Any]  # returns what the program sees at the end
    expected: tuple[Any, Any]  # what the replicas see in the last step, and the end


def _variable(synchronization: Any, aggregation: Any = AGGREGATION.NONE) -> Callable[[Any], Any]:
    def make(strategy: Any) -> Any:
        with strategy.scope():
            return tf.Variable(0.0, synchronization=synchronization, aggregation=aggregation)

    return make


def _add(v: Any) -> Any:
    v.assign_add(own())
    return float(v.read_value())


def _add_blindly(v: Any) -> None:
    v.assign_add(own(), read_value=False)


def _components(v: Any) -> list[float]:
    return [float(one.numpy()) for one in v.values]


def _group(strategy: Any) -> Any:
    return strategy.group([0, 2])


def _reduce_in_group(group: Any) -> Any:
    me = context().replica_id_in_sync_group
    return float(context().all_reduce("SUM", own(), group=group)) if me in group else None


def _merge(v: Any) -> Any:
    def add(strategy: Any, value: Any) -> Any:
        total = strategy.reduce("SUM", value, axis=None)
        v.assign_add(total)
        return total

    return float(context().merge_call(add, args=(own(),)))


def _run_in_merge(v: Any) -> Any:
    def inner(strategy: Any) -> Any:
        return strategy.run(lambda: v.assign_add(own()))

    context().merge_call(inner)
    return float(v.read_value())


def _with_lock(v: Any) -> None:
    with context().lock("copy"):
        v.push(own())


def _with_barrier(v: Any) -> Any:
    context().barrier("all have pushed before this step")
    v.push(own())
    context().barrier("all have pushed")
    return float(v.pull().value)


def _publish(v: Any) -> Any:
    v.assign(own())
    v.publish()
    context().barrier("all have published")
    return float(v.fetch(2).value)


def _sync(v: Any) -> Any:
    v.assign(own())
    return float(v.sync(tf.distribute.ReduceOp.SUM))


def _pass_on(_: Any) -> Any:
    me = context().replica_id_in_sync_group
    got = float(context().recv(me - 1)) if me else 0.0
    if me + 1 < REPLICAS:
        context().send(got + own(), to=me + 1)
    return got


def _nothing(_: Any) -> None:
    return None


PARTS: Final = [
    Part(
        "ON_WRITE",
        _variable(SYNC.ON_WRITE, AGGREGATION.MEAN),
        _add,
        lambda v: float(v.read_value()),
        ([6.0] * 3, 6.0),
    ),
    Part(
        "ON_READ",
        _variable(SYNC.ON_READ, AGGREGATION.SUM),
        _add,
        lambda v: float(v.read_value()),
        ([3.0, 6.0, 9.0], 18.0),
    ),
    Part(
        'AUTO, auto="adaptive"',
        _variable(SYNC.AUTO, AGGREGATION.SUM),
        _add_blindly,
        lambda v: float(v.read_value()),
        ([None] * 3, 18.0),
    ),
    Part("NONE", _variable(SYNC.NONE), _add, _components, ([3.0, 6.0, 9.0], [3.0, 6.0, 9.0])),
    Part(
        "LocalSGD(2)",
        _variable(tf.LocalSGD(2)),
        _add_blindly,
        _components,
        ([None] * 3, [5.0, 6.0, 7.0]),
    ),
    Part(
        "Compressed(ON_WRITE)",
        _variable(tf.Compressed("on_write", by="fp16"), AGGREGATION.MEAN),
        _add,
        lambda v: float(v.read_value()),
        ([6.0] * 3, 6.0),
    ),
    Part(
        "BoundedStaleness(1)",
        _variable(tf.BoundedStaleness(1), AGGREGATION.SUM),
        _add_blindly,
        lambda v: float(v.read_value()),
        ([None] * 3, 18.0),
    ),
    Part(
        "central",
        _variable(Central(), AGGREGATION.SUM),
        _add,
        lambda v: float(v.read_value()),
        ([18.0] * 3, 18.0),
    ),
    Part(
        "a policy of the program",
        _variable(MeanOnRead()),
        _add,
        lambda v: float(v.read_value()),
        ([3.0, 6.0, 9.0], 6.0),
    ),
    Part(
        "all_reduce",
        _nothing,
        lambda _: float(context().all_reduce("SUM", own())),
        _nothing,
        ([6.0] * 3, None),
    ),
    Part("a group's all_reduce", _group, _reduce_in_group, _nothing, ([4.0, None, 4.0], None)),
    Part(
        "merge_call",
        _variable(SYNC.ON_WRITE),
        _merge,
        lambda v: float(v.read_value()),
        ([6.0] * 3, 18.0),
    ),
    Part(
        "run in a merge_call",
        _variable(SYNC.ON_WRITE, AGGREGATION.SUM),
        _run_in_merge,
        lambda v: float(v.read_value()),
        ([18.0] * 3, 18.0),
    ),
    Part(
        "lock, push",
        _variable(SYNC.NONE),
        _with_lock,
        lambda v: float(v.pull().value),
        ([None] * 3, 18.0),
    ),
    Part(
        "barrier, push, pull",
        _variable(SYNC.NONE),
        _with_barrier,
        lambda v: float(v.pull().value),
        ([18.0] * 3, 18.0),
    ),
    Part(
        "publish, fetch", _variable(SYNC.NONE), _publish, _components, ([3.0] * 3, [1.0, 2.0, 3.0])
    ),
    Part("sync", _variable(SYNC.NONE), _sync, _components, ([6.0] * 3, [6.0] * 3)),
    Part("send, recv", _nothing, _pass_on, _nothing, ([0.0, 1.0, 3.0], None)),
]


def side_by_side(strategy: Any, *parts: Part) -> list[tuple[Any, Any]]:
    """Run steps that have these parts, one after the other; return what each part has seen."""
    made = [part.make(strategy) for part in parts]

    def step() -> tuple[Any, ...]:
        return tuple(part.step(one) for part, one in zip(parts, made, strict=True))

    for _ in range(STEPS):
        seen = strategy.experimental_local_results(strategy.run(step))
    return [
        ([one[index] for one in seen], part.end(made[index])) for index, part in enumerate(parts)
    ]


# ---------------------------------------------------------------- one inside the other


class Tools(NamedTuple):
    """What the operations of the table need."""

    strategy: Any
    written: Any  # ON_WRITE, MEAN
    private: Any  # NONE


def tools_of(strategy: Any) -> Tools:
    """Return the variables of a strategy."""
    written = _variable(SYNC.ON_WRITE, AGGREGATION.MEAN)(strategy)
    return Tools(strategy, written, _variable(SYNC.NONE)(strategy))


Operate = Callable[[Tools], Any]


def _scope(tools: Tools) -> Any:
    with tools.strategy.scope():
        return 1.0


def _lock(_: Tools) -> Any:
    with context().lock("inner"):
        return 1.0


OPERATIONS: Final[dict[str, Operate]] = {
    "v.read_value()": lambda tools: tools.written.read_value(),
    "v.assign(x)": lambda tools: tools.written.assign(1.0),
    "all_reduce": lambda _: context().all_reduce("SUM", 1.0),
    "merge_call": lambda _: context().merge_call(lambda _: 1.0),
    "lock": _lock,
    "barrier": lambda _: context().barrier("inner"),
    "join": lambda _: context().join(),
    "v.push(x)": lambda tools: tools.private.push(1.0),
    "v.sync(op)": lambda tools: tools.private.sync(tf.distribute.ReduceOp.SUM),
    "strategy.run": lambda tools: tools.strategy.run(lambda: 1.0),
    "strategy.reduce": lambda tools: tools.strategy.reduce(
        "SUM", tf.distribute.PerReplica([1.0] * REPLICAS), axis=None
    ),
    "strategy.scope": _scope,
    "tf.Variable(x)": lambda _: tf.Variable(1.0),
    "extended.update": lambda tools: tools.strategy.extended.update(
        tools.written, lambda component: component.assign(1.0)
    ),
}


def _in_run(tools: Tools, operate: Operate) -> Any:
    return tools.strategy.run(operate, args=(tools,))


def _in_lock(tools: Tools, operate: Operate) -> Any:
    def step() -> Any:
        with context().lock("outer"):
            return operate(tools)

    return tools.strategy.run(step)


def _in_merge(tools: Tools, operate: Operate) -> Any:
    return tools.strategy.run(lambda: context().merge_call(lambda _: operate(tools)))


def _in_run_in_merge(tools: Tools, operate: Operate) -> Any:
    def merge(strategy: Any) -> Any:
        return strategy.run(operate, args=(tools,))

    return tools.strategy.run(lambda: context().merge_call(merge))


def _in_update(tools: Tools, operate: Operate) -> Any:
    return tools.strategy.extended.update(tools.written, lambda _: operate(tools))


def _in_scope(tools: Tools, operate: Operate) -> Any:
    with tools.strategy.scope():
        return operate(tools)


PLACES: Final[dict[str, Callable[[Tools, Operate], Any]]] = {
    "strategy.run": _in_run,
    "a lock": _in_lock,
    "merge_call": _in_merge,
    "run in merge_call": _in_run_in_merge,
    "extended.update": _in_update,
    "strategy.scope": _in_scope,
    "outside": lambda tools, operate: operate(tools),
}

NO_CONTEXT: Final = "no replica context"
NEEDS_PROGRAM: Final = "use merge_call"
DEADLOCK: Final = "deadlock"
ONE_COMPONENT: Final = "one component"

REASONS: Final = {
    NO_CONTEXT: "`tf.distribute.get_replica_context()` is None, as in TensorFlow. Call the "
    "operation on the replicas; here, use `strategy.reduce` or `strategy.run`.",
    NEEDS_PROGRAM: "A `ContextError`: the operation needs cross-replica context. Call it in the "
    "function of a `merge_call`, which needs all replicas, so release a lock before; or use the "
    "methods of the replica context.",
    DEADLOCK: "A `DeadlockError`, at once: the replica that holds the lock waits for replicas that "
    "wait for the lock. Release the lock first.",
    ONE_COMPONENT: "An `OperationError`: the function has only one component. Call the operation "
    "outside the function.",
}
"""Why a cell is refused: the word in the cell → the sentence below the table."""

_ON_REPLICAS: Final = ("all_reduce", "merge_call", "lock", "barrier", "join")
_IN_PROGRAM: Final = ("strategy.run", "strategy.reduce", "strategy.scope")
_OF_ALL: Final = ("all_reduce", "merge_call", "barrier", "join", "v.sync(op)", "extended.update")

REFUSED: Final = {
    **{
        (place, operation): NO_CONTEXT
        for place in ("merge_call", "extended.update", "strategy.scope")
        for operation in _ON_REPLICAS
    },
    **{
        (place, operation): NEEDS_PROGRAM
        for place in ("strategy.run", "a lock", "run in merge_call")
        for operation in _IN_PROGRAM
    },
    **{("a lock", operation): DEADLOCK for operation in _OF_ALL},
    **{("extended.update", operation): ONE_COMPONENT for operation in ("v.push(x)", "v.sync(op)")},
}
"""The place and the operation of each cell that is refused → the key of its reason."""


def pairs_table() -> str:
    """Return the table of parts that can be in one step. tests/mixing runs each cell."""
    numbers = range(1, len(PARTS) + 1)
    lines = [f"| | | {' | '.join(map(str, numbers))} |", "| --- | --- |" + " --- |" * len(PARTS)]
    lines += [
        f"| {number} | {part.title} |" + " yes |" * len(PARTS)
        for number, part in zip(numbers, PARTS, strict=True)
    ]
    return "\n".join(lines)


def nesting_table() -> str:
    """Return the table of operations inside other code. tests/mixing runs each cell."""
    lines = [f"| | {' | '.join(PLACES)} |", "| --- |" + " --- |" * len(PLACES)]
    for operation in OPERATIONS:
        cells = [REFUSED.get((place, operation), "yes") for place in PLACES]
        lines.append(f"| `{operation}` | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- *{word}*: {text}" for word, text in REASONS.items())])
