"""One running call as the coordinator sees it: who is where, who waits, and who has ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from varsim.errors import Fix, MismatchError
from varsim.protocol.messages import (
    Collective,
    Contribution,
    HostCall,
    Meeting,
    Raised,
    Report,
    Returned,
    SyncRequest,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync import mismatch
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.mismatch_fixes import of_mismatch
from varsim.sync.participant import Arrival, Collectives, Participant, Plan, Status
from varsim.sync.stragglers import Straggler

GRACE_S = 0.5
"""Once a call can only fail, how long replicas that still run may take to come to where it failed.

What all of them do before that point stays in force, of several exceptions the lowest replica's is
the call's, and the error tells what each of them did; so the same program leaves the same values
and shows the same error, whatever the timing. Replicas that run the same code get there within
moments of each other, so after long work they have as long again as those who came, at least this.
"""

LONGEST_GRACE_S = 10.0
"""A replica may never come, as one in an endless loop, and the program waits for the error."""

Failure = MismatchError | tuple[int, Raised]
"""What ends a call: the replicas did not agree, or one of them raised."""


class CallState:
    """Pairs the collectives of the replicas of one call, and notices when they cannot be paired.

    The collectives of all replicas at one position are one collective. It is complete when all
    replicas have come. It can never be complete when a replica has ended before it, or when two
    arrivals are not alike. Since every replica comes in the order of its program, these are the
    only ways to be stuck. The call is then *doomed* at that position: earlier collectives still
    happen, later ones do not.

    Args:
        strict: Collectives without a name are not paired with those of another line.
        started_s: When the call started, by the clock of all other times.
        token: Names the call to the program.
    """

    def __init__(
        self,
        call_id: int,
        num_replicas: int,
        specs: Mapping[int, VariableSpec],
        site: CallSite = UNKNOWN,
        started_s: float = 0.0,
        *,
        strict: bool = False,
        token: int = 0,
    ) -> None:
        self.call_id = call_id
        self.token = token
        self.site = site
        self.started_s = started_s
        self.participants = [Participant() for _ in range(num_replicas)]
        self.next_position = 0  # of the first collective that has not happened
        self._specs = specs
        self._front = self.participants[0]  # the replica that has come furthest
        self._present = 0  # how many have come to the next collective
        self._returned = 0
        self._least_ended: int | None = None  # the lowest position of a replica that has ended
        self._asks: dict[int, HostCall] = {}
        self._in_service: int | None = None  # whose ask is being answered
        self._doomed_at: int | None = (
            None  # position of the first collective that cannot be complete
        )
        self._deadline_s = 0.0
        self._strict = strict
        self._since_s = started_s  # when all began, or had met last
        self._crossed: dict[frozenset[str], tuple[Collective, ...]] = {}  # by places, the first

    # ------------------------------------------------------------ collectives

    def arrive(
        self, replica_id: int, meeting: Meeting, now_s: float, plan: Plan | None = None
    ) -> list[Collectives]:
        """Note that a replica comes to its next collective, or with a contribution to several.

        Args:
            plan: Of a contribution: what it consists of.
        Returns:
            What is complete now, in order.
        """
        participant = self.participants[replica_id]
        assert meeting.position == participant.position, "a replica numbers its meetings in order"
        stop = meeting.position + (1 if plan is None else len(plan.writes))
        arrival = Arrival(meeting.position, stop, meeting, plan, now_s)
        participant.seen_at = arrival.at(stop - 1).location
        if not isinstance(meeting, Contribution):
            participant.status = Status.WAITING
            participant.waits_for = meeting
        differs_at = self._first_difference(participant, arrival)
        if differs_at is not None:
            self._doom(differs_at, now_s)
        if self._least_ended is not None and self._least_ended < stop:
            self._doom(self._least_ended, now_s)
        self._present += not participant.arrivals
        participant.arrivals.append(arrival)
        participant.position = stop
        if stop > self._front.position:
            self._front = participant
        return self._complete(now_s)

    def _first_difference(self, participant: Participant, arrival: Arrival) -> int | None:
        """Return where a new arrival is not like what the replica furthest ahead did there.

        All others agree with that replica, or the call is doomed before.
        """
        front = self._front
        if front is participant:
            return None
        for other in front.arrivals:
            if other.stop <= arrival.start:
                continue
            if other.start >= arrival.stop:
                break
            if _are_alike(other, arrival):
                return None
            for position in range(max(arrival.start, other.start), min(arrival.stop, other.stop)):
                points = other.at(position), arrival.at(position)
                if mismatch.differ(*points, self._specs, strict=self._strict):
                    return position
        return None

    def _complete(self, now_s: float) -> list[Collectives]:
        complete = []
        while self._present == len(self.participants):
            heads = [participant.arrivals[0] for participant in self.participants]
            stop = min(head.stop for head in heads)
            if self._doomed_at is not None:
                stop = min(stop, self._doomed_at)
            if stop <= self.next_position:
                break
            complete.append(Collectives(self.next_position, stop, heads))
            self.next_position = stop
            self._since_s = now_s
            self._note_crossing([head.collective for head in heads])
            for participant in self.participants:
                if participant.arrivals[0].stop == stop:
                    participant.arrivals.popleft()
                    self._present -= not participant.arrivals
        return complete

    def _note_crossing(self, meetings: Sequence[Meeting]) -> None:
        """Keep unnamed collectives that were paired although they stand in different lines."""
        points = tuple(one for one in meetings if not isinstance(one, Contribution))
        if any(mismatch.are_crossed(points[0], other) for other in points[1:]):
            self._crossed.setdefault(frozenset(one.location for one in points), points)

    def crossings(self) -> tuple[tuple[Collective, ...], ...]:
        """Return unnamed collectives of different lines that were paired, one for each set."""
        return tuple(self._crossed.values())

    def _doom(self, position: int, now_s: float) -> None:
        if self._doomed_at is None:
            took_s = now_s - self._since_s
            self._deadline_s = now_s + min(max(GRACE_S, took_s), LONGEST_GRACE_S)
        self._doomed_at = position if self._doomed_at is None else min(position, self._doomed_at)

    def release(self, collectives: Collectives) -> None:
        """Note that collectives are answered; the replicas that waited for them run again."""
        answered = not isinstance(collectives.arrivals[0].collective, Contribution)
        for participant in self.participants:
            waits_for = participant.waits_for
            if answered or (
                isinstance(waits_for, Waiting) and waits_for.position < collectives.stop
            ):
                self.resume(participant)

    def resume(self, participant: Participant) -> None:
        """Note that a replica that waited has its answer."""
        if participant.status is Status.WAITING:
            participant.status = Status.RUNNING
            participant.waits_for = None

    def idle(self) -> list[int]:
        """Return the replicas that run nothing now: they wait, or have ended."""
        running = Status.RUNNING
        return [i for i, p in enumerate(self.participants) if p.status is not running]

    # ------------------------------------------------------------ waits and asks

    def wait(self, replica_id: int, waiting: Waiting) -> None:
        """Note that a replica's program waits for a commit, unless that is already on its way."""
        participant = self.participants[replica_id]
        participant.seen_at = waiting.location
        if waiting.position >= self.next_position:
            participant.status = Status.WAITING
            participant.waits_for = waiting

    def demand(self, replica_id: int, demand: SyncRequest) -> None:
        """Note that a replica's program waits for the exchange of deferred writes of a variable."""
        self.participants[replica_id].status = Status.WAITING
        self.participants[replica_id].waits_for = demand
        self.participants[replica_id].seen_at = demand.location

    def settle(self, variable_id: int, count: int) -> None:
        """Note that so many deferred writes are exchanged; replicas that waited run again."""
        for participant in self.participants:
            waits_for = participant.waits_for
            if not isinstance(waits_for, SyncRequest):
                continue
            if (waits_for.delta.variable_id, waits_for.delta.count) == (variable_id, count):
                self.resume(participant)

    def ask(self, replica_id: int, ask: HostCall) -> None:
        """Note that a replica waits for the program to do something; see `next_ask`."""
        self.participants[replica_id].status = Status.WAITING
        self.participants[replica_id].waits_for = ask
        self.participants[replica_id].seen_at = ask.location
        self._asks[replica_id] = ask

    def next_ask(self) -> tuple[int, HostCall] | None:
        """Return the host call to perform now: of the lowest replica whose writes are committed.

        It waits until no lower replica runs. So what replicas do to things outside the cluster
        happens in replica order between meeting points, as TensorFlow runs them.
        """
        if self._in_service is not None or not self._asks:
            return None
        for replica_id, ask in sorted(self._asks.items()):
            lower = self.participants[:replica_id]
            if any(participant.status is Status.RUNNING for participant in lower):
                return None
            asker = self.participants[replica_id]
            if self._doomed_at is not None and asker.position > self._doomed_at:
                continue
            if not asker.arrivals:
                del self._asks[replica_id]
                self._in_service = replica_id
                return replica_id, ask
        return None

    def answered(self, replica_id: int) -> None:
        """Note that a replica has the result of its host call, and runs again."""
        self._in_service = None
        self.resume(self.participants[replica_id])

    @property
    def in_service(self) -> int | None:
        """Return the replica whose host call the program performs now."""
        return self._in_service

    # ------------------------------------------------------------ the end

    def end(self, replica_id: int, ended: Returned | Raised, now_s: float) -> None:
        """Note that a replica's function has returned or raised."""
        participant = self.participants[replica_id]
        participant.ended = ended
        participant.status = Status.ENDED
        participant.waits_for = None
        self._returned += isinstance(ended, Returned)
        if self._least_ended is None or participant.position < self._least_ended:
            self._least_ended = participant.position
        if isinstance(ended, Raised) or self._front.position > participant.position:
            self._doom(participant.position, now_s)

    @property
    def doomed(self) -> bool:
        """Return whether the call can only fail."""
        return self._doomed_at is not None

    @property
    def deadline_s(self) -> float | None:
        """Return when the result of `failure` may change although no message came."""
        return None if self._doomed_at is None else self._deadline_s

    def failure(self, now_s: float, *, exchanging: bool = False) -> Failure | None:
        """Return what ends this call, once no replica still runs towards where it failed.

        Args:
            exchanging: Deltas of deferred writes are on their way: waiting replicas may run on.
        """
        position = self._doomed_at
        if position is None:
            return None
        running = any(p.status is Status.RUNNING for p in self.participants)
        passing = (HostCall, SyncRequest) if running or exchanging else HostCall
        coming = any(
            p.position <= position
            and (p.status is Status.RUNNING or isinstance(p.waits_for, passing))
            for p in self.participants
        )
        if coming and now_s < self._deadline_s:
            return None
        for replica_id, participant in enumerate(self.participants):
            if isinstance(participant.ended, Raised) and participant.position == position:
                return replica_id, participant.ended
        return self._mismatch(position)

    def _mismatch(self, position: int) -> MismatchError:
        unlike = mismatch.unlike(position, self.participants, self._specs, strict=self._strict)
        if unlike is not None:
            return unlike.fixed_by(self._fixes(position))
        return mismatch.absent(position, self.participants, self._specs)

    def _fixes(self, position: int) -> Iterable[Fix]:
        """Return what would have made these arrivals one collective, if all replicas have come."""
        points = [participant.point(position) for participant in self.participants]
        came = [point for point in points if point is not None]
        if len(came) < len(points):
            return ()
        values = [participant.values(position) for participant in self.participants]
        return of_mismatch(came, values, self._specs)

    @property
    def finished(self) -> bool:
        """Return whether every replica has returned, and every collective was complete."""
        return (
            self._returned == len(self.participants) and self.next_position == self._front.position
        )

    def returned(self) -> tuple[Returned, ...]:
        """Return what every replica returned, once the call is finished."""
        return tuple(p.ended for p in self.participants if isinstance(p.ended, Returned))

    def reports(self) -> tuple[tuple[int, Report], ...]:
        """Return the reports of the replicas whose functions have ended, in replica order."""
        return tuple(
            (i, p.ended.report) for i, p in enumerate(self.participants) if p.ended is not None
        )

    def running(self) -> list[int]:
        """Return the replicas that neither wait nor have ended."""
        return [i for i, p in enumerate(self.participants) if p.status is Status.RUNNING]

    def stuck(self, now_at: Mapping[int, str]) -> list[str]:
        """Return which replicas wait where, and which run, for the error of a time-out.

        Args:
            now_at: The lines at which replicas are now, as far as that is known.
        """
        return mismatch.standstill(self.participants, self._specs, now_at)

    def stragglers(self, because: str, *, by_program: bool, now_s: float) -> Iterator[Straggler]:
        """Return the replicas whose functions have not ended, when the call is over."""
        for replica_id, one in enumerate(self.participants):
            if one.ended is None:
                yield Straggler(
                    replica_id, self.site, self.started_s, now_s, because, by_program, one.seen_at
                )

    def validate(self) -> None:
        """Assert what must hold after every event."""
        assert self._front.position == max(p.position for p in self.participants)
        assert self._present == sum(bool(p.arrivals) for p in self.participants)
        for participant in self.participants:
            assert (participant.status is Status.WAITING) == (participant.waits_for is not None)
            assert (participant.status is Status.ENDED) == (participant.ended is not None)
            at = self.next_position
            for arrival in participant.arrivals:
                assert arrival.start <= at < arrival.stop
                at = arrival.stop
            assert at == max(participant.position, self.next_position)


def _are_alike(one: Arrival, other: Arrival) -> bool:
    """Return whether two contributions have the same writes at the same positions."""
    if one.plan is None or other.plan is None or one.start != other.start:
        return False
    return one.plan.arrangement is other.plan.arrangement
