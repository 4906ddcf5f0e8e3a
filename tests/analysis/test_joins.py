"""The judge of calls in which replicas join: zeros in their place, and all rejoin together."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.analysis.test_collectives import examined, recorded
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.sync import combining


def uneven(context: Any) -> None:
    """Reduce in 1, 2 and 3 batches, with every op that accepts zeros; then continue together."""
    for _ in range(replica_id() + 1):
        sums = context.all_reduce("SUM", {"a": np.float32([1, 2]), "b": replica_id() + 1})
        assert 2 == len(sums)
        context.all_reduce("MEAN", np.float32(replica_id() + 1))
        context.all_reduce("MEAN", np.float32(replica_id() + 1), weight=replica_id())
        context.all_reduce("ANY", np.array(replica_id() == 0))
    context.join()
    assert 3 == len(context.all_gather(np.ones(replica_id()), axis=0))


def wrong(file: Path) -> dict[str, str]:
    """Return the reasons of the verdicts that are not VALID."""
    verdicts = examined(file).verdicts
    return {one.checker: one.reason for one in verdicts if one.outcome is not Outcome.VALID}


@pytest.mark.parametrize("seed", [None, 3])
def test_reductions_with_zeros_are_valid(tmp_path: Path, seed: int | None) -> None:
    assert {} == wrong(recorded(tmp_path, uneven, seed))


def test_a_mean_of_the_others_instead_of_all_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(combining, "with_zeros", lambda _, values, weights, __: (values, weights))
    found = wrong(recorded(tmp_path, uneven))

    assert {"collectives": "the result of all_reduce on replica 1 is wrong"} == found


def test_an_op_for_which_zero_is_no_value_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(context: Any) -> None:
        if replica_id():
            assert 0 <= context.all_reduce("MIN", np.float32(replica_id()))
        context.join()

    monkeypatch.setattr(combining, "accepts_joined", lambda _: True)
    found = wrong(recorded(tmp_path, step))

    reason = "the values of a all_reduce cannot be combined, but it was answered"
    assert {"collectives": reason} == found


def meeting(context: Any) -> None:
    for _ in range(replica_id()):
        context.barrier()
    context.join()
    context.barrier()


def test_barriers_without_the_replicas_that_have_joined_are_valid(tmp_path: Path) -> None:
    assert {} == wrong(recorded(tmp_path, meeting))


def test_a_barrier_that_ends_without_a_replica_that_has_not_joined_is_found(
    tmp_path: Path,
) -> None:
    file = recorded(tmp_path, meeting)
    with closing(sqlite3.connect(file)) as connection:
        connection.execute(
            "UPDATE events SET operation = 'host_call', position = NULL "
            "WHERE operation = 'join' AND process = 0"
        )
        connection.commit()

    reason = "a barrier ends for replica 2 before all replicas have arrived"
    assert reason == wrong(file)["coordination"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            "UPDATE events SET position = 9 WHERE operation = 'join' AND process = 0",
            {"atomic": "a collective is answered before all replicas have arrived"},
        ),
        (
            "UPDATE events SET note = '0' WHERE operation = 'joined'",
            {
                "atomic": "a join ends at position 12 and names replica 0, where replica 2 took "
                "part in most collectives, up to position 12"
            },
        ),
        (
            "UPDATE events SET position = 13 WHERE operation = 'joined'",
            {
                "atomic": "a join ends at position 13 and names replica 2, where replica 2 took "
                "part in most collectives, up to position 12"
            },
        ),
        (
            "UPDATE events SET operation = 'host_call', position = NULL WHERE operation = 'join' "
            "AND process = 2",
            {"atomic": "a join ends before all replicas have joined"},
        ),
        (
            "UPDATE events SET position = 4 WHERE operation = 'join' AND process = 1",
            {"atomic": "replica 1 arrives at position 4 after 7"},
        ),
        (
            "UPDATE events SET operation = 'merge_call' WHERE operation = 'all_gather' "
            "AND process = 1; "
            "UPDATE events SET operation = 'merged' WHERE operation = 'reduced' AND position = 11",
            {"atomic": "a merge_call is answered although a replica has joined"},
        ),
    ],
)
def test_a_changed_record_of_joins_is_found(
    tmp_path: Path, change: str, expected: dict[str, str]
) -> None:
    file = recorded(tmp_path, uneven)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript(change)
        connection.commit()

    found = wrong(file)
    assert expected["atomic"] == found["atomic"]
