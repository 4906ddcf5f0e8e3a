"""Find replicas that make no progress, decide when to warn, and when to end their processes.

A replica makes progress when it arrives at a collective, when all replicas have arrived at a
collective, and when its function begins or ends. A request to the program is not progress, because
a replica that sends requests in an endless loop must also be noticed. The time in which a replica
waits for an answer does not count.

The state cannot examine processes. It returns an `Examine` for replicas without progress, and
compares the processor times of two examinations: a replica *computes* if its processor time has
grown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from varsim.texts.stalls import Activity
from varsim.value_class import value_class

PROMPT_S: Final = 0.1
"""An answer to a request is prompt if it comes within this time. The wait for a prompt answer
counts as time without progress. Otherwise a replica that sends requests in an endless loop would be
noticed late, because it waits half of the time."""

MOST_STACKS: Final = 4
"""Largest number of stacks in one report: more would be hard to read."""

_LOOK_S: Final = 2.5
"""The time between two examinations if there is no limit: the next call can have limits."""

_NEAR: Final = 0.9
"""When a replica reaches a limit, the report also names the replicas near the limit.

They have reached this fraction of it.
"""

_TICK_S: Final = 0.011
"""A smaller growth of processor time is not certain: most systems count it in ticks of 10 ms."""

_BUSY_SHARE: Final = 0.01
"""Fraction of a processor below which a process is blocked: it wakes up only to check something.

The fraction is small, because many workers may share one processor.
"""

_READY_SHARE: Final = 0.5
"""A process is busy if it computes or waits for a processor for more than this part of the time.

Waits count, because other processes may take nearly all of the processor's time.
"""


@value_class
class StallLimits:
    """The times after which a replica without progress is reported, or ends its call.

    Every limit is in seconds; 0 means never.
    """

    warn_s: float = 5.0
    blocked_s: float = 60.0  # for a replica that is blocked, or stopped by a signal
    computing_s: float = 600.0  # for a replica that computes, or whose activity is not known

    def changed(self, warn_s: float | None = None, fail_s: float | None = None) -> StallLimits:
        """Return these limits with other times; None means no change.

        Args:
            fail_s: The limit for every replica, whether it computes or not.
        """
        return StallLimits(
            self.warn_s if warn_s is None else warn_s,
            self.blocked_s if fail_s is None else fail_s,
            self.computing_s if fail_s is None else fail_s,
        )

    @property
    def step_s(self) -> float:
        """Return the time between two examinations."""
        every = (self.warn_s, self.blocked_s, self.computing_s)
        return min((limit_s / 2 for limit_s in every if limit_s), default=_LOOK_S)


DEFAULT_LIMITS: Final = StallLimits()


@value_class
class Sighting:
    """What the system shows about a replica's process."""

    process_id: int | None = None  # None if the replica has no separate process
    processor_s: float | None = None  # the processor time so far; None if it is not known
    ready_s: float | None = None  # `processor_s` plus waits for a processor; None if not known
    stopped: bool = False  # whether a signal has stopped the process
    stack: tuple[str, ...] = ()  # file:line and function, innermost first; empty if not known


def _is_busy(before: Sighting, now: Sighting, past_s: float) -> bool:
    """Return whether a process has computed in the `past_s` between two examinations."""
    computed_s = _grown(before.processor_s, now.processor_s)
    ready_s = _grown(before.ready_s, now.ready_s)
    return computed_s > max(_TICK_S, _BUSY_SHARE * past_s) or ready_s > _READY_SHARE * past_s


def _grown(before_s: float | None, now_s: float | None) -> float:
    """Return by how much a time has grown; 0 if this is not known."""
    return 0.0 if before_s is None or now_s is None else now_s - before_s


@value_class
class Quiet:
    """How long a replica has made no progress."""

    moved_s: float  # time of the replica's last progress
    lent_s: float = 0.0  # how long the replica has waited for the program since its last progress

    @property
    def since_s(self) -> float:
        """Return since when the replica has made no progress, without its waits for the program."""
        return self.moved_s + self.lent_s


def lent(waited_s: float) -> float:
    """Return for how long a replica waited for the program; 0 if the answer came promptly."""
    return waited_s if waited_s > PROMPT_S else 0.0


@dataclass(slots=True)
class _Watch:
    """What is known of one replica since its last progress."""

    quiet: Quiet
    busy_s: float = 0.0  # time of the last examination that found it computing; 0 if none did
    seen_s: float | None = None  # time of the last examination
    seen: Sighting = field(default_factory=Sighting)  # the result of the last examination
    activity: Activity | None = None  # None until the activity is known
    is_warned: bool = False  # whether the program was warned

    @property
    def since_s(self) -> float:
        """Return since when the replica has made no progress."""
        return self.quiet.since_s

    @property
    def idle_s(self) -> float:
        """Return since when the replica has made no progress and was not seen computing."""
        return max(self.since_s, self.busy_s)

    def see(self, sighting: Sighting, step_s: float, now_s: float) -> None:
        """Record an examination of the process.

        Args:
            step_s: The usual time between two examinations. In a much shorter time, the processor
                time of a busy process may not grow by a tick.
        """
        if sighting.stopped:
            self.activity = Activity.STOPPED
        elif sighting.processor_s is None:
            self.activity = Activity.UNKNOWN
        elif self.seen_s is not None:
            past_s = now_s - self.seen_s
            if _is_busy(self.seen, sighting, past_s):
                self.activity, self.busy_s = Activity.COMPUTING, now_s
            elif past_s >= step_s / 2:
                self.activity = Activity.BLOCKED
            else:
                return  # the next examination is compared with the one stored in `seen`
        self.seen_s, self.seen = now_s, sighting

    def limits(self, limits: StallLimits) -> Iterator[float]:
        """Yield the times at which the call fails if the replica makes no progress until then."""
        if limits.blocked_s and self.activity in {Activity.BLOCKED, Activity.STOPPED}:
            yield self.idle_s + limits.blocked_s
        if limits.computing_s:
            yield self.since_s + limits.computing_s

    def is_over(self, limits: StallLimits, now_s: float, share: float = 1.0) -> bool:
        """Return whether the replica has reached the `share` of the time until its call fails."""
        end_s = min(self.limits(limits), default=None)
        return end_s is not None and now_s >= self.since_s + share * (end_s - self.since_s)

    def is_noteworthy(self, limits: StallLimits, now_s: float, share: float = 1.0) -> bool:
        """Return whether the replica has reached the `share` of the time until a warning."""
        if not limits.warn_s or self.is_warned or self.activity is None:
            return False
        return now_s >= self.since_s + share * limits.warn_s


@value_class
class Judged:
    """The replicas to warn about now, and the replicas whose processes must end now."""

    told: tuple[int, ...] = ()
    ended: tuple[int, ...] = ()


class Stalls:
    """The replicas that the program waits for and that make no progress."""

    def __init__(self, limits: StallLimits) -> None:
        self.limits = limits
        self.look_at_s = 0.0
        """When the shell must give the state a `LookForStalls`."""
        self._watches: dict[int, _Watch] = {}

    def look(
        self, quiet: Mapping[int, Quiet], limits: StallLimits, now_s: float
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the replicas to examine, and the replicas among them whose stacks are needed.

        Args:
            quiet: replica_id → how long the replica has made no progress; only for replicas that
                must continue.
        """
        self._watches = {i: self._watch(i, one) for i, one in quiet.items()}
        self._schedule(limits, now_s)
        step_s = limits.step_s
        old = {i: one for i, one in self._watches.items() if now_s >= one.since_s + step_s}
        needed = [i for i, one in old.items() if self._may_be_due(one, limits, now_s)]
        return tuple(old), tuple(needed[:MOST_STACKS])

    def _watch(self, replica_id: int, quiet: Quiet) -> _Watch:
        one = self._watches.get(replica_id)
        if one is None or one.quiet.moved_s != quiet.moved_s:
            return _Watch(quiet)
        one.quiet = quiet
        return one

    def _may_be_due(self, one: _Watch, limits: StallLimits, now_s: float) -> bool:
        """Return whether this examination may lead to a report about a replica."""
        if limits.warn_s and not one.is_warned and now_s >= one.since_s + _NEAR * limits.warn_s:
            return True
        blocked_s, computing_s = _NEAR * limits.blocked_s, _NEAR * limits.computing_s
        return bool(
            (blocked_s and now_s >= one.idle_s + blocked_s)
            or (computing_s and now_s >= one.since_s + computing_s)
        )

    def judge(self, sightings: Mapping[int, Sighting], limits: StallLimits, now_s: float) -> Judged:
        """Record an examination of replicas; return the replicas that have reached a limit."""
        seen = {i: self._watches[i] for i in sightings if i in self._watches}
        for replica_id, one in seen.items():
            one.see(sightings[replica_id], limits.step_s, now_s)
        ended: tuple[int, ...] = ()
        told: tuple[int, ...] = ()
        if any(one.is_over(limits, now_s) for one in seen.values()):
            ended = tuple(i for i, one in seen.items() if one.is_over(limits, now_s, _NEAR))
        elif any(one.is_noteworthy(limits, now_s) for one in seen.values()):
            told = tuple(i for i, one in seen.items() if one.is_noteworthy(limits, now_s, _NEAR))
            for replica_id in told:
                seen[replica_id].is_warned = True
        self._schedule(limits, now_s)
        return Judged(told, ended)

    def activity(self, replica_id: int) -> tuple[Activity, float]:
        """Return the activity of a judged replica, and the time of its last progress."""
        one = self._watches[replica_id]
        return one.activity or Activity.UNKNOWN, one.since_s

    def _schedule(self, limits: StallLimits, now_s: float) -> None:
        """Set the time of the next examination: a replica's next limit, or else one step later."""
        self.look_at_s = now_s + limits.step_s
        for one in self._watches.values():
            times = [*one.limits(limits), one.idle_s + limits.blocked_s]
            if one.seen_s is None:
                times.append(one.since_s + limits.step_s)
            if not one.is_warned:
                times.append(one.since_s + limits.warn_s)
            for time_s in times:
                if now_s < time_s < self.look_at_s:
                    self.look_at_s = time_s
