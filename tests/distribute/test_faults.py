"""Faults of an experiment: their texts, their places, and random choices with a seed."""

from __future__ import annotations

import pytest

import varsim as tf
from varsim import disk
from varsim.distribute import fault_injection
from varsim.distribute.faults import Fault, parse_fault
from varsim.errors import DistributedValueError, InjectedFault
from varsim.exchange.star import StarCoordinator
from varsim.private import write_private

STEP_MS = 100


class Clock:
    """Time that passes only in sleeps and in `work`."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[int] = []  # the durations of all sleeps in ms

    def perf_counter(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.slept.append(round(time_s * 1000))
        self.now_s += time_s

    def work(self) -> None:
        self.now_s += STEP_MS / 1000


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(fault_injection, "time", one)
    return one


def with_faults(strategy, *texts, seed=0):
    strategy.inject([parse_fault(text) for text in texts], seed)
    with strategy.scope():
        return tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)


def results(strategy, function, calls):
    found = []
    for _ in range(calls):
        try:
            found.append(
                [float(one) for one in strategy.experimental_local_results(strategy.run(function))]
            )
        except InjectedFault as error:
            found.append(str(error))
    return found


# ---------------------------------------------------------------- texts


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "'' is not a kind of fault: kill, exit, raise, pause, slow, delay"),
        ("kil replica=1 call=1", "'kil' is not a kind of fault; did you mean 'kill'? (docs/"),
        ("kill repica=1", "'repica=1': kill has replica=, call=, step=, operation=; did you mean"),
        ("kill replica call=1", "'replica': kill has replica=, call="),
        ("kill call=1", "replica= must be a replica id or one of any, coordinator"),
        ("kill replica=all call=1", "replica= must be a replica id or one of any, coordinator"),
        ("pause replica=coordinator call=1 s=1", "replica= must be a replica id or one of any ("),
        ("disk_full replica=0 call=1 s=1", "'s=1': disk_full has replica=, call=, step="),
        ("memory_full replica=0", "memory_full needs call= or step="),
        ("slow replica=coordinator factor=2", "replica= must be a replica id or one of any, all"),
        ("kill replica=1", "kill needs call= or step="),
        ("kill replica=1 call=1 step=1", "give call= or step=, not both"),
        ("kill replica=1 call=0", "call= must be a number from 1, or a range"),
        ("kill replica=1 call=5:5", "call= must be a number from 1, or a range"),
        ("kill replica=1 call=1 call=2", "duplicate call="),
        (
            "kill replica=1 call=1 factor=2",
            "'factor=2': kill has replica=, call=, step=, operation=",
        ),
        ("kill replica=1 call=1 now", "'now': kill has"),
        ("slow replica=1", "slow needs factor="),
        ("slow replica=1 factor=0.5", "factor= must be a number from 1 to 1e6"),
        ("delay replica=1 ms=nan", "ms= must be a number from 0 to 1e6"),
        ("pause replica=1 call=2 s=-1", "s= must be a number from 0 to 1e6"),
        ("kill replica=coordinator call=1 operation=2", "the coordinator has no operations"),
        ("partition replicas=1,1 call=1 s=1", "replicas= must be different replica ids"),
        ("partition replicas=1, call=1 s=1", "replicas= must be different replica ids"),
        ("partition replicas=1 replica=2 call=1 s=1", "replicas= must be different replica ids"),
        ("kill replicas=1,2 call=1", "'replicas=1,2': kill has replica="),
        ("raise replica=1 call=1 operation=1:3", "operation= must be a number from 1"),
        ("drop replica=1 call=1 count=0", "count= must be a number from 1 to 1e6"),
        ("partition replica=1 call=1", "partition needs s="),
        ("drop replica=coordinator call=1", "replica= must be a replica id or one of any, all ("),
    ],
)
def test_the_error_for_a_wrong_text_names_the_problem(text, problem):
    with pytest.raises(DistributedValueError) as caught:
        parse_fault(text)
    assert f"invalid fault {text!r}: {problem}" in str(caught.value)


def test_the_text_of_a_fault_is_read_into_place_and_amounts():
    assert Fault(
        text="delay replica=all call=3:7 operation=2 ms=5",
        kind="delay",
        replica="all",
        call=(3, 7),
        operation=2,
        amounts=(("ms", 5.0), ("jitter_ms", 0.0)),
    ) == parse_fault("  delay replica=all  call=3:7 operation=2 ms=5 ")


def test_a_replica_that_does_not_exist_is_refused(strategy):
    with pytest.raises(
        DistributedValueError, match="there is no replica 2; the replicas are 0 to 1"
    ):
        with_faults(strategy, "raise replica=2 call=1")


@pytest.mark.parametrize("kind", ["drop", "duplicate", "reorder", "corrupt", "truncate"])
def test_a_fault_of_a_link_that_loses_nothing_is_refused(strategy, kind):
    with pytest.raises(DistributedValueError, match="a link over ipc loses nothing"):
        with_faults(strategy, f"{kind} replica=1 call=1")


def test_a_partition_can_have_several_replicas():
    fault = parse_fault("partition replicas=0,2 call=3 s=1.5")
    assert ((0, 2), 1.5) == (fault.replica, fault.amount("s"))
    assert [True, False, True] == [fault.is_on(replica_id) for replica_id in range(3)]
    assert "call 3 on replicas 0, 2" == fault.place
    with pytest.raises(DistributedValueError, match="there is no replica 2"):
        fault.check(2)


# ---------------------------------------------------------------- places


def test_a_fault_happens_in_its_call_before_its_operation(strategy):
    v = with_faults(strategy, "raise replica=1 call=2 operation=2", "raise replica=0 call=4")

    def step():
        v.assign_add(1.0)
        v.assign_add(1.0)
        return v.read_value()

    found = results(strategy, step, 5)
    assert [one for one in found if isinstance(one, str)] == [found[1], found[3]]
    assert found[1] == "fault 'raise replica=1 call=2 operation=2'"
    assert found[3] == "fault 'raise replica=0 call=4'"
    assert strategy.faults.missed() == []


def test_a_fault_of_a_step_happens_in_its_first_call(strategy):
    v = with_faults(strategy, "raise replica=0 step=3")
    found = []
    for step in (1, 1, 2, 5, 6):
        strategy.faults.step = step
        found += results(strategy, lambda: v.assign_add(1.0), 1)
    assert [type(one) for one in found] == [list, list, list, str, list]


def test_faults_that_do_not_happen_are_named(strategy):
    v = with_faults(
        strategy,
        "raise replica=0 call=1 operation=3",
        "raise replica=1 call=9",
        "delay replica=0 call=8:9 ms=1",
    )
    results(strategy, lambda: v.assign_add(1.0), 2)
    assert [text.partition("the run did not reach ")[2] for text in strategy.faults.missed()] == [
        "operation 3 of call 1 on replica 0",
        "call 9 on replica 1",
        "call 8 on replica 0",
    ]


def test_the_disk_of_the_coordinator_is_full_after_the_fault(strategy, tmp_path):
    """Other folders are not full."""
    folder = tmp_path / "run"
    folder.mkdir()
    strategy.inject([parse_fault("disk_full replica=coordinator call=2")], 0, folder)
    try:
        strategy.run(lambda: None)
        write_private(folder / "before", b"")
        strategy.run(lambda: None)
        with pytest.raises(OSError, match=f"No space left on device: '{folder}/after'"):
            write_private(folder / "after", b"")
        write_private(tmp_path / "other", b"")
        assert strategy.faults.missed() == []
    finally:
        disk.free(folder)
    write_private(folder / "after", b"")


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("memory_full", "needs shared memory, but this exchange has none: use exchange=shared"),
        ("disk_full", "needs the files of a run: record a trace"),
    ],
)
def test_a_fault_that_fills_a_resource_needs_this_resource(strategy, kind, problem):
    strategy.inject([parse_fault(f"{kind} replica=coordinator call=1")], 0)
    with pytest.raises(InjectedFault, match=problem):
        strategy.run(lambda: None)


@pytest.mark.parametrize("kind", ["kill", "exit", "pause", "disk_full", "memory_full"])
def test_a_simulated_replica_refuses_faults_of_processes(strategy, kind):
    v = with_faults(strategy, f"{kind} replica=0 call=1{' s=1' if kind == 'pause' else ''}")
    (said,) = results(strategy, lambda: v.assign_add(1.0), 1)
    assert "needs a worker process, but this replica is simulated: use raise, slow or delay" in said


def test_the_seed_draws_the_replica_and_the_call():
    fault = parse_fault("raise replica=any call=10:50")
    drawn = [fault.drawn(seed, 0, 4) for seed in range(200)]
    assert {one.replica for one in drawn} == {0, 1, 2, 3}
    assert {one.call[0] for one in drawn} == set(range(10, 50))
    assert all(one.call[1] == one.call[0] + 1 for one in drawn)
    assert drawn == [fault.drawn(seed, 0, 4) for seed in range(200)]
    assert drawn != [fault.drawn(seed, 1, 4) for seed in range(200)]


# ---------------------------------------------------------------- time


def test_a_slow_replica_needs_a_multiple_of_its_working_time(strategy, clock):
    v = with_faults(strategy, "slow replica=1 factor=3")

    def step():
        clock.work()
        v.assign_add(1.0)
        clock.work()

    strategy.run(step)
    assert [time_ms for time_ms in clock.slept if time_ms] == [2 * STEP_MS, 2 * STEP_MS]


@pytest.mark.filterwarnings("ignore::varsim.errors.VarsimWarning")
def test_one_sided_operations_and_waits_for_others_are_operations(strategy, clock):
    """The work before each of them is slowed down, and not the time for which it waits."""
    with_faults(strategy, "slow replica=1 factor=3")
    with strategy.scope():
        own = tf.Variable(0.0, synchronization=tf.VariableSynchronization.NONE)

    def step():
        context = tf.distribute.get_replica_context()
        mine = context.replica_id_in_sync_group == 1
        if not mine:
            with context.lock("l"):
                context.barrier("all hold it in turn")
                clock.work()  # replica 1 waits for this
        else:
            context.barrier("all hold it in turn")
            with context.lock("l"):
                pass
            clock.work()
            own.push(1.0)
            clock.work()
            own.pull()

    strategy.run(step)
    assert [time_ms for time_ms in clock.slept if time_ms] == [2 * STEP_MS, 2 * STEP_MS]


def test_a_delay_comes_before_every_operation_of_its_calls(strategy, clock):
    v = with_faults(strategy, "delay replica=all call=2:3 ms=5")
    for _ in range(3):
        strategy.run(lambda: v.assign_add(1.0))
    assert clock.slept == [5, 5, 5, 5]  # on two replicas, before the function and before its write


def test_a_delay_with_jitter_is_the_same_for_the_same_seed(strategy, clock):
    slept = []
    for seed in (1, 1, 2):
        with_faults(strategy, "delay replica=0 ms=50 jitter_ms=40", seed=seed)
        faulty = strategy.faults.wrapped(len, 1, 2, StarCoordinator(2))
        session = fault_injection.FaultySession(object(), faulty.faults[0], faulty, 0)
        clock.slept.clear()
        session.begin()
        slept.append(clock.slept[:])
    assert slept[0] == slept[1] != slept[2]
    assert all(10 <= time_ms <= 90 for (time_ms,) in slept)
