"""Vector clocks tell which events of other processes a process knew."""

from __future__ import annotations

from varsim.analysis.clocks import Clocks
from varsim.analysis.observer import Audience
from varsim.tracing.history import PROGRAM, Event


def clocks(num_replicas: int, *events: tuple[int, str, dict[str, int]]) -> Clocks:
    """Return the clocks after some events, which are numbered from 1."""
    taken = Clocks(num_replicas)
    Audience((taken,)).show(
        Event(number, process, number, float(number), kind, **columns)
        for number, (process, kind, columns) in enumerate(events, 1)
    )
    return taken


def test_at_the_beginning_a_process_knows_only_its_own_events() -> None:
    taken = clocks(2, (0, "write", {}), (1, "read", {}), (0, "write", {}))
    assert (3, 0) == (taken.known(0, 0), taken.known(0, 1))
    assert (0, 2) == (taken.known(1, 0), taken.known(1, 1))


def test_an_effect_knows_everything_that_its_cause_knew() -> None:
    taken = clocks(
        2,
        (0, "write", {}),
        (0, "return", {}),
        (PROGRAM, "receive", {"cause": 2}),
        (PROGRAM, "call", {}),
        (1, "begin", {"cause": 4}),
    )
    assert (2, 4) == (taken.known(1, 0), taken.known(1, PROGRAM))


def test_an_effect_does_not_know_what_its_cause_learned_later() -> None:
    """The program caused replica 1's event before it received replica 0's message."""
    taken = clocks(
        2,
        (PROGRAM, "call", {}),
        (0, "write", {}),
        (PROGRAM, "receive", {"cause": 2}),
        (1, "begin", {"cause": 1}),
    )
    assert (0, 1) == (taken.known(1, 0), taken.known(1, PROGRAM))


def test_a_commit_knows_all_contributions_to_its_collective() -> None:
    at = {"call": 1, "position": 0}
    taken = clocks(2, (0, "write", at), (1, "write", at), (PROGRAM, "commit", at))
    assert (1, 2) == (taken.known(PROGRAM, 0), taken.known(PROGRAM, 1))


def test_an_answer_knows_exactly_the_arrivals_of_its_collective() -> None:
    at = {"call": 1, "position": 0}
    taken = clocks(
        2,
        (0, "arrive", at),
        (1, "arrive", at),
        (0, "arrive", at | {"position": 1}),
        (PROGRAM, "answer", at),
    )
    assert (1, 2) == (taken.known(PROGRAM, 0), taken.known(PROGRAM, 1))


def test_numbers_of_events_may_have_gaps() -> None:
    taken = Clocks(1)
    events = (
        Event(7, 0, 0, 0.0, "write"),
        Event(100, PROGRAM, 0, 0.0, "receive", cause=7),
        Event(101, PROGRAM, 1, 0.0, "receive", cause=50),  # event 50 is not recorded
    )
    Audience((taken,)).show(events)
    assert 7 == taken.known(PROGRAM, 0)
