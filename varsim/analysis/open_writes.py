"""Keep the writes and the commits of a replay that have not changed all components yet."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator

from varsim.analysis.components import ComponentState
from varsim.tracing.history import Event


class ReplayedMerge:
    """The contributions to one merge."""

    __slots__ = ("served", "writes")

    def __init__(self) -> None:
        self.writes: dict[int, Event] = {}  # replica → its contribution
        self.served: dict[int, int] = {}  # replica → the commit that changed its component


class PendingWrite:
    """One write by the program, and the components that the write has not changed yet."""

    __slots__ = ("event", "remaining")

    def __init__(self, event: Event, num_replicas: int) -> None:
        self.event = event
        replicas = range(num_replicas) if event.replica is None else (event.replica,)
        self.remaining = set(replicas)


class Change:
    """The effect of one commit."""

    __slots__ = ("components", "event", "installed", "merge", "write")

    def __init__(
        self, event: Event, merge: ReplayedMerge | None, write: PendingWrite | None
    ) -> None:
        self.event = event
        self.merge = merge  # the merge that the commit ends
        self.write = write  # the program's write, if the commit belongs to such a write
        # replica → its component before and after the commit
        self.components: dict[int, tuple[ComponentState, ComponentState]] = {}
        self.installed: int | None = None  # the first event in which a replica installed the commit


class OpenMerges:
    """The merges of all calls that have not ended."""

    def __init__(self) -> None:
        # call → position → the merge; for an ended merge, the event of its commit
        self._calls: dict[int, dict[int, ReplayedMerge | int]] = {}

    def write(self, event: Event) -> None:
        """Add a contribution."""
        assert event.call is not None
        assert event.position is not None
        merges = self._calls.setdefault(event.call, {})
        merge = merges.get(event.position)
        if merge is None:
            merge = merges[event.position] = ReplayedMerge()
        if isinstance(merge, ReplayedMerge) and event.process not in merge.writes:
            merge.writes[event.process] = event

    def known(self, event: Event) -> tuple[int, ...]:
        """Return the earlier event that proves that a contribution is too late, or repeated.

        Return () if the contribution is neither.
        """
        merge = self._calls.get(event.call or 0, {}).get(event.position or 0)
        if isinstance(merge, int):
            return (merge,)
        if merge is None or event.process not in merge.writes:
            return ()
        first = merge.writes[event.process].event
        return () if first == event.event else (first,)

    def commit(self, event: Event) -> ReplayedMerge:
        """Return the merge that the commit ends."""
        assert event.call is not None
        assert event.position is not None
        merge = self._calls.get(event.call, {}).get(event.position)
        if isinstance(merge, int):
            ended = ReplayedMerge()
            ended.served[event.process] = merge
            return ended
        return merge or ReplayedMerge()

    def served(self, change: Change) -> None:
        """Record that a merge was committed to some components."""
        merge, event = change.merge, change.event
        if merge is None or not merge.writes:
            return
        assert event.call is not None
        assert event.position is not None
        merge.served.update(dict.fromkeys(change.components, event.event))
        if len(merge.served) >= len(merge.writes):
            self._calls[event.call][event.position] = event.event

    def end(self, call: int | None) -> Iterator[ReplayedMerge]:
        """End a call, and yield those of its merges that have no commit."""
        if call is not None:
            for merge in self._calls.pop(call, {}).values():
                if isinstance(merge, ReplayedMerge) and not merge.served:
                    yield merge


class PendingWrites:
    """The program's own writes that are not committed yet."""

    def __init__(self) -> None:
        self._writes: defaultdict[int, deque[PendingWrite]] = defaultdict(deque)

    def write(self, event: Event, num_replicas: int) -> None:
        """Add a write."""
        assert event.variable is not None
        self._writes[event.variable].append(PendingWrite(event, num_replicas))

    def commit(self, event: Event) -> PendingWrite | None:
        """Return the write that the commit belongs to."""
        assert event.variable is not None
        for written in self._writes.get(event.variable, ()):
            to_all = event.replica is None and written.event.replica is None
            if to_all or event.replica in written.remaining:
                return written
        return None

    def served(self, change: Change) -> None:
        """Record that a write was committed to some components."""
        written, number = change.write, change.event.variable
        assert written is not None
        assert number is not None
        written.remaining -= change.components.keys()
        writes = self._writes[number]
        while writes and not writes[0].remaining:
            writes.popleft()

    def waiting(self, number: int) -> Event | None:
        """Return the first uncommitted write to a variable."""
        writes = self._writes.get(number)
        return writes[0].event if writes else None

    def give_up(self, number: int, replicas: Collection[int]) -> set[int]:
        """Expect no more commits for some replicas; return those that still lacked one."""
        lacking: set[int] = set()
        writes = self._writes.get(number, deque())
        for written in writes:
            lacking |= written.remaining.intersection(replicas)
            written.remaining.difference_update(replicas)
        while writes and not writes[0].remaining:
            writes.popleft()
        return lacking

    def left(self) -> Iterator[PendingWrite]:
        """Yield all uncommitted writes."""
        for writes in self._writes.values():
            yield from writes

    def forget(self, number: int) -> None:
        """Drop a variable."""
        self._writes.pop(number, None)


class CommitsInFlight:
    """Commits in transit to replicas."""

    def __init__(self, num_replicas: int) -> None:
        self._by_replica: list[dict[tuple[int, int], Change]] = [{} for _ in range(num_replicas)]
        self._by_variable: defaultdict[tuple[int, int], deque[Change]] = defaultdict(deque)

    def add(self, change: Change) -> None:
        """Send a commit to the replicas whose components it changes."""
        number = change.event.variable
        assert number is not None
        for replica in change.components:
            self._by_replica[replica][change.event.event, number] = change
            self._by_variable[number, replica].append(change)

    def of(self, number: int, replica: int) -> deque[Change]:
        """Return the commits in transit to one component, in the order sent."""
        return self._by_variable[number, replica]

    def take(self, event: Event) -> Change | None:
        """Return the commit that a replica installs; drop this commit and all earlier ones."""
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
        """Return the first commit that a replica has not installed."""
        return next(iter(self._by_replica[replica].values()), None)

    def left(self) -> Iterator[tuple[int, Change]]:
        """Yield all commits that have not arrived, each with its replica."""
        for replica, changes in enumerate(self._by_replica):
            for change in changes.values():
                yield replica, change

    def forget(self, number: int) -> None:
        """Drop a variable whose commits have arrived everywhere."""
        for replica in range(len(self._by_replica)):
            self._by_variable.pop((number, replica), None)
