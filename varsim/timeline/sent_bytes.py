"""Counters of the bytes that processes have given to others, for each variable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from varsim.analysis.step_traffic import size_bytes, size_of
from varsim.timeline.trace_events import Entry, counter
from varsim.tracing.history import Event, History

MOST_COUNTERS: Final = 8
"""Number of variables with a counter of their own. The others share one."""

_OTHERS: Final = "other variables"
_COLLECTIVES: Final = "collectives"

_GIVEN: Final = (
    "(kind = 'write' AND position IS NOT NULL) OR kind IN ('give', 'component', 'publish', 'push', "
    "'advance')"
)
_KINDS: Final = frozenset({"give", "component", "publish", "push", "advance"})


class SentBytes:
    """Counts the bytes of the values that replicas have given to the program."""

    def __init__(self, history: History, pid: int) -> None:
        self._pid = pid
        self._names = _counters(history)
        self._bytes: Counter[str] = Counter()
        self._changed: set[str] = set()

    def event(self, event: Event) -> None:
        """Count the value of an event, if it was given to another process."""
        is_contribution = event.kind == "write" and event.position is not None
        if event.process >= 0 and (is_contribution or event.kind in _KINDS):
            name = self._names.get(event.variable, _OTHERS)
            self._bytes[name] += size_of(event)
            self._changed.add(name)

    def counters(self, at_ns: int) -> Iterator[Entry]:
        """Yield the counters that have changed since they were last yielded."""
        for name in sorted(self._changed):
            yield counter(
                self._pid, f"given by replicas: {name}", at_ns, {"bytes": self._bytes[name]}
            )
        self._changed.clear()


def _counters(history: History) -> dict[int | None, str]:
    """Return the name of the counter of each variable that has its own; None is collectives."""
    given: Counter[int | None] = Counter()
    found = history.connection.execute(
        "SELECT variable, dtype, shape, count(*) FROM events "  # noqa: S608  # our own condition
        f"WHERE process >= 0 AND ({_GIVEN}) GROUP BY variable, dtype, shape"
    )
    for variable, dtype, shape, times in found:
        given[variable] += times * size_bytes(dtype, shape)
    most = [variable for variable, _ in given.most_common() if variable is not None]
    shown = [variable for variable in most[:MOST_COUNTERS] if variable in history.variables]
    return {None: _COLLECTIVES, **{one: history.variables[one].name for one in shown}}
