"""A read that waits when a worker is lost fails only if it needs what is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.sync.build import (
    ADD,
    FIRST,
    MEAN,
    NONE,
    ON_READ,
    ON_WRITE,
    SUM,
    U,
    V,
    W,
    array,
    arrive,
    call,
    coordinator,
    give_up,
    handle,
    returned,
    spec,
)
from tests.sync.test_losses import TOKEN, cluster_after, deferred, error_of, lose, outcome
from varsim.protocol.messages import Component, Fetch, Left, Report
from varsim.sync.actions import CoordinatorAction, Finish, ProgramDone, Send
from varsim.sync.call_site import CallSite
from varsim.sync.coordinator_events import (
    ProgramFetch,
    ProgramRead,
    ProgramWriteComponent,
    ReplicasLost,
)
from varsim.sync.coordinator_state import CoordinatorState
from varsim.texts.losses import LostWorker


def fetching(*replica_ids: int) -> CoordinatorState:
    """Return a coordinator of 3 replicas whose program waits for some components of W."""
    state = coordinator(spec(SUM, ON_READ), num_replicas=3)
    for replica_id in range(3):
        handle(state, replica_id, returned(Report(diverged=(W,))))
    state.handle(ProgramFetch(W, replica_ids, TOKEN))
    return state


def answer(state: CoordinatorState, replica_id: int, value: float) -> list[CoordinatorAction]:
    """Let a replica answer the fetch."""
    message = Component(request_id=1, variable_id=W, version=0, value=array(value))
    return arrive(state, replica_id, message)


def values_of(actions: Sequence[CoordinatorAction]) -> list[Any]:
    (done,) = actions
    assert isinstance(done, ProgramDone)
    return [value.tolist() for value in done.values]


def test_a_fetch_from_survivors_continues() -> None:
    state = fetching(0, 2)

    assert [] == lose(state, 1)
    assert [] == answer(state, 2, 5.0)
    assert [4.0, 5.0] == values_of(answer(state, 0, 4.0))


def test_a_component_that_has_arrived_before_the_loss_is_returned() -> None:
    state = fetching(0, 1)
    answer(state, 1, 5.0)

    assert [] == lose(state, 1)
    assert [4.0, 5.0] == values_of(answer(state, 0, 4.0))


def test_a_fetch_from_a_lost_replica_names_its_component() -> None:
    state = fetching(0, 1)

    text = str(error_of(lose(state, 1)))
    assert text.startswith("variable 'w': the component of replica 1 is lost (replica 1: worker")
    assert text.endswith("  w.values[i] still reads the components of replicas 0, 2")


def test_if_all_replicas_are_lost_no_component_is_called_readable() -> None:
    state = fetching(0, 1)

    text = str(error_of(lose(state, 2, 1, 0)))
    assert "the components of replicas 0, 1 are lost (replica 0: worker" in text
    assert text.endswith("\n  no component of w can be read any more")


@pytest.mark.parametrize("lost", [0, 1])
def test_a_read_that_waits_is_checked_again_after_a_loss(lost: int) -> None:
    """The replicas still run a call that the program has abandoned."""
    state = coordinator(spec(SUM, ON_READ), num_replicas=3)
    give_up(state, 1)
    state.handle(ProgramFetch(W, (0,), TOKEN))
    actions = state.handle(ReplicasLost((LostWorker(lost, "ended"),)))

    if lost == 0:
        assert "the component of replica 0 is lost" in str(error_of(actions))
        return
    assert [] == actions
    (fetch,) = arrive(state, 0, Left(call_id=1))
    assert isinstance(fetch, Send)
    assert isinstance(fetch.message, Fetch)
    assert 0 == fetch.to


def test_a_write_that_waits_is_refused() -> None:
    state = coordinator(spec(SUM, ON_READ, shape=(None,)), num_replicas=3)
    for replica_id in range(3):
        handle(state, replica_id, returned(Report(diverged=(W,))))
    state.handle(ProgramWriteComponent(W, 0, ADD, array([1.0]), token=TOKEN))

    assert "replica 1: worker was killed by SIGKILL; it printed no error" in str(
        error_of(lose(state, 1))
    )


def test_a_read_inside_a_call_ends_with_the_call() -> None:
    state = coordinator(spec(SUM, ON_READ), num_replicas=2)
    state.handle(ProgramFetch(W, (0,), TOKEN))

    refused, *_, finish = lose(state, 1)
    assert isinstance(finish, Finish)
    assert finish.error is error_of([refused])


def test_a_read_that_waits_for_an_exchange_names_the_lost_writes() -> None:
    cluster = deferred()
    cluster.coordinator.handle(ProgramRead(W, TOKEN))

    text = str(error_of(lose(cluster.coordinator, 0)))
    assert text.startswith(
        "variable 'w': 2 writes of each replica in completed calls, which were not"
    )


# ---------------------------------------------------------------- the report


@pytest.mark.parametrize(
    ("lost", "readable"), [(1, "first, mirror, same"), (0, "mirror, same")], ids=["1", "0"]
)
def test_the_report_names_each_variable_that_can_still_be_read(lost: int, readable: str) -> None:
    """A variable is readable if the components that its policy reads are not lost."""
    variables = [
        replace(spec(FIRST, ON_READ, variable_id=W), name="first"),
        replace(spec(SUM, ON_READ, variable_id=V), name="total"),
        replace(spec(NONE, ON_READ, variable_id=U), name="own"),
        replace(spec(MEAN, ON_WRITE, variable_id=4), name="mirror"),
        replace(spec(SUM, ON_WRITE, variable_id=5), name="same"),
    ]
    state = coordinator(*variables, num_replicas=2)

    (line,) = [
        one for one in str(error_of(lose(state, lost)[-1:])).splitlines() if "still be read" in one
    ]
    assert f"  can still be read: {readable}" == line


@pytest.mark.parametrize("one", [spec(FIRST, ON_READ), spec(NONE, ON_WRITE)], ids=str)
def test_what_the_report_calls_readable_is_read(one: Any) -> None:
    cluster = cluster_after(one, 5.0, 6.0, 7.0)
    cluster.start()
    error = error_of([one for one in lose(cluster.coordinator, 1) if isinstance(one, Finish)])

    assert "  can still be read: w\n" in str(error)
    arrive(cluster.coordinator, 0, Left(call_id=2))
    assert [5.0] == outcome(cluster, ProgramRead(W, TOKEN))


def test_a_silent_replica_is_not_reported_as_in_the_call() -> None:
    """The worker may have been killed between two calls."""
    state = coordinator(spec(), num_replicas=2, calls=0)
    call(state, site=CallSite("step", "a.py:12"))

    text = str(error_of(lose(state, 1)[-1:]))
    assert "was in call" not in text
    assert (
        "  replica 1 sent no message in call 1 of strategy.run, step (a.py:12): only a record "
        "shows what it did last"
    ) in text.splitlines()
