"""One pass over a history: every event is given once to the observers that handle its kind."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.healthy import Healthy
from varsim.analysis.causes import with_causes
from varsim.analysis.examination import examine
from varsim.analysis.observer import Audience, EventObserver
from varsim.analysis.search import find
from varsim.analysis.verdict import judge
from varsim.tracing.history import PROGRAM, Event


def event(number: int, process: int, kind: str, variable: int | None = None) -> Event:
    return Event(number, process, 0, 0.0, kind, variable=variable)


EVENTS = (
    event(1, PROGRAM, "write", 1),
    event(2, 0, "write", 1),
    event(3, 0, "write", 2),
    event(4, PROGRAM, "read", 1),
    event(5, 1, "read", 2),
    event(6, PROGRAM, "finish"),
)


class Notes(EventObserver):
    """An observer that stores the numbers of its events."""

    def __init__(self, only: int | None = None) -> None:
        self.said: list[str] = []
        self._only = only

    def concerns(self, variable: int | None) -> bool:
        return self._only in {None, variable}

    def on_write_by_replica(self, event: Event) -> None:
        self.said.append(f"{event.event} by a replica")

    def on_write_by_program(self, event: Event) -> None:
        self.said.append(f"{event.event} by the program")

    def on_read(self, event: Event) -> None:
        self.said.append(f"{event.event} by any process")


def test_an_observer_gets_the_events_for_which_it_has_methods():
    notes = Notes()
    assert Audience((notes,)).show(EVENTS)

    assert [
        "1 by the program",
        "2 by a replica",
        "3 by a replica",
        "4 by any process",
        "5 by any process",
    ] == notes.said


def test_an_observer_gets_only_events_of_its_variables():
    notes = Notes(only=2)
    Audience((notes,)).show(EVENTS)

    assert ["3 by a replica", "5 by any process"] == notes.said


def test_the_first_observer_gets_an_event_first():
    first, second = Notes(), Notes()
    first.said = second.said
    Audience((first, second)).show(EVENTS[:2])

    assert ["1 by the program"] * 2 + ["2 by a replica"] * 2 == first.said


def test_the_pass_ends_at_an_event_that_is_not_accepted():
    notes = Notes()
    assert not Audience((notes,)).show(EVENTS, lambda one: one.event < 2)

    assert ["1 by the program"] == notes.said


def test_one_pass_gives_the_verdicts_and_findings_of_two_passes(tmp_path: Path):
    with Healthy(3).history(tmp_path) as history:
        verdicts, findings = judge(history), with_causes(history, find(history))
        statements: list[str] = []
        history.connection.set_trace_callback(statements.append)
        examined = examine(history)
        expected = verdicts, with_causes(history, findings)

    assert 1 == len([one for one in statements if " FROM events WHERE 1 " in one])
    assert expected == (examined.verdicts, examined.findings)
