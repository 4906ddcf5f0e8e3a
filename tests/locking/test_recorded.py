"""Histories of lock programs keep their promises, and a broken lock is found in them."""

from __future__ import annotations

import random
import warnings
from pathlib import Path

import pytest

import varsim as tf
from tests.effort import many
from tests.locking.programs import run, variables
from tests.locking.test_lock_programs import programs_of
from varsim.analysis.examination import examine
from varsim.analysis.findings.conflicts import WRITE_WRITE
from varsim.analysis.verdict import Outcome, judge
from varsim.errors import DeadlockError
from varsim.sync import locks, rendezvous
from varsim.testing.simulation import simulated_cluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions


def verdicts(programs: tuple[str, ...], seed: int, folder: Path) -> dict[str, tuple[Outcome, str]]:
    """Run programs, and return the verdicts on their history that are not VALID."""
    devices = [f"cpu:{i}" for i in range(len(programs))]
    with simulated_cluster(seed):
        strategy = tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder))
        with strategy.scope():
            own = variables()
        strategy.run(run, args=(programs, own))
        strategy.close()
    merge(folder, folder)
    with open_history(folder) as history:
        found = judge(history)
    return {v.checker: (v.outcome, v.reason) for v in found if v.outcome is not Outcome.VALID}


def check_histories(first: int, count: int, folder: Path) -> None:
    for seed in range(first, first + count):
        chance = random.Random(seed)
        programs = programs_of(chance, chance.randint(2, 4))
        assert {} == verdicts(programs, seed, folder / str(seed)), f"seed {seed}: {programs}"


def test_the_history_of_lock_programs_is_valid(tmp_path: Path) -> None:
    check_histories(0, 5, tmp_path)


@pytest.mark.thorough
def test_the_histories_of_many_lock_programs_are_valid(tmp_path: Path) -> None:
    check_histories(5, many(45), tmp_path)


def found_by_the_judge(programs: tuple[str, ...], folder: Path) -> list[str]:
    """Return what the coordination checker says about the programs under several seeds."""
    said = []
    for seed in range(8):
        found = verdicts(programs, seed, folder / str(seed)).get("coordination")
        if found is not None:
            assert Outcome.INVALID is found[0]
            said.append(found[1])
    return said


def test_a_lock_that_does_not_exclude_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The programs take a second lock in the section, so that the sections overlap."""
    monkeypatch.setattr(locks._Lock, "admits", lambda *_: True)
    monkeypatch.setattr(locks.Locks, "validate", lambda _: None)
    own = tuple(f"lock a, lock b{i}, unlock b{i}, unlock a" for i in range(3))
    assert any("gets lock 'a' while" in one for one in found_by_the_judge(own, tmp_path))


def test_a_barrier_that_ends_early_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous.Barriers, "arrive", lambda self, name, replica_id: [replica_id])
    said = found_by_the_judge(("barrier", "barrier", "barrier"), tmp_path)
    assert any("before all replicas have arrived" in one for one in said)


def test_the_history_of_a_deadlock_is_valid(tmp_path: Path) -> None:
    with pytest.raises(DeadlockError):
        verdicts(("lock a, barrier, lock b", "lock b, barrier, lock a"), 1, tmp_path)
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        assert {"coordination": Outcome.VALID} == {
            one.checker: one.outcome for one in judge(history) if one.checker == "coordination"
        }


@pytest.mark.parametrize(
    ("programs", "conflict"),
    [
        (("write p, barrier", "barrier, write p"), False),
        (("write p, send 1", "recv 0, write p"), False),
        (("lock a, write p, unlock a, send 1", "recv 0, lock a, write p, unlock a"), False),
        (("lock a, write p, unlock a", "lock a, write p, unlock a"), False),
        (("lock a, write p, unlock a", "lock b, write p, unlock b"), True),
        (("barrier, write p", "barrier, write p"), True),
        (("send 1, write p", "recv 0, write p"), True),
    ],
)
def test_locks_barriers_and_sends_order_writes(
    programs: tuple[str, ...], conflict: bool, tmp_path: Path
) -> None:
    """Each replica writes its id to a mirrored variable that no aggregation combines."""
    with simulated_cluster(), warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        strategy = tf.distribute.MirroredStrategy(["a", "b"], trace=TraceOptions(tmp_path))
        with strategy.scope():
            own = variables()
        strategy.run(run, args=(programs, own))
        strategy.close()
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        kinds = {finding.kind for finding in examine(history).findings}
    assert conflict == (WRITE_WRITE in kinds)
