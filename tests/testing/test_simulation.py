"""The simulated cluster: a program reads the same values for every order of messages."""

from __future__ import annotations

import gc
import os
import random
import weakref
from collections import Counter

import pytest

import varsim as tf
from tests.effort import many
from tests.replica_context import replica_id
from tests.testing.programs import (
    PROGRAMS,
    create_without_warnings,
    exception,
    merge_calls,
    seen,
    three_replicas,
)
from varsim.errors import ProtocolError
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.outbox import Outbox
from varsim.sync.replica_state import ReplicaState
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedNetwork

SEEDS = many(100)
"""The number of event orders in which each program runs. Each run takes about 2 ms."""

ONLY = os.environ.get("VARSIM_TEST_SEED")
"""The only seed to run, or None; a test that fails prints its seed."""


@pytest.mark.thorough
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_every_seed_gives_the_values_of_the_plain_order(program, request):
    """The plain order is the order without a seed. `validate()` runs after every event."""
    with simulated_cluster():
        expected = program()

    for seed in range(SEEDS) if ONLY is None else [int(ONLY)]:
        try:
            with simulated_cluster(seed=seed):
                actual = program()
        except Exception as error:
            error.add_note(replay(seed, request))
            raise
        assert expected == actual, replay(seed, request)


def replay(seed, request):
    return (
        f"seed {seed}; replay it: VARSIM_TEST_SEED={seed} .venv/bin/pytest '{request.node.nodeid}'"
    )


# ---------------------------------------------------------------- the simulation itself


@pytest.fixture
def sent(monkeypatch):
    """Return the sent messages in order: (sender, *names), or ("to", receiver, *names)."""
    log = []
    from_worker, send = SimulatedNetwork.from_worker, SimulatedNetwork.send

    def logged_from_worker(self, replica_id, messages):
        log.append((replica_id, *(message.name for message in messages)))
        from_worker(self, replica_id, messages)

    def logged_send(self, replica_id, messages):
        log.append(("to", replica_id, *(message.name for message in messages)))
        send(self, replica_id, messages)

    monkeypatch.setattr(SimulatedNetwork, "from_worker", logged_from_worker)
    monkeypatch.setattr(SimulatedNetwork, "send", logged_send)
    return log


def order(sent, seed, program=merge_calls):
    sent.clear()
    with simulated_cluster(seed=seed):
        program()
    return tuple(sent)


def test_the_same_seed_gives_the_same_order_of_messages(sent):
    for seed in (None, 0, 1, 17):
        assert order(sent, seed) == order(sent, seed)


def test_the_order_does_not_depend_on_the_global_generator(sent):
    random.seed(1)
    first = order(sent, 5)
    random.seed(2)

    assert first == order(sent, 5)


def test_different_seeds_give_different_orders(sent):
    assert 40 < len({order(sent, seed) for seed in range(50)})


def test_the_plain_order_runs_replica_0_until_it_waits(sent):
    with simulated_cluster():
        strategy = three_replicas()
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
        sent.clear()
        strategy.run(lambda: w.assign_add(1.0).read_value())

    assert [0, 1, 2] == [entry[0] for entry in sent if "Waiting" in entry]
    assert (0, "Layout", "Contribution", "Waiting") in sent


def test_both_states_are_validated_after_every_event(monkeypatch):
    calls: Counter[str] = Counter()

    def counted(name, method):
        def call(*args):
            calls[name] += 1
            return method(*args)

        return call

    for kind in (CoordinatorState, ReplicaState):
        for name in ("validate", "handle"):
            both = f"{kind.__name__}.{name}"
            monkeypatch.setattr(kind, name, counted(both, getattr(kind, name)))
    with simulated_cluster():
        exception()

    assert calls["CoordinatorState.validate"] == calls["CoordinatorState.handle"] > 10
    assert calls["ReplicaState.validate"] > 10


def test_validation_finds_a_replica_that_counts_collectives_wrongly(monkeypatch):
    """The validation fails at the event that makes the state wrong, before a value is wrong."""
    leave = Outbox.leave
    monkeypatch.setattr(Outbox, "leave", lambda self, call, index: leave(self, call, index + 1))

    with simulated_cluster(seed=3), pytest.raises(ProtocolError, match="is at collective 1 inste"):
        PROGRAMS[0]()


def test_memory_of_a_cluster_that_has_ended_is_freed():
    def ended():
        with simulated_cluster():
            strategy = three_replicas()
            w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
            strategy.run(lambda: w.assign_add(1.0) and None)
        return weakref.ref(strategy), weakref.ref(strategy.coordinator)

    of_strategy, of_coordinator = ended()
    gc.collect()

    assert (None, None) == (of_strategy(), of_coordinator())


def test_two_clusters_are_independent():
    with simulated_cluster(seed=1):
        first, second = three_replicas(), three_replicas()
        v, w = (
            create_without_warnings(first, 0.0, "ON_WRITE", "SUM"),
            create_without_warnings(second, 0.0, "ON_WRITE", "SUM"),
        )
        first.run(lambda: v.assign_add(1.0) and None)
        second.run(lambda: w.assign_add(2.0) and None)
        first.run(lambda: v.assign_add(1.0) and None)

        assert (6.0, 6.0) == (float(v), float(w))


def test_a_strategy_cannot_be_used_after_the_block_of_its_cluster():
    with simulated_cluster() as simulated:
        strategy = three_replicas()
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
        strategy.run(lambda: w.assign_add(1.0) and None)

    assert 1 == len(simulated.networks)
    with pytest.raises(tf.VarsimError):
        strategy.run(w.read_value)


# ---------------------------------------------------------------- results in every order


def test_replicas_learn_of_a_failed_call_before_the_program(sent):
    """A message ends the call on the replicas at once, not at the program's next operation."""
    with simulated_cluster():
        strategy = three_replicas()
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")
        with pytest.raises(RuntimeError, match="will not arrive"):
            strategy.run(lambda: replica_id() == 0 and w.assign_add(1.0).read_value())

    assert 3 == len([entry for entry in sent if "Abort" in entry])


def test_a_failed_call_leaves_the_same_values_for_every_seed():
    """All replicas do the first write. The second write fails, because replica 1 skips it."""

    def program():
        strategy = three_replicas()
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")

        def step():
            w.assign_add(1.0)
            if replica_id() != 1:
                w.assign_add(10.0)

        with pytest.raises(RuntimeError):
            strategy.run(step)
        return seen(w)

    results = set()
    for seed in range(30):
        with simulated_cluster(seed=seed):
            results.add(program())
    assert 1 == len(results)


def test_a_merge_is_awaited_despite_writes_of_other_replicas():
    """Replica 1 must not read before its second write is merged."""
    with simulated_cluster():
        strategy = three_replicas()
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")

        def step():
            w.assign_add(1.0)
            if replica_id() == 0:
                w.values[1].assign(100.0)
            w.assign_add(10.0)
            return w.read_value()

        results = strategy.run(step)
        assert [33.0, 130.0, 33.0] == [float(value) for value in results.values]


def test_a_plain_variable_is_used_in_replica_order_between_collectives():
    """Replica 0 uses the plain variable after the collective; real processes do the same."""
    with simulated_cluster():
        strategy = three_replicas()
        plain = tf.Variable(1.0)
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")

        def step():
            if replica_id() == 0:
                w.assign_add(1.0)
                plain.assign(plain + 1.0)
            else:
                plain.assign(plain * 10.0)
                w.assign_add(1.0)

        strategy.run(step)
        assert 101.0 == float(plain)


@pytest.mark.parametrize("seed", [None, *range(10)])
def test_a_replica_with_a_host_call_still_reaches_earlier_collectives(seed):
    """Replica 0 writes and raises. The others write after the answer to their host call."""
    with simulated_cluster(seed=seed):
        strategy = three_replicas()
        plain = tf.Variable(1.0)
        w = create_without_warnings(strategy, 0.0, "ON_WRITE", "SUM")

        def step():
            if replica_id() > 0:
                plain.read_value()
            w.assign_add(1.0)
            if replica_id() == 0:
                raise KeyError

        with pytest.raises(KeyError):
            strategy.run(step)
        assert 3.0 == float(w)
