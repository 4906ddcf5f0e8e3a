"""A strategy goes on after lost workers: what its variables hold, and what its errors say."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.lost_workers import OnWorkerLost
from varsim.errors import (
    ContextError,
    DistributedValueError,
    InjectedFault,
    ReplicaIndexError,
    StartError,
    WorkerLost,
)
from varsim.launch.link import Lost
from varsim.texts.incarnations import Instead, LostComponents, LostWrites, NoRecovery
from varsim.texts.losses import AllNeeded, LostWorker

S, A = tf.VariableSynchronization, tf.VariableAggregation

REPLICAS = 3
LOST = 1
"""The replica whose worker is lost."""

pytestmark = pytest.mark.filterwarnings("ignore:(The strategy goes on|variable )")


def make(policy="restart", **options):
    devices = [f"cpu:{i}" for i in range(REPLICAS)]
    return tf.distribute.MirroredStrategy(devices, on_worker_lost=policy, **options)


def variable(strategy, value, name, synchronization="ON_WRITE", aggregation="SUM"):
    with strategy.scope():
        return tf.Variable(
            value, name=name, synchronization=S[synchronization], aggregation=A[aggregation]
        )


def lose(simulated, replica_id=LOST):
    """End a simulated worker; the next operation that waits for messages notices it."""
    network = simulated.networks[-1]
    network.end(replica_id, "")
    network.from_worker(replica_id, [Lost("was killed by SIGKILL", "", "")])


def lose_in_a_call(simulated, strategy, replica_id=LOST):
    lose(simulated, replica_id)
    with pytest.raises(WorkerLost) as caught:
        strategy.run(lambda: None)
    return caught.value


def with_deferred_writes(policy):
    """Return a strategy, and its variable with two writes that were not exchanged."""
    strategy = make(policy, auto="adaptive")
    v = variable(strategy, 0.0, "v", "AUTO")
    strategy.run(lambda: v.assign_add(1.0))
    assert 3.0 == v.numpy()
    for _ in range(2):
        strategy.run(lambda: v.assign_add(1.0))
    return strategy, v


def parts(v):
    return [one.numpy().tolist() for one in v.values]


# ---------------------------------------------------------------- values


def test_a_restart_keeps_every_value_that_is_not_lost(simulated):
    strategy = make()
    w = variable(strategy, 0.0, "w")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    mean = variable(strategy, 5.0, "mean", "ON_READ", "MEAN")
    first = variable(strategy, 0, "first", "ON_READ", "ONLY_FIRST_REPLICA")
    own = variable(strategy, -1, "own", "NONE", "NONE")

    def step():
        w.assign_add(1.0)
        total.assign_add(10 + replica_id())
        mean.assign(float(replica_id()))
        first.assign(20 + replica_id())
        own.assign(replica_id())

    strategy.run(step)
    error = lose_in_a_call(simulated, strategy)

    assert (3.0, [10, 0, 12], 22) == (w.numpy(), parts(total), total.numpy())
    assert ([0.0, 1.0, 2.0], 1.0) == (parts(mean), mean.numpy())
    assert [20, 20, 22] == parts(first)
    assert [0, -1, 2] == parts(own)
    strategy.run(step)
    assert (6.0, [20, 11, 24]) == (w.numpy(), parts(total))
    assert {
        "total": Instead.ZERO,
        "mean": Instead.MEAN,
        "first": Instead.COPY,
        "own": Instead.INITIAL,
    } == {one.variable: one.instead for one in error.recovery.lost}
    assert all((LOST,) == one.replica_ids for one in error.recovery.lost)


def test_a_shrunk_strategy_renumbers_the_other_replicas(simulated):
    strategy = make("shrink")
    w = variable(strategy, 0.0, "w")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    batches = strategy.experimental_distribute_dataset([np.zeros(6)] * 2)
    passed = iter(batches)
    assert REPLICAS == len(next(passed).values)

    def step():
        w.assign_add(1.0)
        total.assign_add(10 + replica_id())

    strategy.run(step)
    component = w.values[2]
    error = lose_in_a_call(simulated, strategy)

    assert (2, ("cpu:0", "cpu:2")) == (strategy.num_replicas_in_sync, strategy.devices)
    assert (3.0, [10, 12]) == (w.numpy(), parts(total))
    strategy.run(step)
    assert (5.0, [20, 23]) == (w.numpy(), parts(total))
    assert (LOST,) == error.recovery.removed
    assert [Instead.NO_SHARE] == [one.instead for one in error.recovery.lost]
    assert "with 2 replicas, numbered from 0, because replica 1 is gone" in str(error)
    assert [3, 3] == [len(part) for part in next(passed).values]
    for use in (component.numpy, lambda: component.assign(0.0)):
        with pytest.raises(ReplicaIndexError, match="component 2 is gone"):
            use()


def test_a_lost_component_comes_from_the_last_checkpoint(simulated, tmp_path):
    strategy = make()
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    strategy.save(tmp_path / "saved")
    strategy.run(lambda: total.assign_add(100))
    error = lose_in_a_call(simulated, strategy)

    assert [101, 2, 103] == parts(total)
    (lost,) = error.recovery.lost
    assert (Instead.CHECKPOINT, "call 1") == (lost.instead, lost.since)
    assert f"comes from checkpoint {tmp_path / 'saved'}" in str(lost)
    assert "which was saved after call 1, and is older than the other components" in str(lost)


@pytest.mark.parametrize("damage", ["deleted", "changed"])
def test_a_deleted_or_changed_checkpoint_is_not_used(simulated, tmp_path, damage):
    strategy = make()
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    strategy.save(tmp_path / "saved")
    (file,) = tmp_path.iterdir()
    if damage == "deleted":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    error = lose_in_a_call(simulated, strategy)

    assert [1, 0, 3] == parts(total)
    (lost,) = error.recovery.lost
    assert Instead.ZERO == lost.instead
    assert str(tmp_path / "saved") in lost.unusable
    assert f"; the last checkpoint could not be used ({lost.unusable})\n" in str(error)


def test_a_write_of_the_program_replaces_the_checkpoint(simulated, tmp_path):
    """Otherwise a metric that was reset would count the lost replica's old share again."""
    strategy = make()
    total = variable(strategy, 0.0, "total", "ON_READ", "SUM")
    own = variable(strategy, 0.0, "own", "NONE", "NONE")

    def step():
        total.assign_add(1.0)
        own.assign_add(replica_id() + 1.0)

    strategy.run(step)
    strategy.save(tmp_path / "first")
    strategy.run(step)
    strategy.save(tmp_path / "second")
    total.assign(0.0)
    strategy.restore(tmp_path / "first")
    total.assign(0.0)
    error = lose_in_a_call(simulated, strategy)

    assert {Instead.WRITTEN} == {one.instead for one in error.recovery.lost}
    assert [0.0, 0.0, 0.0] == parts(total)
    assert [1.0, 2.0, 3.0] == parts(own)


def test_after_a_shrink_a_checkpoint_has_the_survivors_components(simulated, tmp_path):
    strategy = make("shrink")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    strategy.save(tmp_path / "saved")
    lose_in_a_call(simulated, strategy, 0)
    assert [2, 3] == parts(total)
    strategy.run(lambda: total.assign_add(10))
    lose_in_a_call(simulated, strategy, 0)
    assert ["cpu:2"] == [*strategy.devices]
    assert [13] == parts(total)


def test_a_mirrored_variable_without_aggregation_gets_a_copy(simulated, tmp_path):
    """Its components should be equal, so no component comes from an older checkpoint."""
    strategy = make()
    w = variable(strategy, 0.0, "w", "ON_WRITE", "NONE")
    strategy.save(tmp_path / "saved")
    strategy.run(lambda: w.assign_add(1.0))
    error = lose_in_a_call(simulated, strategy)

    assert [1.0, 1.0, 1.0] == parts(w)
    assert [(Instead.COPY, "replica 0")] == [
        (one.instead, one.source) for one in error.recovery.lost
    ]


@pytest.mark.parametrize("is_saved", [True, False])
def test_the_last_write_of_the_program_is_used_if_no_copy_is_left(simulated, tmp_path, is_saved):
    strategy = make("fail")
    w = variable(strategy, 1.0, "w", "ON_WRITE", "NONE")
    if is_saved:
        strategy.save(tmp_path / "older")
    w.assign(5.0)
    strategy.run(lambda: w.assign_add(1.0))
    strategy.coordinator.in_use.torn = True
    (lost,) = strategy.restart().lost

    assert ((0, 1, 2), Instead.WRITTEN) == (lost.replica_ids, lost.instead)
    assert [5.0, 5.0, 5.0] == parts(w)


def test_a_shrink_names_a_component_that_was_known(simulated):
    """The program has read the component, but the next sum lacks it all the same."""
    strategy = make("shrink")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    own = variable(strategy, 0, "own", "NONE", "NONE")
    alike = variable(strategy, 7, "alike", "NONE", "NONE")
    unread = variable(strategy, 0.0, "unread", "ON_READ", "MEAN")

    def step():
        total.assign_add(10 + replica_id())
        own.assign(replica_id())
        unread.assign(1)

    strategy.run(step)
    assert (33, [0, 1, 2], [7, 7, 7]) == (total.numpy(), parts(own), parts(alike))
    lose(simulated)
    with pytest.raises(WorkerLost) as caught:
        unread.numpy()

    assert 22 == total.numpy()
    assert [("total", Instead.NO_SHARE), ("own", Instead.NOTHING), ("unread", Instead.NOTHING)] == [
        (one.variable, one.instead) for one in caught.value.recovery.lost
    ]


def test_deferred_writes_that_were_not_exchanged_are_reported(simulated):
    strategy, v = with_deferred_writes("restart")
    error = lose_in_a_call(simulated, strategy)
    assert (LostWrites("v", 2),) == error.recovery.lost
    assert 3.0 == v.numpy()


def test_a_restart_of_a_broken_strategy_reports_deferred_writes(simulated):
    strategy, v = with_deferred_writes("fail")
    strategy.coordinator.in_use.torn = True
    assert (LostWrites("v", 2),) == strategy.restart().lost
    assert 3.0 == v.numpy()


def test_variables_that_the_program_has_dropped_do_not_come_back(simulated):
    strategy = make()
    kept = variable(strategy, 1.0, "kept")
    dropped = variable(strategy, 2.0, "dropped")
    lose_in_a_call(simulated, strategy)
    del dropped
    gc.collect()
    assert 1.0 == kept.numpy()
    assert ["kept"] == [one.name for one in strategy.statistics()]


# ---------------------------------------------------------------- errors and limits


def test_error_and_warning_say_how_the_strategy_goes_on(simulated):
    strategy = make()
    variable(strategy, 0, "total", "ON_READ", "SUM")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        error = lose_in_a_call(simulated, strategy)
    assert (
        "  The strategy goes on as incarnation 2 with 3 replicas; its next use starts new workers."
        "\n  The call is not repeated."
    ) in str(error)
    assert "strategy.restart()" not in str(error)
    (warning,) = caught
    assert str(error).endswith(str(warning.message))


def test_max_restarts_limits_the_restarts_by_the_policy(simulated):
    strategy = make(max_restarts=2)
    w = variable(strategy, 7.0, "w")
    for restarts in (1, 2):
        assert lose_in_a_call(simulated, strategy).recovery is not None
        assert (restarts, 7.0) == (strategy.incarnations.restarts, w.numpy())
    error = lose_in_a_call(simulated, strategy)
    assert NoRecovery(2, 2, REPLICAS) == error.aftermath
    assert "restarted 2 times, which is its limit (max_restarts=2)" in str(error)
    with pytest.raises(WorkerLost):
        strategy.run(lambda: None)
    assert 4 == strategy.restart().incarnation
    assert 7.0 == w.numpy()


def test_a_strategy_does_not_shrink_to_nothing(simulated):
    strategy = tf.distribute.MirroredStrategy(["cpu:0"], on_worker_lost="shrink")
    strategy.start()
    error = lose_in_a_call(simulated, strategy, 0)
    assert NoRecovery(0, 3, 0) == error.aftermath
    assert "No replica is left" in str(error)


def test_with_the_policy_fail_new_workers_need_a_restart(simulated):
    strategy = make("fail")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1))
    error = lose_in_a_call(simulated, strategy)
    assert (None, 1) == (error.aftermath, strategy.incarnations.number)
    assert "strategy.restart() starts new workers" in str(error)

    recovery = strategy.restart()
    assert (LostComponents("total", "ON_READ, SUM", (LOST,), Instead.ZERO, since="the start"),) == (
        recovery.lost
    )
    assert (
        "  The strategy goes on as incarnation 2 with 3 replicas; new workers have started. "
        "The warning lists the lost values."
    ) == repr(recovery)
    assert "  - variable 'total'" in str(recovery)
    assert 2 == total.numpy()


def test_a_restart_of_a_whole_cluster_loses_nothing(simulated):
    strategy = make("fail", auto="adaptive")
    with strategy.scope():
        deferred = tf.Variable(0.0, name="deferred", aggregation=A.SUM)
    total = variable(strategy, 0, "total", "ON_READ", "SUM")

    def step():
        deferred.assign_add(1.0)
        total.assign_add(replica_id())

    strategy.run(step)
    recovery = strategy.restart()
    assert () == recovery.lost
    assert str(recovery) == repr(recovery)
    assert (3.0, [0, 1, 2]) == (deferred.numpy(), parts(total))


def test_a_restart_of_a_broken_strategy_keeps_known_values(simulated):
    strategy = make("fail")
    w = variable(strategy, 0.0, "w")
    total = variable(strategy, 5, "total", "ON_READ", "SUM")

    def step():
        w.assign_add(1.0)
        total.assign_add(1)

    strategy.run(step)
    strategy.coordinator.in_use.torn = True
    with pytest.raises(ContextError, match=r"is broken: .* strategy.restart\(\) starts new"):
        strategy.run(lambda: None)
    (lost,) = strategy.restart().lost
    assert ((0, 1, 2), Instead.ZERO) == (lost.replica_ids, lost.instead)
    assert (3.0, 0) == (w.numpy(), total.numpy())
    strategy.run(lambda: None)


def test_a_restart_before_the_first_start_starts_the_workers(simulated):
    strategy = make("fail")
    assert (1, ()) == (strategy.restart().incarnation, strategy.restart().lost)


def test_a_variable_with_a_lost_component_has_a_repr(simulated):
    """Debuggers and test runners call `repr` at any time, also after an error."""
    strategy = make("fail")
    total = variable(strategy, 0.0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1.0))
    lose(simulated)

    for _ in range(2):  # the first read notices the loss
        lines = repr(total).splitlines()
        assert f"  {LOST}: <lost with its worker>," == lines[1 + LOST]
        assert "numpy=1.0" in lines[1]
    strategy.close()


def test_a_closed_strategy_is_not_restarted(simulated):
    strategy = make()
    w = variable(strategy, 1.0, "w")
    lose_in_a_call(simulated, strategy)
    strategy.close()
    for use in (strategy.restart, w.numpy, lambda: strategy.run(lambda: None)):
        with pytest.raises(ContextError, match="was closed, and has no workers"):
            use()


@pytest.mark.parametrize("policy", ["restart", "shrink", "fail"])
def test_only_the_outermost_call_ends_the_incarnation(simulated, policy):
    strategy = make(policy)
    w = variable(strategy, 0.0, "w")
    seen = []

    def merged(_):
        lose(simulated)
        with pytest.raises(WorkerLost) as inner:
            strategy.run(lambda: None)
        with pytest.raises(ContextError, match=r"inside a call of strategy\.run"):
            strategy.restart()
        seen.append((str(inner.value), strategy.incarnations.is_over))

    def step():
        w.assign_add(1.0)
        tf.distribute.get_replica_context().merge_call(merged)

    with pytest.raises(WorkerLost) as outer:
        strategy.run(step)
    ((said, is_over),) = seen
    assert not is_over
    assert "  can still be read: w\n" in said
    goes_on = f"strategy goes on with new workers (on_worker_lost={policy!r})."
    ends = "cannot run or write any more: strategy.restart() starts new workers"
    assert said.endswith(ends if policy == "fail" else goes_on)
    assert (policy != "fail") == (ends not in said)
    if policy != "fail":
        assert outer.value.recovery.in_call
        assert 3.0 == w.numpy()


def test_a_loss_in_a_nested_call_after_the_last_restart_ends_the_strategy(simulated):
    strategy = make(max_restarts=0)
    seen = []

    def merged(_):
        lose(simulated)
        with pytest.raises(WorkerLost) as inner:
            strategy.run(lambda: None)
        seen.append(inner.value.aftermath)

    with pytest.raises(WorkerLost):
        strategy.run(lambda: tf.distribute.get_replica_context().merge_call(merged))
    assert [NoRecovery(0, 0, REPLICAS)] == seen


def test_a_shrink_removes_a_replica_that_was_lost_after_the_call_failed(simulated):
    strategy = make("shrink")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")

    def merged(_):
        for lost in (1, 2):
            lose(simulated, lost)
            with pytest.raises(WorkerLost):
                total.values[lost].numpy()

    def step():
        total.assign_add(1)
        tf.distribute.get_replica_context().merge_call(merged)

    with pytest.raises(WorkerLost) as caught:
        strategy.run(step)
    assert (1, 2) == caught.value.recovery.removed
    assert ("cpu:0",) == strategy.devices
    assert [1] == parts(total)


def test_a_loss_that_a_read_notices_ends_the_incarnation_too(simulated):
    strategy = make()
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    w = variable(strategy, 0.0, "w")
    strategy.run(lambda: total.assign_add(1))
    lose(simulated)
    w.assign(2.0)  # nothing waits for an answer, so the loss is not noticed yet
    with pytest.raises(WorkerLost) as caught:
        total.numpy()
    assert (2, False) == (caught.value.recovery.incarnation, caught.value.recovery.in_call)
    assert "not repeated" not in str(caught.value)
    assert (2.0, 2) == (w.numpy(), total.numpy())


def test_a_second_loss_during_a_recovery_loses_one_more_component(simulated):
    strategy = make()
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    coordinator = strategy.coordinator
    look = coordinator.look

    def look_and_lose(event):
        coordinator.look = look
        lose(simulated, 2)
        return look(event)

    coordinator.look = look_and_lose
    error = lose_in_a_call(simulated, strategy)
    assert [(1, 2)] == [one.replica_ids for one in error.recovery.lost]
    assert [1, 0, 0] == parts(total)


# ---------------------------------------------------------------- the start of an incarnation


def test_a_worker_lost_during_the_restart_costs_another_restart(simulated, monkeypatch):
    strategy = make()
    w = variable(strategy, 1.0, "w")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    lose_in_a_call(simulated, strategy)

    def lost(*_):  # between the creation of two variables
        raise WorkerLost(AllNeeded((LostWorker(LOST, "was killed by SIGKILL"),)))

    with monkeypatch.context() as patched:
        patched.setattr("varsim.shells.coordinator.Coordinator.write", lost)
        with pytest.raises(WorkerLost) as caught:
            strategy.start()
    assert (3, 2) == (caught.value.recovery.incarnation, strategy.incarnations.restarts)
    assert () == caught.value.recovery.lost  # the previous error has named the lost component
    assert (1.0, [1, 0, 3]) == (w.numpy(), parts(total))


def test_a_start_that_fails_is_tried_again_with_growing_delays(simulated, monkeypatch):
    strategy = make()
    w = variable(strategy, 1.0, "w")
    lose_in_a_call(simulated, strategy)
    delays = []

    def fail(options, _):
        delays.append(options.delay_s)
        raise StartError("no more processes")

    with monkeypatch.context() as patched:
        patched.setattr(simulated, "launch", fail)
        with pytest.raises(StartError):
            strategy.start()
    assert [0.1, 0.2, 0.4] == delays
    assert 1.0 == w.numpy()


def test_an_interrupt_of_the_restart_loses_no_value(simulated, monkeypatch):
    strategy = make()
    w = variable(strategy, 1.0, "w")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1 + replica_id()))
    lose_in_a_call(simulated, strategy)

    def interrupt(*_):
        raise KeyboardInterrupt

    for interrupted in (
        "varsim.testing.simulation.SimulatedCluster.launch",
        "varsim.shells.coordinator.Coordinator.write",  # the second variable is not created
    ):
        with monkeypatch.context() as patched:
            patched.setattr(interrupted, interrupt)
            with pytest.raises(KeyboardInterrupt):
                strategy.start()
        assert strategy.incarnations.is_over
    assert (1.0, [1, 0, 3]) == (w.numpy(), parts(total))


@pytest.mark.parametrize("error", [StartError("no more processes"), KeyboardInterrupt()])
def test_a_restart_whose_start_fails_warns_of_lost_values(simulated, monkeypatch, error):
    """The next use starts the workers with the same values, and reports nothing more."""
    strategy = make("fail")
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    strategy.run(lambda: total.assign_add(1))
    lose_in_a_call(simulated, strategy)

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(simulated, "launch", fail)
        with (
            pytest.warns(tf.VarsimWarning, match="'total' .* its component starts from zero"),
            pytest.raises(type(error)),
        ):
            strategy.restart()
    assert [1, 0, 1] == parts(total)


def test_new_workers_draw_new_random_numbers(simulated):
    strategy = make("fail", seed=1)
    drawn = []
    for _ in range(2):
        drawn += [float(one) for one in strategy.run(np.random.random).values]
        strategy.restart()
    assert len(drawn) == len(set(drawn))


# ---------------------------------------------------------------- faults and settings


def test_faults_and_calls_are_counted_over_all_incarnations(simulated):
    faults = ["raise replica=2 call=4", "raise replica=2 call=3"]
    strategy = make("shrink", faults=faults)
    strategy.run(lambda: None)
    lose_in_a_call(simulated, strategy)  # call 2
    for _ in range(2):
        strategy.run(lambda: None)
    assert 4 == strategy.incarnations.calls
    assert [
        f"fault {one!r} did not happen: the run has gone on without replica 2" for one in faults
    ] == strategy.faults.missed()


def test_errors_count_calls_over_all_incarnations(simulated):
    """The call of the error, and the call since which values are lost, have one count."""
    strategy = make()
    total = variable(strategy, 0, "total", "ON_READ", "SUM")
    lose_in_a_call(simulated, strategy)
    total.assign(3)
    error = lose_in_a_call(simulated, strategy)

    assert "replica 1 sent no message in call 2 of strategy.run, <lambda>" in str(error)
    assert "the writes of replica 1 since call 1 are lost" in str(error)


def test_a_call_of_varsim_itself_is_not_a_call_of_the_program(simulated):
    strategy = make(faults=["raise replica=1 call=2"])
    strategy.run(lambda: None)
    assert (0, 1, 2) == strategy.run_own(replica_id).values
    assert 1 == strategy.incarnations.calls
    with pytest.raises(InjectedFault):
        strategy.run(lambda: None)
    lose(simulated)
    with pytest.raises(WorkerLost, match=r"no message in varsim's own call of <lambda>"):
        strategy.run_own(lambda: None)


@pytest.mark.parametrize(
    "options",
    [
        {"on_worker_lost": "again"},
        {"max_restarts": -1},
        {"max_restarts": "many"},
        {"max_restarts": True},
    ],
)
def test_wrong_settings_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(DistributedValueError, match=f"{name}={value!r}: expected"):
        tf.distribute.MirroredStrategy(["cpu:0"], **options)


def test_a_policy_can_be_given_as_a_string():
    assert OnWorkerLost.SHRINK == make("shrink").incarnations.lost_workers.policy
