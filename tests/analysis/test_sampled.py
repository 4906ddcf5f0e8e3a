"""Large values are judged in a sample of their elements, and by their digests."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.examination import Examination, examine
from varsim.analysis.outcome import Outcome
from varsim.report.verdict_text import verdict_of
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, open_history
from varsim.tracing.merge import merge
from varsim.tracing.samples import MOST_ELEMENTS, positions
from varsim.tracing.trace import TraceOptions

SIZE = 20_000
OUTSIDE = 3
"""An element that is not in the sample."""

F = np.float32


def variable(name: str, synchronization: Any, aggregation: str, value: Any = None) -> Any:
    return tf.Variable(
        np.zeros(SIZE, F) if value is None else value,
        name=name,
        synchronization=tf.VariableSynchronization[synchronization]
        if isinstance(synchronization, str)
        else synchronization,
        aggregation=tf.VariableAggregation[aggregation],
    )


def numbers(dtype: Any = F) -> np.ndarray:
    """Return a large value that differs between replicas and elements."""
    return (np.arange(SIZE) % 97 + replica_id()).astype(dtype)


def everything(strategy: Any) -> Callable[[], None]:
    w, s = variable("w", "ON_WRITE", "MEAN"), variable("s", "ON_READ", "MEAN")
    table = variable("t", "ON_WRITE", "SUM", np.zeros((500, 40), F))
    middle = [variable(f"m{i}", "ON_WRITE", "SUM", np.zeros(1000, F)) for i in range(40)]
    one = variable("one", "ON_WRITE", "SUM", F(0))

    def step() -> None:
        w.assign_add(numbers())
        w.read_value()
        s.assign_add(numbers())
        s.read_value()
        one.assign_add(F(1))
        for i, each in enumerate(middle):
            each.assign_add(np.full(1000, i + replica_id(), F))
        for count in (3, 490):  # rows below and above the limit
            rows = np.arange(count * 40, dtype=F).reshape(count, 40)
            table.scatter_add(tf.IndexedSlices(rows, np.arange(count) * 7 % 500))
        own = tf.distribute.get_replica_context()
        results = [
            own.all_reduce("MEAN", [numbers(), F(1)]),
            own.all_gather(numbers(), axis=0),
            own.broadcast(numbers(), root=1),
        ]
        assert 3 == len(results)
        s.sync("MEAN")
        s.push(numbers())
        s.publish()
        s.fetch(0)
        s.pull()

    def program() -> None:
        for _ in range(2):
            strategy.run(step)
        s.read_value()
        w.assign(np.ones(SIZE, F))
        table.read_value()

    return program


def recorded(folder: Path, make: Callable[[Any], Callable[[], None]]) -> Path:
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(
            ["cpu:0", "cpu:1"], trace=TraceOptions(folder / "traces")
        )
        with strategy.scope():
            program = make(strategy)
        program()
        strategy.close()
    merge(folder / "traces", folder / HISTORY)
    return folder / HISTORY


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return recorded(tmp_path_factory.mktemp("sampled"), everything)


def examined(file: Path) -> Examination:
    with open_history(file) as opened:
        return examine(opened)


def test_a_run_with_large_values_is_valid_and_says_what_was_not_recomputed(history: Path) -> None:
    found = examined(history)

    by_name = {one.checker: one for one in found.verdicts}
    assert {Outcome.VALID} == {one.outcome for one in found.verdicts}
    of_commits = by_name["reduction"].recomputed
    assert (True, 0) == (0 < of_commits.sampled < of_commits.compared, of_commits.left)
    assert by_name["collectives"].recomputed.left == 2  # the two all_gathers
    for name in ("gathered-reads", "read-your-writes", "synced", "one-sided"):
        assert by_name[name].recomputed.sampled, name
    assert "commits were not recomputed as a whole, but in a sample of the elements (--trace " in (
        by_name["reduction"].reason
    )
    assert "(VALID; " in verdict_of(found)
    assert any("outside of a sample" in note.text for note in found.not_looked_at)


def test_a_sample_has_the_same_elements_whatever_the_value_is_sent_with(history: Path) -> None:
    with open_history(history) as opened:
        (number,) = (n for n, row in opened.variables.items() if row.name == "m7")
        events = [one for one in opened.events("variable = ?", (number,)) if one.dtype]
    sampled = [one for one in events if one.elements is not None]

    assert {"write", "commit"} == {one.kind for one in sampled}
    assert {MOST_ELEMENTS * 4} == {len(one.elements or b"") for one in sampled}
    assert [7.0, 8.0] == sorted(
        {float(np.frombuffer(one.elements or b"", F)[5]) for one in sampled if one.kind == "write"}
    )


def damaged(file: Path, folder: Path, where: str, *, in_sample: bool) -> Path:
    """Copy a history, and change an element of the last value that a condition selects."""
    copy = folder / HISTORY
    copy.write_bytes(file.read_bytes())
    with closing(sqlite3.connect(copy)) as connection:
        event, elements, digest = connection.execute(
            "SELECT event, elements, digest FROM events JOIN samples ON of_event = event "
            f"LEFT JOIN variables USING (variable) WHERE {where} ORDER BY event DESC LIMIT 1"
        ).fetchone()
        if in_sample:
            changed = np.frombuffer(elements, F).copy()
            changed[len(changed) // 2] += 1
            connection.execute(
                "UPDATE samples SET elements = ? WHERE of_event = ?", (changed.tobytes(), event)
            )
        other = zlib.crc32(b"another value", digest)
        connection.execute("UPDATE events SET digest = ? WHERE event = ?", (other, event))
        connection.commit()
    return copy


@pytest.mark.parametrize(
    ("where", "checker", "in_sample"),
    [
        ("name = 'w' AND kind = 'commit' AND position IS NOT NULL", "reduction", True),
        ("name = 'w' AND kind = 'commit' AND position IS NULL", "reduction", False),
        ("name = 'w' AND kind = 'commit' AND position IS NOT NULL", "agreement", False),
        ("name = 'm3' AND kind = 'commit'", "reduction", True),
        ("name = 't' AND kind = 'commit' AND ordinals IS NOT NULL", "reduction", True),
        ("name = 's' AND kind = 'read' AND process = -1", "gathered-reads", True),
        ("name = 's' AND kind = 'read' AND process = 0", "read-your-writes", True),
        ("name = 's' AND kind = 'sync'", "synced", True),
        ("name = 's' AND kind = 'push'", "one-sided", True),
        ("kind = 'result' AND events.shape = '[40000]'", "collectives", False),  # an all_gather
        ("kind = 'result' AND position IN (SELECT position FROM events WHERE operation = "
         "'all_reduce')", "collectives", True),
    ],
)  # fmt: skip
def test_a_changed_value_is_found(
    history: Path, tmp_path: Path, where: str, checker: str, in_sample: bool
) -> None:
    """Elements outside of the sample are found where a digest shows the whole value."""
    found = examined(damaged(history, tmp_path, where, in_sample=in_sample))

    invalid = [one.checker for one in found.verdicts if one.outcome is Outcome.INVALID]
    assert checker in invalid


def with_nan(strategy: Any) -> Callable[[], None]:
    v = variable("v", "ON_WRITE", "SUM")

    def step() -> None:
        value = numbers()
        if replica_id():
            value[OUTSIDE] = np.nan
        v.assign_add(value)

    return lambda: strategy.run(step)


def with_overflow(strategy: Any) -> Callable[[], None]:
    v = variable("v", "ON_WRITE", "SUM", np.zeros(2 * SIZE, np.float16))

    def step() -> None:
        value = np.ones(2 * SIZE, np.float16)
        value[OUTSIDE] = 60_000
        v.assign_add(value)

    return lambda: strategy.run(step)


def reducing(value: np.ndarray) -> Callable[[Any], Callable[[], None]]:
    def step() -> None:
        own = tf.distribute.get_replica_context()
        assert own.all_reduce("SUM", value * np.ones(SIZE, value.dtype)).size

    return lambda strategy: lambda: strategy.run(step)


@pytest.mark.parametrize(
    ("make", "kind", "said"),
    [
        (reducing(np.full(SIZE, 3e38, F)), "overflow of a sum", "add up to 6e+38, which float32"),
        (
            reducing(np.arange(SIZE) * 0 + np.where(np.arange(SIZE) == OUTSIDE, np.nan, F(1))),
            "NaN or infinity",
            "gave the first NaN in 1 of 20,000 elements",
        ),
        (with_nan, "NaN or infinity", "Replica 1 wrote the first NaN in 1 of 20,000 elements"),
        (with_overflow, "overflow of a sum", "add up to as much as 120,000, which float16"),
    ],
)
def test_numbers_that_are_not_finite_are_found_outside_of_the_sample(
    tmp_path: Path, make: Any, kind: str, said: str
) -> None:
    assert OUTSIDE not in positions(SIZE)
    found = examined(recorded(tmp_path, make)).findings

    assert [kind] == [one.kind.name for one in found]
    assert said in found[0].what


POLICIES = [
    tf.LocalSGD(2),
    tf.BoundedStaleness(1),
    tf.Compressed("ON_WRITE", "fp16"),
    tf.Compressed("ON_WRITE", "top_k:0.1"),
    tf.Compressed(tf.LocalSGD(2), "one_bit"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
def test_policies_with_large_values_are_valid(tmp_path: Path, policy: Any) -> None:
    def make(strategy: Any) -> Callable[[], None]:
        v = variable("v", policy, "MEAN")

        def step() -> None:
            v.assign_add(numbers())
            v.read_value()

        def program() -> None:
            for _ in range(3):
                strategy.run(step)
            v.read_value()
            v.assign(np.ones(SIZE, F))
            strategy.run(step)

        return program

    found = examined(recorded(tmp_path, make))

    assert {Outcome.VALID} == {one.outcome for one in found.verdicts}
    assert any(one.recomputed.sampled + one.recomputed.left for one in found.verdicts)
