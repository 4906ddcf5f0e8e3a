"""Replicas without progress are reported, and then their processes are ended."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from tests.sync.build import (
    FETCH,
    NOTHING,
    ON_READ,
    all_reduce,
    array,
    call,
    contribution,
    handle,
    host_call,
    raised,
    returned,
    spec,
    waiting,
)
from varsim.errors import CallTimeout
from varsim.protocol.messages import Component, MergeCall, Report
from varsim.sync.actions import (
    CoordinatorAction,
    EndWorkers,
    Examine,
    Finish,
    ProgramRefused,
    WarnOfStall,
)
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import (
    Examined,
    HostCallDone,
    LookForStalls,
    MergeFunctionReturns,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    TimePasses,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.stalls import DEFAULT_LIMITS, Sighting, StallLimits
from varsim.texts.stalls import Activity, Stall, StallWarning

SITE = CallSite("step", "train.py:12", "train.py:30")
BLOCKED, COMPUTING, STOPPED, UNKNOWN = Activity

Told = tuple[float, dict[int, Activity]]
"""The time at which replicas were reported or ended, and the activity of each of them."""


@dataclass(frozen=True)
class Uses:
    """A process that uses the fraction `share` of a processor until `until_s`."""

    share: float = 0.0
    until_s: float = math.inf
    stopped: bool = False
    ready: float = 0.0  # the fraction of the time in which it computes or waits for a processor

    def seen(self, replica_id: int, now_s: float) -> Sighting:
        processor_s = self.share * min(now_s, self.until_s)
        return Sighting(
            100 + replica_id,
            round(processor_s, 2),
            self.ready * now_s,
            self.stopped,
            ("train.py:20 in f",),
        )


BUSY = Uses(1.0)
ASLEEP = Uses()


class Cluster:
    """A coordinator's state, a clock, and the processes of the replicas.

    A process is `None` if the system does not show its processor time.
    """

    def __init__(
        self, *processes: Uses | None, limits: StallLimits = DEFAULT_LIMITS, calls: int = 1
    ) -> None:
        self.state = CoordinatorState(len(processes), stall_limits=limits)
        self.processes = processes
        self.now_s = 0.0
        self.behind: dict[int, float] = {}  # see `LookForStalls`
        self.warned: list[Told] = []
        self.ended: list[Told] = []
        self.warnings: list[StallWarning] = []
        self.errors: list[CallTimeout] = []
        self.examined: set[int] = set()
        self.ends: list[str] = []  # why processes were ended
        for _ in range(calls):
            call(self.state, site=SITE)

    def hear(self, replica_id: int, message: Any) -> None:
        """Let a message arrive."""
        handle(self.state, replica_id, message, self.now_s)

    def wait(self, seconds: float) -> None:
        """Let time pass, and look for stalls at each time that the state has requested."""
        until_s = self.now_s + seconds
        while not self.ends and self.state.stalls.look_at_s <= until_s:
            self.now_s = max(self.now_s, self.state.stalls.look_at_s)
            self.take(self.state.handle(LookForStalls(self.now_s, self.behind)))
            self.state.validate()
        self.now_s = max(self.now_s, until_s)

    def take(self, actions: Sequence[CoordinatorAction]) -> None:
        for action in actions:
            match action:
                case Examine(replica_ids=replica_ids):
                    self.examined |= {*replica_ids}
                    self.take(self.state.handle(Examined(self.seen(replica_ids), self.now_s)))
                case WarnOfStall(fact=StallWarning() as fact):
                    self.warnings.append(fact)
                    self.warned.append((self.now_s, activities(fact.stall)))
                case EndWorkers(reasons=reasons):
                    self.ends += reasons.values()
                case Finish(error=CallTimeout() as error) | ProgramRefused(error=error):
                    assert isinstance(error, CallTimeout)
                    self.errors.append(error)
                    stall = error.args[0].stall
                    assert self.ends == [one.ending for one in stall.stalled]
                    self.ended.append((self.now_s, activities(stall)))

    def seen(self, replica_ids: Sequence[int]) -> Mapping[int, Sighting]:
        every = {i: self.processes[i] for i in replica_ids}
        return {
            i: Sighting(100 + i) if one is None else one.seen(i, self.now_s)
            for i, one in every.items()
        }


def activities(stall: Stall) -> dict[int, Activity]:
    return {one.replica_id: one.activity for one in stall.stalled}


# ---------------------------------------------------------------- times


def test_a_blocked_replica_is_reported_and_then_ended():
    cluster = Cluster(ASLEEP, ASLEEP)
    cluster.hear(0, all_reduce(1.0))
    cluster.wait(1000)

    assert [(5, {1: BLOCKED})] == cluster.warned  # only one warning
    assert [(60, {1: BLOCKED})] == cluster.ended
    assert {1} == cluster.examined  # a replica that waits is not examined


def test_a_busy_replica_is_not_a_blocked_replica():
    cluster = Cluster(ASLEEP, BUSY)
    cluster.hear(0, all_reduce(1.0))
    cluster.wait(1000)

    assert [(5, {1: COMPUTING})] == cluster.warned
    assert [(600, {1: COMPUTING})] == cluster.ended


@pytest.mark.parametrize(("share", "activity"), [(0.002, BLOCKED), (0.02, COMPUTING)])
def test_a_process_that_only_wakes_up_to_check_something_is_blocked(share, activity):
    """One of 64 busy workers on two processors gets 3 % of a processor."""
    cluster = Cluster(Uses(share))
    cluster.wait(10)

    assert [(5, {0: activity})] == cluster.warned


def test_a_busy_process_that_gets_no_processor_is_not_blocked():
    cluster = Cluster(Uses(0.001, ready=0.9), Uses(0.001, ready=0.1))
    cluster.wait(10)

    assert [(5, {0: COMPUTING, 1: BLOCKED})] == cluster.warned


def test_the_time_of_a_blocked_replica_begins_when_it_stops_computing():
    cluster = Cluster(Uses(1.0, until_s=50))
    cluster.wait(1000)

    ((ended_s, did),) = cluster.ended
    assert {0: BLOCKED} == did
    assert 110 <= ended_s <= 112.5


def test_a_stopped_process_is_blocked():
    cluster = Cluster(Uses(1.0, until_s=4, stopped=True))
    cluster.wait(1000)

    assert [(5, {0: STOPPED})] == cluster.warned
    assert [(60, {0: STOPPED})] == cluster.ended


def test_without_processor_times_a_replica_may_be_computing():
    cluster = Cluster(None)
    cluster.wait(1000)

    assert [(5, {0: UNKNOWN})] == cluster.warned
    assert [(600, {0: UNKNOWN})] == cluster.ended


@pytest.mark.parametrize("use", [ASLEEP, BUSY, None])
def test_one_limit_holds_for_every_replica(use):
    cluster = Cluster(use, limits=DEFAULT_LIMITS.changed(warn_s=3, fail_s=4))
    cluster.wait(1000)

    assert [3] == [time_s for time_s, _ in cluster.warned]
    assert [4] == [time_s for time_s, _ in cluster.ended]


def test_a_limit_of_zero_never_ends_a_call():
    cluster = Cluster(ASLEEP, limits=DEFAULT_LIMITS.changed(warn_s=0, fail_s=0))
    cluster.wait(10_000)
    assert ([], []) == (cluster.warned, cluster.ended)

    cluster = Cluster(ASLEEP, limits=DEFAULT_LIMITS.changed(fail_s=0))
    cluster.wait(10_000)
    assert ([5], []) == ([time_s for time_s, _ in cluster.warned], cluster.ended)

    cluster = Cluster(ASLEEP, limits=DEFAULT_LIMITS.changed(warn_s=0))
    cluster.wait(10_000)
    assert ([], [60]) == (cluster.warned, [time_s for time_s, _ in cluster.ended])


def test_a_call_can_have_its_own_limits():
    cluster = Cluster(ASLEEP, ASLEEP, limits=DEFAULT_LIMITS.changed(warn_s=0, fail_s=0), calls=0)
    cluster.wait(100)
    limits = DEFAULT_LIMITS.changed(warn_s=1, fail_s=2)
    cluster.state.handle(ProgramCall("f", NOTHING, [NOTHING] * 2, SITE, 1, 100.0, limits))
    cluster.wait(100)

    assert [101] == [time_s for time_s, _ in cluster.warned]
    assert [102] == [time_s for time_s, _ in cluster.ended]


# ---------------------------------------------------------------- progress


def test_many_short_steps_are_progress():
    cluster = Cluster(ASLEEP, ASLEEP)
    for index in range(100):
        cluster.wait(4)
        for replica_id in range(2):
            cluster.hear(replica_id, all_reduce(1.0, index=index))
    assert ([], []) == (cluster.warned, cluster.ended)

    cluster.hear(0, all_reduce(1.0, index=100))
    cluster.wait(100)
    assert [405] == [time_s for time_s, _ in cluster.warned]
    assert [460] == [time_s for time_s, _ in cluster.ended]


def test_writes_that_others_have_not_made_are_progress():
    cluster = Cluster(ASLEEP, ASLEEP)
    cluster.state.handle(ProgramCreate(spec(), array(0.0)))
    cluster.hear(0, contribution(1.0))
    for index in range(1, 20):
        cluster.hear(1, contribution(1.0, index=index - 1))
        cluster.wait(4)

    assert {0} == {i for _, did in cluster.warned for i in did}


def test_requests_are_no_progress_and_hide_no_other_replica():
    cluster = Cluster(BUSY, ASLEEP)
    for _ in range(700):
        cluster.hear(0, host_call())
        cluster.state.handle(HostCallDone(1, 0, NOTHING, False, cluster.now_s))
        cluster.wait(1)

    assert [(5, {0: COMPUTING, 1: BLOCKED})] == cluster.warned
    assert [(60, {1: BLOCKED})] == cluster.ended


def test_a_replica_that_only_sends_requests_is_ended():
    cluster = Cluster(BUSY, ASLEEP)
    cluster.hear(1, all_reduce(1.0))
    while not cluster.ended and cluster.now_s < 2_000:
        cluster.hear(0, host_call())
        cluster.wait(0.05)  # the program answers promptly
        cluster.state.handle(HostCallDone(1, 0, NOTHING, False, cluster.now_s))
        cluster.wait(0.05)

    assert [(5, {0: COMPUTING})] == cluster.warned
    assert [(600, {0: COMPUTING})] == cluster.ended


def test_the_time_of_the_program_does_not_count():
    """The program may take long for a request, while other replicas wait for their turn."""
    cluster = Cluster(ASLEEP, ASLEEP)
    cluster.wait(2)
    for replica_id in (0, 1):
        cluster.hear(replica_id, host_call())
    for replica_id in (0, 1):
        cluster.wait(100)
        cluster.state.handle(HostCallDone(1, replica_id, NOTHING, False, cluster.now_s))
        assert [] == cluster.warned
        if replica_id == 0:
            cluster.hear(0, returned())
    cluster.wait(2)
    assert [] == cluster.warned
    cluster.wait(2)
    assert [(205, {1: BLOCKED})] == cluster.warned  # 2 of its 5 s were before its request


def test_the_function_of_a_merge_call_may_take_long():
    cluster = Cluster(ASLEEP, ASLEEP)
    for replica_id in (0, 1):
        merge = MergeCall(
            call_id=1, position=0, function=NOTHING, arguments=NOTHING, label=None, location=""
        )
        cluster.hear(replica_id, merge)
    cluster.wait(1000)
    cluster.state.handle(MergeFunctionReturns(1, 0, [NOTHING] * 2, 1000.0))
    assert [] == cluster.warned
    cluster.wait(100)

    assert [1005] == [time_s for time_s, _ in cluster.warned]


# ---------------------------------------------------------------- reports


def test_replicas_that_stall_together_are_in_one_report():
    cluster = Cluster(ASLEEP, BUSY, ASLEEP, ASLEEP)
    cluster.state.handle(ProgramCreate(spec(), array(0.0)))
    for replica_id in (0, 1, 2):
        cluster.now_s = 0.1 * replica_id
        cluster.hear(replica_id, contribution(1.0))
    cluster.wait(100)

    assert [{0: BLOCKED, 1: COMPUTING, 2: BLOCKED, 3: BLOCKED}] == [
        did for _, did in cluster.warned
    ]
    ((_, did),) = cluster.ended
    assert {0, 2, 3} == did.keys()  # the busy replica is not ended


def test_a_slow_function_is_reported_once():
    cluster = Cluster(BUSY, BUSY)
    for number in range(1, 4):
        cluster.wait(20)
        for replica_id in range(2):
            cluster.hear(replica_id, returned(call=number))
        call(cluster.state, site=SITE, now_s=cluster.now_s)

    assert [5] == [time_s for time_s, _ in cluster.warned]
    cluster.processes = (ASLEEP, BUSY)  # a blocked replica is reported each time
    cluster.wait(20)
    assert [5, 65] == [time_s for time_s, _ in cluster.warned]


def test_a_report_has_call_process_last_message_and_stack():
    cluster = Cluster(ASLEEP, ASLEEP, ASLEEP)
    cluster.state.handle(ProgramCreate(spec(), array(0.0)))
    cluster.hear(0, contribution(1.0))
    cluster.hear(0, waiting())
    cluster.hear(2, contribution(1.0))
    cluster.wait(100)

    assert [
        "replicas 1, 2 have made no progress for 5.0 s in call 1 of strategy.run, "
        "step (train.py:12):",
        "  replica 1 (process 101) is blocked (its processor time does not grow); "
        "no message in this call",
        "    its Python stack, innermost first:",
        "      train.py:20 in f",
        "  replica 2 (process 102) is blocked (its processor time does not grow); "
        "its last message: w.assign (float32 scalar) at train.py:10",
        "    its Python stack, innermost first:",
        "      train.py:20 in f",
        "  replica 0: waits in a read of w, after its own write to it at train.py:40",
    ] == str(cluster.warnings[0]).splitlines()[:-1]
    (error,) = cluster.errors
    assert (1, 2) == error.replica_ids
    assert isinstance(error, TimeoutError)
    assert "stall_fail_s or VARSIM_CALL_TIMEOUT_S" in str(error)


def test_a_replica_in_an_earlier_call_is_named():
    cluster = Cluster(ASLEEP, ASLEEP)
    cluster.hear(0, raised("wrong"))
    cluster.state.handle(TimePasses(1.0))  # the call fails, but replica 1 runs its function
    cluster.now_s = 1.0
    call(cluster.state, "g", site=CallSite("evaluate"), now_s=1.0)
    cluster.hear(0, returned(call=2))
    cluster.wait(100)

    assert [(6, {1: BLOCKED})] == cluster.warned
    text = str(cluster.warnings[0])
    assert "in call 2 of strategy.run, evaluate:\n" in text
    assert "\n    it still runs step (train.py:12) of an earlier call\n" in text
    assert [(61, {1: BLOCKED})] == cluster.ended


def test_a_process_without_an_answer_to_a_read_is_ended():
    cluster = Cluster(ASLEEP, Uses(stopped=True), calls=0)
    one = spec(synchronization=ON_READ)
    cluster.state.handle(ProgramCreate(one, array(0.0)))
    call(cluster.state)
    for replica_id in (0, 1):
        cluster.hear(replica_id, returned(Report(diverged=(one.variable_id,))))
    cluster.now_s = 100.0
    cluster.state.handle(ProgramFetch(one.variable_id, (0, 1), FETCH, cluster.now_s))
    cluster.wait(1)
    answer = Component(request_id=1, variable_id=one.variable_id, version=0, value=array(1.0))
    cluster.hear(0, answer)
    cluster.wait(100)

    assert [(105, {1: STOPPED})] == cluster.warned
    first = str(cluster.warnings[0]).splitlines()[0]
    waits = "and the program waits for an answer:"
    assert f"replica 1 has made no progress for 5.0 s, {waits}" == first
    assert [(160, {1: STOPPED})] == cluster.ended


def test_a_process_that_receives_no_messages_is_ended():
    cluster = Cluster(ASLEEP, Uses(stopped=True), calls=0)
    cluster.wait(100)
    cluster.behind = {1: 100.0}
    cluster.wait(7)
    assert [(105, {1: STOPPED})] == cluster.warned
    cluster.behind = {}
    cluster.wait(100)
    assert [] == cluster.ends

    cluster.behind = {1: cluster.now_s}
    cluster.wait(60)
    (reason,) = cluster.ends  # the next operation raises WorkerLost with this reason
    assert "it made no progress for 60.0 s: it was stopped by a signal" in reason
