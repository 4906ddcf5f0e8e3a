"""Observers of the events of a history, and one pass that gives each event to all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from varsim.analysis.arithmetic import quiet
from varsim.tracing.history import Event

Take = Callable[[Event], None]


class EventObserver:
    """Gets events in causal order, each event exactly once.

    The method `on_read` gets every read. `on_read_by_program` gets only the program's reads, and
    `on_read_by_replica` only the replicas' reads. Other kinds of event have such methods, too. An
    observer gets an event only if it has a method for the event, and if `concerns` returns True for
    the event's variable.
    """

    def concerns(self, variable: int | None) -> bool:  # noqa: ARG002  # all, by default
        """Return whether the observer gets the events of a variable; None stands for no variable.

        The answer must be the same at every call.
        """
        return True

    def taker(self, kind: str, *, by_program: bool) -> Take | None:
        """Return the method for events of a kind by the program or by replicas, or None."""
        by = "program" if by_program else "replica"
        found: Take | None = getattr(self, f"on_{kind}_by_{by}", None)
        if found is None:
            found = getattr(self, f"on_{kind}", None)
        return found


class Audience:
    """Observers that each get every event, in a fixed order."""

    def __init__(self, observers: Sequence[EventObserver]) -> None:
        self._program = _TakersByKind(observers, by_program=True)
        self._replicas = _TakersByKind(observers, by_program=False)

    def show(self, events: Iterable[Event], accepts: Callable[[Event], bool] | None = None) -> bool:
        """Pass events to the observers.

        Args:
            accepts: A function that gets each event first; False ends the pass before this event.
        Returns:
            Whether all events were shown.
        """
        program, replicas = self._program, self._replicas
        with quiet():
            for event in events:
                if accepts is not None and not accepts(event):
                    return False
                # process, kind and variable: an index is twice as fast as a name
                kinds = program if event[1] < 0 else replicas
                for take in kinds[event[4]][event[6]]:
                    take(event)
        return True


class _TakersByKind(dict[str, "_TakersByVariable"]):
    """Methods that take events, by kind and then by variable. Each is found at its first use."""

    def __init__(self, observers: Sequence[EventObserver], *, by_program: bool) -> None:
        super().__init__()
        self._observers = observers
        self._by_program = by_program

    def __missing__(self, kind: str) -> _TakersByVariable:
        found = [(one, one.taker(kind, by_program=self._by_program)) for one in self._observers]
        self[kind] = _TakersByVariable([(one, take) for one, take in found if take is not None])
        return self[kind]


class _TakersByVariable(dict[int | None, tuple[Take, ...]]):
    def __init__(self, takers: Sequence[tuple[EventObserver, Take]]) -> None:
        super().__init__()
        self._takers = takers

    def __missing__(self, variable: int | None) -> tuple[Take, ...]:
        self[variable] = tuple(take for one, take in self._takers if one.concerns(variable))
        return self[variable]
