"""Every result of a collective is recorded and recomputed; a changed result is INVALID."""

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
from varsim.analysis.combination import expected
from varsim.analysis.examination import Examination, examine
from varsim.analysis.outcome import Outcome, Verdict
from varsim.errors import MismatchError
from varsim.testing import simulated_cluster
from varsim.tracing.history import HISTORY, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

F = np.float32
NUMERIC = ("SUM", "MEAN", "MIN", "MAX", "PROD")
Step = Callable[[Any], Any]


def all_kinds(own: Any) -> None:
    """Call every kind of collective, with structures, weights and parts of different sizes."""
    i = replica_id()
    value = F([i + 1, 2 - i, 3])
    results = [
        *(own.all_reduce(op, {"a": value, "b": np.int16(i + 2)}) for op in NUMERIC),
        own.all_reduce("MEAN", (value, i), weight=i + 0.5),
        own.all_reduce("ANY", np.array([i == 1, False])),
        own.all_reduce("ALL", np.array([i == 1, True])),
        own.all_gather(value[: i + 1], axis=0),
        own.reduce_scatter("MAX", np.arange(6).reshape(2, 3) * i, axis=1),
        own.all_to_all([np.full(i + j, 10 * i + j) for j in range(3)]),
        own.broadcast([value, i], root=2, name="weights"),
        own.scan("PROD", value),
        own.scan("MIN", value, exclusive=True),
    ]
    assert 14 == len(results)
    own.merge_call(lambda _: None)


def recorded(folder: Path, step: Step, seed: int | None = None) -> Path:
    """Record a call on three replicas of the simulated cluster; return the history."""
    options = TraceOptions(folder / "traces")
    with simulated_cluster(seed):
        devices = [f"cpu:{i}" for i in range(3)]
        strategy = tf.distribute.MirroredStrategy(devices, trace=options)
        strategy.run(lambda: step(tf.distribute.get_replica_context()))
        strategy.close()
    merge(folder / "traces", folder / HISTORY)
    return folder / HISTORY


def examined(file: Path) -> Examination:
    with open_history(file) as history:
        return examine(history)


def verdict(file: Path) -> Verdict:
    return next(one for one in examined(file).verdicts if one.checker == "collectives")


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_collectives_of_every_kind_are_valid(tmp_path: Path, seed: int | None) -> None:
    file = recorded(tmp_path, all_kinds, seed)

    assert {Outcome.VALID} == {one.outcome for one in examined(file).verdicts}
    with open_history(file) as history:
        results = [one for one in history.events() if one.kind == "result"]
        given = [one for one in history.events() if one.kind == "give"]
    assert len(given) == len(results) == 3 * (5 * 2 + 2 + 1 + 1 + 1 + 1 + 3 + 2 + 1 + 1)
    assert '{"op": "MEAN", "weight": 1.5}' in {one.note for one in given}


def test_collectives_of_a_group_are_judged_by_its_members(tmp_path: Path) -> None:
    """Replicas 0 and 2 are a group; the root of its broadcast is a replica id."""

    def step(own: Any) -> None:
        pair = own.strategy.group([0, 2])
        if replica_id() in pair:
            own.all_reduce("MEAN", np.int32(replica_id()), group=pair, weight=replica_id() + 1)
            own.broadcast(F(replica_id()), root=2, group=pair)
            own.scan("SUM", F(replica_id() + 1), exclusive=True, group=pair)
        own.all_reduce("MAX", replica_id())

    file = recorded(tmp_path, step, 5)
    assert {Outcome.VALID} == {one.outcome for one in examined(file).verdicts}
    with closing(sqlite3.connect(file)) as connection:
        in_group = "kind = 'result' AND replica = 0 AND position = 1 AND members = '[0, 2]'"
        assert (
            1
            == connection.execute(
                f"UPDATE events SET value = x'00000000', digest = NULL WHERE {in_group}"
            ).rowcount
        )
        connection.commit()
    assert "the result of broadcast on replica 0 is wrong" == verdict(file).reason


@pytest.mark.thorough
def test_every_changed_result_is_found(tmp_path: Path) -> None:
    """Each result is changed in one bit of its last byte."""
    file = recorded(tmp_path, all_kinds)
    with closing(sqlite3.connect(file)) as connection:
        results = connection.execute(
            "SELECT event, value, digest FROM events WHERE kind = 'result' AND length(value) > 0"
        ).fetchall()
        for event, value, digest in results:
            changed = value[:-1] + bytes([value[-1] ^ 1])
            set_value(connection, event, changed, zlib.crc32(changed))
            found = verdict(file)
            assert Outcome.INVALID is found.outcome
            assert event in [one.event for one in found.events]
            set_value(connection, event, value, digest)
    assert Outcome.VALID is verdict(file).outcome


def set_value(connection: sqlite3.Connection, event: int, value: bytes, digest: int) -> None:
    changes = "UPDATE events SET value = ?, digest = ? WHERE event = ?"
    connection.execute(changes, (value, digest, event))
    connection.commit()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("note = '{\"op\": \"MAX\"}' WHERE kind = 'give' AND process = 0", "cannot be combined"),
        ("dtype = 'int32' WHERE kind = 'result' AND replica = 1", "on replica 1 is wrong"),
        ("shape = '[1, 2]' WHERE kind = 'result' AND replica = 1", "on replica 1 is wrong"),
    ],
)
def test_other_arguments_or_forms_are_found(tmp_path: Path, change: str, reason: str) -> None:
    file = recorded(tmp_path, lambda own: own.all_reduce("SUM", F([1, replica_id()])))
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(f"UPDATE events SET {change}")
        connection.commit()

    assert (Outcome.INVALID, True) == (verdict(file).outcome, reason in verdict(file).reason)


def test_large_values_are_judged_in_a_sample_and_a_note_says_so(tmp_path: Path) -> None:
    found = examined(recorded(tmp_path, lambda own: own.all_reduce("SUM", np.zeros(2**14))))

    assert Outcome.VALID is found.outcome
    assert [3] == [one.recomputed.sampled for one in found.verdicts if one.recomputed.compared]
    assert any("6 values of collectives outside of" in one.text for one in found.not_looked_at)


def test_a_failed_collective_has_no_result(tmp_path: Path) -> None:
    def step(own: Any) -> None:
        with pytest.raises(MismatchError):
            own.all_reduce("SUM" if replica_id() else "MAX", 1.0)

    with pytest.raises(MismatchError):
        recorded(tmp_path, step)
    merge(tmp_path / "traces", tmp_path / HISTORY)
    assert Outcome.VALID is verdict(tmp_path / HISTORY).outcome


@pytest.mark.parametrize(
    ("operation", "arguments"),
    [
        ("all_reduce", {}),
        ("all_reduce", {"op": "AVG"}),
        ("all_reduce", {"op": "ANY"}),
        ("broadcast", {"root": 7}),
        ("all_gather", {"axis": 3}),
        ("reduce_scatter", {"op": "SUM", "axis": 0}),
        ("all_to_all", {}),
        ("scan", {"op": "MEAN", "exclusive": True}),
        ("all_scan", {"op": "SUM"}),
    ],
)
def test_what_cannot_be_combined_has_no_expected_result(operation: str, arguments: Any) -> None:
    given = {i: [np.zeros(3)] for i in range(2)}
    assert expected(operation, given, dict.fromkeys(given, arguments), 2) is None
