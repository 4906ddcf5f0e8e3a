"""The examples of docs/errors.md: programs that varsim refuses or warns of, and the messages."""

from __future__ import annotations

import textwrap
import warnings
from dataclasses import dataclass
from typing import Any, Final

from varsim.errors import VarsimError
from varsim.testing import simulated_cluster

_FILE: Final = "train.py"
_PRELUDE_FILE: Final = "new.py"

PRELUDE: Final = """\
import numpy as np
import varsim as tf

ON_READ, NONE = tf.VariableSynchronization.ON_READ, tf.VariableSynchronization.NONE
SUM, MEAN = tf.VariableAggregation.SUM, tf.VariableAggregation.MEAN
strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])


def new(value, **settings):
    with strategy.scope():
        return tf.Variable(value, name="v", **settings)


def replica():
    return tf.distribute.get_replica_context().replica_id_in_sync_group
"""


@dataclass(frozen=True, slots=True)
class Example:
    """A small program after the prelude that causes an error or a warning."""

    title: str
    program: str


EXAMPLES: Final = (
    Example(
        "A cross-replica read without an aggregation",
        """
        v = new(0.0, synchronization=ON_READ)
        strategy.run(lambda: v.assign_add(3.0 + replica()))
        v.read_value()
        """,
    ),
    Example(
        "A cross-replica write whose result cannot be read",
        """
        v = new(0.0, synchronization=ON_READ)
        strategy.run(lambda: v.assign_add(3.0 + replica()))
        v.assign_add(5.0)
        """,
    ),
    Example(
        "A cross-replica add to an ON_READ sum",
        """
        v = new(0.0, synchronization=ON_READ, aggregation=SUM)
        strategy.run(lambda: v.assign_add(3.0 + replica()))
        v.assign_add(5.0)
        """,
    ),
    Example(
        "A cross-replica read of a NONE variable",
        """
        v = new(0.0, synchronization=NONE, aggregation=SUM)
        strategy.run(lambda: v.assign_add(3.0 + replica()))
        v.read_value()
        """,
    ),
    Example(
        "Copies that diverge",
        """
        v = new(0.0)
        strategy.run(lambda: v.assign_add(3.0))
        """,
    ),
    Example(
        "A sparse write of an ON_READ variable",
        """
        v = new([0.0, 0.0], synchronization=ON_READ, aggregation=SUM)
        strategy.run(lambda: v.scatter_add(tf.IndexedSlices([3.0], [replica()])))
        """,
    ),
    Example(
        "An update of rows by several replicas",
        """
        v = new([0.0, 0.0], aggregation=SUM)
        strategy.run(lambda: v.scatter_update(tf.IndexedSlices([3.0], [replica()])))
        """,
    ),
    Example(
        "A row that does not exist",
        """
        v = new([1.0, 2.0], aggregation=SUM)
        v[[0, -1]]
        """,
    ),
    Example(
        "A mean of integers",
        """
        new(7, aggregation=MEAN)
        """,
    ),
    Example(
        "NONE under a strict strategy",
        """
        strict = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], strict=True)
        with strict.scope():
            tf.Variable(7.0, name="v", synchronization=NONE)
        """,
    ),
    Example(
        "A setting that does not exist",
        """
        new(0.0, aggregation="average")
        """,
    ),
    Example(
        "A value of another shape",
        """
        v = new([0.0, 0.0], aggregation=SUM)
        strategy.run(lambda: v.assign_add(3.0))
        """,
    ),
    Example(
        "An array of another dtype",
        """
        v = new([0.0, 0.0])
        v.assign(np.array([3, 4]))
        """,
    ),
    Example(
        "A fraction for an integer",
        """
        v = new(0)
        v.assign(2.5)
        """,
    ),
    Example(
        "None as a value",
        """
        v = new(0.0)
        v.assign(None)
        """,
    ),
    Example(
        "An add to a bool",
        """
        v = new(False)
        v.assign_add(True)
        """,
    ),
    Example(
        "A sum of bools",
        """
        v = new(False, aggregation=SUM)
        strategy.run(lambda: v.assign(True))
        """,
    ),
    Example(
        "A per-replica value in cross-replica context",
        """
        v = new(0.0, synchronization=ON_READ, aggregation=SUM)
        v.assign(tf.distribute.PerReplica([3.0, 4.0]))
        """,
    ),
    Example(
        "Replicas that write differently",
        """
        v = new(0.0, aggregation=SUM)


        def step():
            write = v.assign if replica() == 0 else v.assign_add
            write(3.0 + replica())


        strategy.run(step)
        """,
    ),
    Example(
        "Replicas that write different shapes",
        """
        v = new([0.0], shape=[None], aggregation=SUM)
        strategy.run(lambda: v.assign(np.ones(replica() + 1, np.float32)))
        """,
    ),
    Example(
        "Replicas that reduce differently",
        """
        def step():
            context = tf.distribute.get_replica_context()
            return context.all_reduce("SUM" if replica() == 0 else "MEAN", 3.0 + replica())


        strategy.run(step)
        """,
    ),
    Example(
        "Named metrics in different orders",
        """
        def step():
            context = tf.distribute.get_replica_context()
            metrics = ["loss", "accuracy"] if replica() == 0 else ["accuracy", "loss"]
            return [context.all_reduce("MEAN", 0.5, name=metric) for metric in metrics]


        strategy.run(step)
        """,
    ),
    Example(
        "Unnamed collectives in different lines",
        """
        def step():
            context = tf.distribute.get_replica_context()
            if replica() == 0:
                return context.all_reduce("MEAN", 2.0)
            return context.all_reduce("MEAN", 0.5)


        strategy.run(step)
        """,
    ),
    Example(
        "Replicas that reduce different structures",
        """
        def step():
            context = tf.distribute.get_replica_context()
            metrics = {"loss": 2.0, "accuracy": 0.5}
            if replica() == 1:
                del metrics["accuracy"]
            return context.all_reduce("MEAN", metrics)


        strategy.run(step)
        """,
    ),
    Example(
        "A replica that does not reach a collective",
        """
        v = new(0.0, aggregation=SUM)


        def step():
            if replica() == 0:
                v.assign_add(3.0)


        strategy.run(step)
        """,
    ),
    Example(
        "A thread that a replica starts",
        """
        from concurrent.futures import ThreadPoolExecutor


        def step():
            with ThreadPoolExecutor(thread_name_prefix="loader") as pool:
                return pool.submit(lambda: 3.0 + replica()).result()


        strategy.run(step)
        """,
    ),
    Example(
        "Workers that write different values",
        """
        def script():
            workers = tf.distribute.MultiWorkerMirroredStrategy()
            with workers.scope():
                v = tf.Variable(0.0, name="v")
            v.assign(1.0 + workers.cluster_resolver.task_id)


        strategy.run(script)
        """,
    ),
)


def errors() -> str:
    """Return every example: its program and its output."""
    parts = ["```python", PRELUDE.rstrip(), "```"]
    for example in EXAMPLES:
        kind, text = said(example)
        program = textwrap.dedent(example.program).strip()
        parts += ["", f"## {example.title}", "", "```python", program, "```", ""]
        parts += ["```text", f"{kind}: {text}", "```"]
    return "\n".join(parts)


def said(example: Example) -> tuple[str, str]:
    """Return class and text of the error or warning with which a program ends."""
    names: dict[str, Any] = {"__name__": "__main__"}
    program = textwrap.dedent(example.program).strip()
    with simulated_cluster(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(compile(PRELUDE, _PRELUDE_FILE, "exec"), names)  # noqa: S102  # this page's own
        try:
            exec(compile(program, _FILE, "exec"), names)  # noqa: S102
        except VarsimError as error:
            return type(error).__name__, str(error)
        return caught[-1].category.__name__, str(caught[-1].message)
