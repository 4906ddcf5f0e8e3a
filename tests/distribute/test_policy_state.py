"""What a policy keeps beside components is in exact checkpoints, and new workers get it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

import varsim as tf
from tests.distribute.test_incarnations import lose, lose_in_a_call, make
from tests.replica_context import replica_id
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.distribute.checkpoints import archive
from varsim.errors import CheckpointError
from varsim.spec import NamedArrays, Operation
from varsim.sync.policies.cells import Broadcast, Cell, Local
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import on_every_write, rows
from varsim.sync.policies.state import StateRule
from varsim.testing import simulated_cluster
from varsim.texts.incarnations import LostPolicyState
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

pytestmark = pytest.mark.filterwarnings("ignore:(The strategy goes on|variable )")

EVERY = 3
MEAN = tf.VariableAggregation.MEAN


def averaged(strategy: Any, policy: Any = None) -> Any:
    with strategy.scope():
        return tf.Variable(0.0, name="w", synchronization=policy or tf.LocalSGD(EVERY))


def write(strategy: Any, w: Any, times: int) -> None:
    for _ in range(times):
        strategy.run(lambda: w.assign_add(1.0 + replica_id()))


def components(w: Any) -> list[float]:
    return [float(one.numpy()) for one in w.values]


def undisturbed(times: int) -> list[float]:
    """Return the components of two replicas after some writes without any end."""
    strategy = make_two()
    w = averaged(strategy)
    write(strategy, w, times)
    return components(w)


def make_two(policy: str = "restart") -> Any:
    return tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], on_worker_lost=policy)


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("before", range(2 * EVERY))
@pytest.mark.parametrize("after", [1, EVERY])
def test_a_restored_local_sgd_variable_averages_at_the_same_writes(tmp_path, before, after):
    with simulated_cluster():
        first = make_two()
        w = averaged(first)
        write(first, w, before)
        path = first.save(tmp_path / "saved")

        second = make_two()
        again = averaged(second)
        write(second, again, 1)  # the restore also replaces this count
        second.restore(path)
        write(second, again, after)

        assert undisturbed(before + after) == components(again)


def test_a_checkpoint_of_an_object_has_the_count_of_writes_too(tmp_path):
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, 2)
        path = tf.train.Checkpoint(w=w).save(tmp_path / "ckpt", exact=True)
        write(strategy, w, 1)
        tf.train.Checkpoint(w=w).restore(path)
        write(strategy, w, 1)

        assert undisturbed(3) == components(w)


def test_a_variable_with_another_period_begins_to_count_at_its_restore(tmp_path):
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, 2)
        path = tf.train.Checkpoint(w=w).save(tmp_path / "ckpt", exact=True)
        other = averaged(strategy, tf.LocalSGD(2))
        write(strategy, other, 1)
        tf.train.Checkpoint(w=other).restore(path)  # the mean of 2 and 4
        write(strategy, other, 1)

        assert [4.0, 5.0] == components(other)


def test_a_checkpoint_with_an_impossible_count_is_refused(tmp_path):
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, 2)
        path = strategy.save(tmp_path / "saved")
        found = archive.read(path)
        arrays = {
            name: np.array(7) if "POLICY_STATE" in name else array
            for name, array in found.arrays.items()
        }
        assert arrays.keys() == found.arrays.keys()
        archive.write(path, archive.Archive(found.document, arrays))

        with pytest.raises(CheckpointError, match="7 is not a number of writes below 3"):
            strategy.restore(path)
        assert [2.0, 4.0] == components(w)


@pytest.mark.parametrize(
    ("states", "reason"),
    [
        ([[["writes", "int64"]]], "2 replicas, and 1 states"),
        ([[["writes"]]] * 2, "no name and dtype"),
        ([[["writes", "int64"], ["writes", "int64"]]] * 2, "not in order"),
        ([[["missing", "int64"]]] * 2, "is missing"),
        ([[["writes", "float32"]]] * 2, "float32"),
    ],
)
def test_a_checkpoint_that_describes_states_wrongly_is_refused(tmp_path, states, reason):
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, 2)
        path = strategy.save(tmp_path / "saved")
        found = archive.read(path)
        document = json.loads(json.dumps(dict(found.document)))
        document["variables"][0]["states"] = states
        archive.write(path, archive.Archive(document, found.arrays))

        with pytest.raises(CheckpointError, match=reason):
            strategy.restore(path)


# ---------------------------------------------------------------- new workers


@pytest.mark.parametrize("before", range(EVERY + 1))
def test_a_restarted_strategy_averages_at_the_same_writes(before):
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, before)
        strategy.restart()
        write(strategy, w, EVERY)

        assert undisturbed(before + EVERY) == components(w)


def test_a_restart_keeps_the_different_numbers_of_writes_of_all_replicas():
    """Only a new replica needs the number of the others."""
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        strategy.run(lambda: [w.assign_add(1.0) for _ in range(1 + replica_id())] and None)
        strategy.restart()
        strategy.run(lambda: [w.assign_add(1.0) for _ in range(2 - replica_id())] and None)

        assert [3.0, 3.0] == components(w)
        states = [dict(one) for one in strategy.cross.states(w)]
        assert [{}, {}] == states


def test_a_new_replica_counts_on_from_the_writes_of_the_others():
    """Otherwise the replicas would disagree about the next exchange."""
    with simulated_cluster() as simulated:
        strategy = make("restart")
        w = averaged(strategy)
        write(strategy, w, EVERY - 1)
        lose(simulated)
        strategy.restart()
        write(strategy, w, 1)

        assert 1 == len(set(components(w)))


def test_the_replicas_that_are_left_go_on_counting():
    with simulated_cluster() as simulated:
        strategy = make("shrink")
        w = averaged(strategy)
        write(strategy, w, 1)
        lose_in_a_call(simulated, strategy)  # the failure of the call ends the count
        write(strategy, w, EVERY - 1)
        assert 2 == len(set(components(w)))
        write(strategy, w, 1)
        assert 1 == len(set(components(w)))


def test_the_history_of_a_restart_between_two_averages_is_valid(tmp_path):
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(tmp_path))
        w = averaged(strategy)
        write(strategy, w, 2)
        strategy.restart()
        write(strategy, w, 4)
        strategy.close()
    folder = tmp_path / "incarnation-2"
    merge(folder, folder)

    with open_history(folder) as history:
        states = [event.note for event in history.events("kind = 'state'")]
        verdicts = {one.checker: one.outcome for one in judge(history)}
    assert ['{"writes": 2}'] * 2 == states
    assert {Outcome.VALID} == set(verdicts.values())


def test_a_copy_of_a_variable_averages_at_the_same_writes():
    with simulated_cluster():
        strategy = make_two()
        w = averaged(strategy)
        write(strategy, w, 2)
        copy = strategy.duplicate(w)
        write(strategy, copy, 1)

        assert undisturbed(3) == components(copy)


# ---------------------------------------------------------------- a policy of the program


class Largest(StateRule):
    """The largest operand so far."""

    def check(self, spec, state):
        if [name for name, _ in state] not in ([], ["largest"]):
            raise ValueError("it is not the largest operand")

    def after_failure(self, state, version):
        return ()


@dataclass(frozen=True, slots=True)
class AddLargest(Cell):
    """Add the largest operand so far."""

    writes_itself: ClassVar[bool] = True

    def write(self, replica, variable, operation, operand, location):
        largest = np.maximum(variable.policy_state.get("largest", operand), operand)
        variable.policy_state["largest"] = largest
        replica.write_locally(variable, operation, largest)
        return ()


@dataclass(frozen=True)
class AddsLargest(CustomPolicy):
    keyword: ClassVar[str] = "adds_largest"
    rule: ClassVar[StateRule] = StateRule()

    @property
    def state(self) -> StateRule:
        return self.rule

    @property
    def rows(self):
        return rows(
            replica={Operation.READ: Local(), **on_every_write(AddLargest())},
            cross_replica={Operation.READ: Gather(), **on_every_write(Broadcast())},
        )


@dataclass(frozen=True)
class AddsLargestUntilFailure(AddsLargest):
    keyword: ClassVar[str] = "adds_largest_until_failure"
    rule: ClassVar[StateRule] = Largest()


def largest(strategy: Any, policy: Any) -> Any:
    with strategy.scope():
        return tf.Variable(np.zeros(2), name="v", synchronization=policy, aggregation=MEAN)


def add(strategy: Any, v: Any, *operands: Sequence[float]) -> None:
    for operand in operands:
        strategy.run(lambda operand=operand: v.assign_add(np.array(operand) * (1 + replica_id())))


def test_arrays_of_a_programs_policy_are_in_a_checkpoint_and_in_new_workers(tmp_path):
    with simulated_cluster():
        strategy = make_two()
        v = largest(strategy, AddsLargest())
        add(strategy, v, [3.0, 1.0])
        path = strategy.save(tmp_path / "saved")
        strategy.restart()
        add(strategy, v, [1.0, 2.0])
        assert [[6.0, 3.0], [12.0, 6.0]] == [one.numpy().tolist() for one in v.values]

        add(strategy, v, [9.0, 9.0])
        strategy.restore(path)
        add(strategy, v, [1.0, 2.0])
        assert [[6.0, 3.0], [12.0, 6.0]] == [one.numpy().tolist() for one in v.values]


def test_arrays_that_end_with_a_worker_are_reported_and_begin_empty():
    with simulated_cluster() as simulated:
        strategy = make("restart")
        v = largest(strategy, AddsLargest())
        add(strategy, v, [3.0, 1.0])
        lose(simulated)
        lost = strategy.restart().lost

        assert LostPolicyState("v", "adds_largest", (1,)) in lost
        states = [dict(one) for one in strategy.cross.states(v)]
        assert [["largest"], [], ["largest"]] == [list(one) for one in states]


def test_a_policy_decides_what_a_failed_call_leaves():
    def fail() -> None:
        raise ZeroDivisionError

    with simulated_cluster():
        strategy = make_two()
        stays, ends = largest(strategy, AddsLargest()), largest(strategy, AddsLargestUntilFailure())
        add(strategy, stays, [3.0, 1.0])
        add(strategy, ends, [3.0, 1.0])
        with pytest.raises(ZeroDivisionError):
            strategy.run(fail)

        def names(v: Any) -> list[list[str]]:
            states: tuple[NamedArrays, ...] = strategy.cross.states(v)
            return [[name for name, _ in state] for state in states]

        assert [["largest"]] * 2 == names(stays)
        assert [[]] * 2 == names(ends)
