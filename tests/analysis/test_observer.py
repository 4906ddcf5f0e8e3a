"""One pass: every event is shown once, to those that ask for such events."""

from __future__ import annotations

from pathlib import Path

from tests.analysis.healthy import Healthy
from varsim.analysis.examination import examine
from varsim.analysis.observer import Audience, Observer
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


class Notes(Observer):
    """Writes down what it is shown."""

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
        self.said.append(f"{event.event} by anybody")


def test_an_observer_is_shown_what_it_has_a_method_for():
    notes = Notes()
    assert Audience((notes,)).show(EVENTS)

    assert [
        "1 by the program",
        "2 by a replica",
        "3 by a replica",
        "4 by anybody",
        "5 by anybody",
    ] == notes.said


def test_an_observer_is_shown_only_variables_that_concern_it():
    notes = Notes(only=2)
    Audience((notes,)).show(EVENTS)

    assert ["3 by a replica", "5 by anybody"] == notes.said


def test_who_stands_first_is_shown_an_event_first():
    first, second = Notes(), Notes()
    first.said = second.said
    Audience((first, second)).show(EVENTS[:2])

    assert ["1 by the program"] * 2 + ["2 by a replica"] * 2 == first.said


def test_nothing_is_shown_from_the_first_event_on_that_is_not_accepted():
    notes = Notes()
    assert not Audience((notes,)).show(EVENTS, lambda one: one.event < 2)

    assert ["1 by the program"] == notes.said


def test_a_history_is_examined_in_one_pass_with_what_two_would_say(tmp_path: Path):
    with Healthy(3).history(tmp_path) as history:
        verdicts, findings = judge(history), find(history)
        statements: list[str] = []
        history.connection.set_trace_callback(statements.append)
        examined = examine(history)

    assert 1 == len([one for one in statements if one.startswith("SELECT * FROM events WHERE 1 ")])
    assert (verdicts, findings) == (examined.verdicts, examined.findings)
