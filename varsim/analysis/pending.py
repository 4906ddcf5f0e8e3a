"""What a history has begun and not ended yet: meetings, the program's writes, commits on their way.

What has ended is dropped, so that a long history needs no more memory than a short one.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from varsim.tracing.history import Event

if TYPE_CHECKING:
    from varsim.analysis.replay import Component


class Contributions:
    """The writes that meet at one point of a call."""

    __slots__ = ("served", "writes")

    def __init__(self) -> None:
        self.writes: dict[int, Event] = {}  # by replica
        self.served: dict[int, int] = {}  # by replica, the commit that its component got


class Written:
    """One write by the program, and the components that it has not reached yet."""

    __slots__ = ("event", "remaining")

    def __init__(self, event: Event, num_replicas: int) -> None:
        self.event = event
        everybody = range(num_replicas) if event.replica is None else (event.replica,)
        self.remaining = set(everybody)


class Change:
    """What one commit does."""

    __slots__ = ("components", "contributions", "event", "installed", "write")

    def __init__(
        self, event: Event, contributions: Contributions | None, write: Written | None
    ) -> None:
        self.event = event
        self.contributions = contributions  # of the meeting that it ends
        self.write = write  # of the program, if it is one's commit
        self.components: dict[int, tuple[Component, Component]] = {}  # before and after
        self.installed: int | None = None  # the first event in which a replica got it


class Meetings:
    """The meetings of all calls that have not ended, as far as replicas write in them."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[int, Contributions | int]] = {}
        # Of a meeting that has ended, only the commit is kept.

    def write(self, event: Event) -> None:
        """A replica contributes."""
        assert event.call is not None
        assert event.meeting is not None
        meetings = self._calls.setdefault(event.call, {})
        contributions = meetings.get(event.meeting)
        if contributions is None:
            contributions = meetings[event.meeting] = Contributions()
        if isinstance(contributions, Contributions) and event.process not in contributions.writes:
            contributions.writes[event.process] = event

    def known(self, event: Event) -> tuple[int, ...]:
        """The events before a contribution that make it one too many; none if it is not."""
        contributions = self._calls.get(event.call or 0, {}).get(event.meeting or 0)
        if isinstance(contributions, int):
            return (contributions,)
        if contributions is None or event.process not in contributions.writes:
            return ()
        first = contributions.writes[event.process].event
        return () if first == event.event else (first,)

    def commit(self, event: Event) -> Contributions:
        """What a commit says that it ends."""
        assert event.call is not None
        assert event.meeting is not None
        contributions = self._calls.get(event.call, {}).get(event.meeting)
        if isinstance(contributions, int):
            ended = Contributions()
            ended.served[event.process] = contributions
            return ended
        return contributions or Contributions()

    def served(self, change: Change) -> None:
        """A commit was made of contributions, for some components."""
        contributions, event = change.contributions, change.event
        if contributions is None or not contributions.writes:
            return
        assert event.call is not None
        assert event.meeting is not None
        contributions.served.update(dict.fromkeys(change.components, event.event))
        if len(contributions.served) >= len(contributions.writes):
            self._calls[event.call][event.meeting] = event.event

    def end(self, call: int | None) -> Iterator[Contributions]:
        """A call has ended; those of its meetings that no commit ended."""
        if call is not None:
            for contributions in self._calls.pop(call, {}).values():
                if isinstance(contributions, Contributions) and not contributions.served:
                    yield contributions


class ByProgram:
    """The program's own writes that are not committed yet."""

    def __init__(self) -> None:
        self._writes: defaultdict[int, deque[Written]] = defaultdict(deque)

    def write(self, event: Event, num_replicas: int) -> None:
        """The program writes."""
        assert event.variable is not None
        self._writes[event.variable].append(Written(event, num_replicas))

    def commit(self, event: Event) -> Written | None:
        """The write that a commit belongs to."""
        assert event.variable is not None
        for written in self._writes.get(event.variable, ()):
            to_all = event.replica is None and written.event.replica is None
            if to_all or event.replica in written.remaining:
                return written
        return None

    def served(self, change: Change) -> None:
        """A write was committed, to some components."""
        written, number = change.write, change.event.variable
        assert written is not None
        assert number is not None
        written.remaining -= change.components.keys()
        writes = self._writes[number]
        while writes and not writes[0].remaining:
            writes.popleft()

    def waiting(self, number: int) -> Event | None:
        """The first write to a variable that is not committed yet."""
        writes = self._writes.get(number)
        return writes[0].event if writes else None

    def left(self) -> Iterator[Written]:
        """All that are not committed."""
        for writes in self._writes.values():
            yield from writes

    def forget(self, number: int) -> None:
        """A variable is no more."""
        self._writes.pop(number, None)


class Sent:
    """Commits on their way to replicas."""

    def __init__(self, num_replicas: int) -> None:
        self._by_replica: list[dict[tuple[int, int], Change]] = [{} for _ in range(num_replicas)]
        self._by_variable: defaultdict[tuple[int, int], deque[Change]] = defaultdict(deque)

    def add(self, change: Change) -> None:
        """A commit leaves for the replicas whose components it changes."""
        number = change.event.variable
        assert number is not None
        for replica in change.components:
            self._by_replica[replica][change.event.event, number] = change
            self._by_variable[number, replica].append(change)

    def of(self, number: int, replica: int) -> deque[Change]:
        """Those to one component, first sent first."""
        return self._by_variable[number, replica]

    def take(self, event: Event) -> Change | None:
        """The commit that a replica installs; what was sent before it will not come any more."""
        assert event.variable is not None
        assert event.cause is not None
        mine = self._by_replica[event.process]
        change = mine.get((event.cause, event.variable))
        if change is None:
            return None
        coming = self._by_variable[event.variable, event.process]
        while coming:
            first = coming.popleft()
            mine.pop((first.event.event, event.variable), None)
            if first is change:
                break
        return change

    def oldest(self, replica: int) -> Change | None:
        """The first that a replica has not got yet."""
        return next(iter(self._by_replica[replica].values()), None)

    def left(self) -> Iterator[tuple[int, Change]]:
        """All that have not arrived, with the replica that they were sent to."""
        for replica, changes in enumerate(self._by_replica):
            for change in changes.values():
                yield replica, change

    def forget(self, number: int) -> None:
        """A variable is no more."""
        for replica, changes in enumerate(self._by_replica):
            for change in self._by_variable.pop((number, replica), ()):
                changes.pop((change.event.event, number), None)
