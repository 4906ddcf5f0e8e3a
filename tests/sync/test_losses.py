"""After the loss of a replica, calls and writes are refused, and reads without it still work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.sync.build import (
    ADD,
    AUTO,
    FIRST,
    LOCAL,
    MEAN,
    NONE,
    NOTHING,
    ON_READ,
    ON_WRITE,
    SUM,
    U,
    V,
    W,
    all_reduce,
    array,
    arrive,
    call,
    contribution,
    coordinator,
    describe,
    give_up,
    handle,
    host_call,
    merge_call,
    returned,
    spec,
    waiting,
)
from tests.sync.cluster import StateCluster
from tests.sync.test_exchanges import write_counts
from varsim.errors import WorkerLost
from varsim.protocol.messages import Component, Left, Report
from varsim.spec import VariableSpec
from varsim.sync.actions import CoordinatorAction, Finish, ProgramDone, ProgramRefused, Reduce
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import (
    HostCallDone,
    MergeFunctionReturns,
    OperandsLost,
    ProgramAssignComponents,
    ProgramCall,
    ProgramCreate,
    ProgramFetch,
    ProgramForget,
    ProgramOperation,
    ProgramRead,
    ProgramWrite,
    ProgramWriteComponent,
    ReductionDone,
    ReplicasLost,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.texts.losses import LostWorker

TOKEN = 7


def lose(state: CoordinatorState, *replica_ids: int) -> list[CoordinatorAction]:
    """Let the workers of these replicas end; return the coordinator's actions."""
    workers = tuple(LostWorker(i, "was killed by SIGKILL") for i in replica_ids)
    actions = state.handle(ReplicasLost(workers, 5.0))
    state.validate()
    return actions


def error_of(actions: Sequence[CoordinatorAction]) -> WorkerLost:
    """Return the error in the only answer of the actions to the program."""
    (answer,) = (one for one in actions if isinstance(one, Finish | ProgramRefused))
    assert isinstance(answer.error, WorkerLost)
    return answer.error


# ---------------------------------------------------------------- operations under way


def in_a_read(state: CoordinatorState) -> None:
    handle(state, 0, contribution(1.0))
    handle(state, 0, waiting())


def in_a_reduction(state: CoordinatorState) -> None:
    handle(state, 0, all_reduce(1.0))


def in_a_host_call(state: CoordinatorState) -> None:
    handle(state, 0, host_call())


def in_a_merge_call(state: CoordinatorState) -> None:
    for replica_id in range(3):
        handle(state, replica_id, merge_call())


def after_one_end(state: CoordinatorState) -> None:
    handle(state, 0, returned())


def at_the_start(state: CoordinatorState) -> None:
    """Do nothing: no replica has sent a message."""


@pytest.mark.parametrize(
    "reach",
    [in_a_read, in_a_reduction, in_a_host_call, in_a_merge_call, after_one_end, at_the_start],
)
def test_a_loss_fails_the_running_call_and_aborts_only_survivors(reach: Any) -> None:
    state = coordinator(spec(), num_replicas=3)
    reach(state)

    actions = lose(state, 1)

    *aborts, finish = describe(actions)
    assert "finish 1: WorkerLost" == finish
    assert ["0 <- Abort", "2 <- Abort"] == [one[: len("0 <- Abort")] for one in aborts]
    error = error_of(actions)
    assert (1, "was killed by SIGKILL", (1,)) == (
        error.replica_id,
        error.reason,
        error.replica_ids,
    )


def test_all_nested_calls_fail_the_innermost_first() -> None:
    state = coordinator(spec(), num_replicas=2)
    for replica_id in range(2):
        handle(state, replica_id, merge_call())
    call(state, "inner")

    finished = [one for one in lose(state, 0) if isinstance(one, Finish)]

    assert [2, 1] == [one.call_id for one in finished]
    assert all(isinstance(one.error, WorkerLost) for one in finished)
    assert [] == state.handle(MergeFunctionReturns(1, 0, [NOTHING] * 2))  # the program goes on


def test_a_host_result_after_the_failure_has_no_effect() -> None:
    state = coordinator(spec(), num_replicas=2)
    handle(state, 0, host_call())
    handle(state, 1, all_reduce(1.0))
    lose(state, 1)

    assert [] == state.handle(HostCallDone(1, 0, NOTHING, failed=False))


def test_a_fetch_that_waits_is_refused() -> None:
    state = fetched_from_all()

    assert ["refused: WorkerLost"] == describe(lose(state, 1))
    component = Component(request_id=1, variable_id=W, version=0, value=array(2.0))
    assert [] == arrive(state, 0, component)  # the answer to the refused fetch


def fetched_from_all() -> CoordinatorState:
    """Return a coordinator of 3 replicas whose program waits for all components of W."""
    state = coordinator(spec(SUM, ON_READ), num_replicas=3)
    for replica_id in range(3):
        handle(state, replica_id, returned(Report(diverged=(W,))))
    state.handle(ProgramRead(W, TOKEN))
    return state


def test_a_call_that_waits_for_stragglers_is_refused() -> None:
    state = coordinator(spec(), num_replicas=2)
    give_up(state, 1)
    state.handle(ProgramCall("f", NOTHING, [NOTHING] * 2, token=TOKEN))

    assert ["refused: WorkerLost"] == describe(lose(state, 1))
    assert [0] == [one.replica_id for one in state.stragglers.given_up(range(2))]


def test_a_merge_under_way_is_committed_before_its_call_fails() -> None:
    """A merge is atomic. The survivors or the program compute the value of its reduction."""
    state = coordinator(spec(), num_replicas=2)
    handle(state, 0, contribution(1.0))
    layout, message = contribution(2.0).packed(state.registry.specs)
    arrive(state, 1, layout)
    *_, reduce = arrive(state, 1, message)
    assert isinstance(reduce, Reduce)

    assert [] == state.handle(ReplicasLost((LostWorker(1, "ended"),)))
    actions = state.handle(ReductionDone(reduce.token, reduce.computed()))

    assert ["0 <- Commit", "1 <- Commit", "0 <- Abort", "finish 1: W"] == [
        line[:11] for line in describe(actions)
    ]
    assert [3.0] == read(state)


@pytest.mark.parametrize("is_known", [False, True])
def test_a_merge_without_operands_fails_its_call(is_known: bool) -> None:
    """The contributions are lost with their host, when all replicas have returned already."""
    state = coordinator(spec(), num_replicas=2)
    handle(state, 0, contribution(1.0))
    layout, message = contribution(2.0).packed(state.registry.specs)
    arrive(state, 1, layout)
    *_, reduce = arrive(state, 1, message)
    assert isinstance(reduce, Reduce)
    for replica_id in range(2):
        assert [] == handle(state, replica_id, returned())

    events = [OperandsLost(reduce.token), ReplicasLost((LostWorker(1, "ended"),))]
    before, last = reversed(events) if is_known else events
    assert [] == state.handle(before)
    actions = state.handle(last)

    assert ["0 <- Abort", "finish 1: W"] == [line[:11] for line in describe(actions)]
    assert not state.is_reducing
    assert [] == state.handle(OperandsLost(reduce.token))


def test_workers_that_end_together_are_in_one_error() -> None:
    state = coordinator(spec(), num_replicas=3)

    error = error_of(lose(state, 2, 0))

    assert (0, (0, 2)) == (error.replica_id, error.replica_ids)
    assert "replica 2: worker was killed by SIGKILL" in str(error)
    assert "replica 0: worker was killed by SIGKILL" in str(error)


def test_a_second_loss_of_a_replica_changes_nothing() -> None:
    state = coordinator(spec(), num_replicas=2)
    lose(state, 1)

    assert [] == lose(state, 1)


# ---------------------------------------------------------------- the report


def test_the_report_says_where_the_replica_was_and_what_is_left() -> None:
    """Of the nested calls, the innermost is first."""
    variables = spec(SUM, AUTO), spec(SUM, ON_READ, variable_id=V), spec(variable_id=U)
    state = coordinator(*variables, num_replicas=3, calls=0)
    call(state, site=CallSite("before", "train.py:1"))
    for replica_id in range(3):
        handle(state, replica_id, write_counts(2))
        handle(state, replica_id, returned())
    call(state, site=CallSite("step", "a.py:12"))
    for replica_id in range(3):
        handle(state, replica_id, merge_call(call=2, location="a.py:20"))
    call(state, "inner", site=CallSite("inner", "a.py:30"))
    handle(state, 1, returned(call=3))

    *_, error = (one.error for one in lose(state, 1, 2) if isinstance(one, Finish))

    assert """\
replica 1: worker was killed by SIGKILL; it printed no error
replica 2: worker was killed by SIGKILL; it printed no error
  replica 1 was in call 3 of strategy.run, inner (a.py:30); its function had ended
  replica 2 sent no message in call 3 of strategy.run, inner (a.py:30): only a record \
shows what it did last
  replica 1 was in call 2 of strategy.run, step (a.py:12); its last message: merge_call at a.py:20
  can still be read: u
  lost: the components of replicas 1, 2 of v
  lost: 2 writes of each replica in completed calls, which were not exchanged, to w
  this strategy cannot run or write any more: strategy.restart() starts new workers""" == str(error)


def test_the_report_of_many_losses_is_short() -> None:
    """The fork server has ended, and so all workers have ended. There are many variables."""
    variables = [spec(variable_id=i) for i in range(1, 30)]
    variables += [spec(SUM, ON_READ, variable_id=i) for i in range(30, 60)]
    state = coordinator(*variables, num_replicas=64)

    lines = str(error_of(lose(state, *range(64)))).splitlines()

    assert 10 == len(lines)
    assert "  the workers of replicas 3–63 ended, too" == lines[3]
    assert "  can still be read: w, v, u, variable4, " in lines[7]
    assert lines[7].endswith(" and 21 variables more")
    assert lines[8].startswith(
        "  lost: the components of replicas 0–63 of variable30, variable31, "
    )


# ---------------------------------------------------------------- later operations


WRITE = ProgramWrite(W, ADD, (array(1.0),), token=TOKEN)


@pytest.mark.parametrize(
    "event",
    [
        ProgramCall("f", NOTHING, [NOTHING] * 2, token=TOKEN),
        WRITE,
        ProgramWriteComponent(W, 0, ADD, array(1.0), token=TOKEN),
        ProgramAssignComponents(W, {0: array(1.0)}, token=TOKEN),
    ],
    ids=lambda event: type(event).__name__,
)
def test_calls_and_writes_are_refused(event: ProgramOperation | ProgramCall) -> None:
    state = coordinator(spec(), calls=0)
    lose(state, 1)

    assert "replica 1: worker was killed" in str(error_of(state.handle(event)))
    assert 0.0 == state.registry.mirror(W)


def test_the_creation_of_a_variable_is_refused() -> None:
    state = coordinator(calls=0)
    lose(state, 0)

    with pytest.raises(WorkerLost, match="replica 0: worker was killed"):
        state.handle(ProgramCreate(spec(), array(0.0)))
    assert {} == state.registry.specs


def test_a_dropped_variable_is_forgotten_only_by_survivors() -> None:
    state = coordinator(spec(), calls=0)
    lose(state, 0)

    assert ["1 <- Forget w"] == [line.strip() for line in describe(state.handle(ProgramForget(W)))]


# ---------------------------------------------------------------- reads


def read(state: CoordinatorState) -> list[Any]:
    """Return the value of a read by the program that needs no message."""
    (done,) = state.handle(ProgramRead(W, TOKEN))
    assert isinstance(done, ProgramDone)
    return [value.tolist() for value in done.values]


def cluster_after(one: VariableSpec, *writes: float, by: Sequence[int] = (0, 1, 2)) -> StateCluster:
    """Return a cluster of 3 replicas after a call in which some replicas wrote `one`."""
    cluster = StateCluster(one, num_replicas=3)
    cluster.start()
    for replica_id, value in zip(by, writes, strict=True):
        cluster.write(W, value, by=replica_id)
    cluster.leave()
    cluster.end()
    return cluster


def outcome(cluster: StateCluster, event: ProgramRead | ProgramFetch) -> Any:
    """Return the values that a read gives, after fetches; or the text of its error."""
    actions = cluster.coordinator.handle(event)
    refused = [one for one in actions if isinstance(one, ProgramRefused)]
    if refused:
        return str(error_of(actions)).partition("\n")[0]
    cluster.perform(actions)
    return [value.tolist() for value in cluster.fetched]


@pytest.mark.parametrize("aggregation", [SUM, MEAN, FIRST])
def test_a_mirror_is_read_without_replicas(aggregation: Any) -> None:
    cluster = cluster_after(spec(aggregation, ON_WRITE), 1.0, 2.0, 3.0)
    lose(cluster.coordinator, 0, 1, 2)

    expected = {SUM: 6.0, MEAN: 2.0, FIRST: 1.0}[aggregation]
    assert [expected] == read(cluster.coordinator)
    assert [expected] * 3 == outcome(cluster, ProgramFetch(W, (0, 1, 2), TOKEN))


LOST_1 = (
    "variable 'w': the component of replica 1 is lost (replica 1: worker was killed by SIGKILL)"
)


@pytest.mark.parametrize(
    ("one", "wrote", "value"),
    [
        (spec(SUM, ON_READ), (1,), LOST_1),
        (spec(MEAN, ON_READ), (0, 1), LOST_1),
        (spec(SUM, ON_READ), (0, 2), [10.0]),  # replica 1 has the initial value, which is known
        (spec(FIRST, ON_READ), (0, 1), [5.0]),
        (spec(NONE, ON_WRITE), (0, 1), [5.0]),
    ],
    ids=str,
)
def test_a_read_needs_only_the_components_that_its_policy_combines(
    one: VariableSpec, wrote: tuple[int, ...], value: Any
) -> None:
    cluster = cluster_after(one, *[5.0] * len(wrote), by=wrote)
    lose(cluster.coordinator, 1)

    assert value == outcome(cluster, ProgramRead(W, TOKEN))


@pytest.mark.parametrize("one", [spec(SUM, ON_READ), spec(SUM, LOCAL)])
def test_components_of_survivors_are_read(one: VariableSpec) -> None:
    cluster = cluster_after(one, 1.0, 2.0, 3.0)
    lose(cluster.coordinator, 1)

    assert [1.0, 3.0] == outcome(cluster, ProgramFetch(W, (0, 2), TOKEN))
    assert LOST_1 == outcome(cluster, ProgramFetch(W, (0, 1, 2), TOKEN))


def test_a_component_that_was_read_before_the_loss_is_still_known() -> None:
    cluster = cluster_after(spec(SUM, ON_READ), 1.0, 2.0, 3.0)
    cluster.look(W)
    lose(cluster.coordinator, 1)

    assert [6.0] == outcome(cluster, ProgramRead(W, TOKEN))


def test_a_failed_call_may_change_a_known_component() -> None:
    cluster = cluster_after(spec(SUM, ON_READ), 1.0, 2.0, 3.0)
    cluster.look(W)
    cluster.start()
    lose(cluster.coordinator, 1)

    assert LOST_1 == outcome(cluster, ProgramRead(W, TOKEN))


def test_a_second_loss_loses_further_components() -> None:
    cluster = cluster_after(spec(SUM, ON_READ), 1.0, 2.0, 3.0)
    lose(cluster.coordinator, 1)
    lose(cluster.coordinator, 2)

    assert [1.0] == outcome(cluster, ProgramFetch(W, (0,), TOKEN))
    text = outcome(cluster, ProgramFetch(W, (0, 1, 2), TOKEN))
    assert text.startswith("variable 'w': the components of replicas 1, 2 are lost (replica 1: ")
    assert "replica 2: worker was killed by SIGKILL)" in text


def test_a_survivor_answers_after_it_has_left_the_failed_call() -> None:
    """The abort is sent before the fetch, so the answer has the survivor's writes of this call."""
    cluster = StateCluster(spec(NONE, ON_READ), num_replicas=2)
    cluster.start()
    cluster.write(W, 4.0, by=0)
    actions = lose(cluster.coordinator, 1)
    fetch = cluster.coordinator.handle(ProgramFetch(W, (0,), TOKEN))

    assert ["0 <- Abort", "finish 1: W", "0 <- Fetch "] == [
        line[: len("0 <- Fetch ")].rstrip() if "Abort" in line else line[:11]
        for line in describe([*actions, *fetch])
    ]
    cluster.perform(actions)
    arrive(cluster.coordinator, 0, Left(call_id=1))
    assert not cluster.coordinator.stragglers
    cluster.perform(fetch)
    assert [4.0] == [value.tolist() for value in cluster.fetched]


# ---------------------------------------------------------------- deferred writes


def deferred() -> StateCluster:
    """Return a cluster of 2 replicas after a call with 2 deferred writes on each."""
    cluster = StateCluster(spec(SUM, AUTO), num_replicas=2)
    cluster.start()
    for _ in range(2):
        cluster.write(W, 1.0, 2.0, operation=ADD)
    cluster.end()
    return cluster


def test_unexchanged_deferred_writes_are_lost_on_all_replicas() -> None:
    cluster = deferred()
    lose(cluster.coordinator, 1)

    assert (
        "variable 'w': 2 writes of each replica in completed calls, which were not exchanged, "
        "cannot be exchanged any more (replica 1: worker was killed by SIGKILL)"
    ) == outcome(cluster, ProgramRead(W, TOKEN))
    assert [0.0, 0.0] == outcome(cluster, ProgramFetch(W, (0, 1), TOKEN))


def test_exchanged_writes_are_kept() -> None:
    cluster = deferred()
    cluster.look(W)
    lose(cluster.coordinator, 1)

    assert [6.0] == outcome(cluster, ProgramRead(W, TOKEN))


def test_a_read_that_waits_for_an_exchange_is_refused() -> None:
    cluster = deferred()
    cluster.coordinator.handle(ProgramRead(W, TOKEN))

    assert ["refused: WorkerLost"] == describe(lose(cluster.coordinator, 0))


def test_deferred_writes_of_the_failed_call_have_no_effect() -> None:
    """A read does not need these writes, because their call has failed."""
    cluster = deferred()
    cluster.look(W)
    cluster.start()
    cluster.write(W, 1.0, 2.0, operation=ADD)
    lose(cluster.coordinator, 1)

    assert [6.0] == outcome(cluster, ProgramRead(W, TOKEN))
