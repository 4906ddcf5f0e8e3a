"""Keep track of one running call: where each replica runs, waits or has ended."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from varsim.errors import Fix, MismatchError, ProtocolError
from varsim.protocol.messages import (
    CollectiveMessage,
    Contribution,
    ExplicitCollective,
    HostCall,
    Raised,
    Report,
    Returned,
    Scatter,
    SyncRequest,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync import mismatch
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.description import doing, last_operation
from varsim.sync.mismatch_fixes import of_mismatch
from varsim.sync.participant import Arrival, Collectives, Participant, Plan, Status
from varsim.sync.stalls import Quiet, StallLimits
from varsim.sync.stragglers import Straggler
from varsim.texts.facts import Fact
from varsim.texts.replicas import Group, grouped

GRACE_S = 0.5
"""Shortest time that running replicas have to reach the position at which a call has failed.

Operations at earlier positions still take effect. If several replicas raise at this position, the
call raises the exception of the replica with the lowest id. If the collectives differ, the error
says what each replica did. Without a wait, the values and the error would depend on the timing.
Replicas that run the same code need nearly the same time from one collective to the next. So the
coordinator waits as long as the first replica at this position needed since the last collective,
but at least GRACE_S.
"""

LONGEST_GRACE_S = 10.0
"""Longest wait for running replicas: a replica in an endless loop never arrives."""

PROMPT_S: Final = 0.1
"""An answer to a request is prompt if it comes within this time. The wait for a prompt answer
counts as time without progress. Otherwise a replica that sends requests in an endless loop would be
noticed late, because it waits half of the time."""

_WRITES: Final = (Contribution, Scatter)
"""The collectives that a replica does not wait for; `isinstance` is slower with a union."""

Failure = MismatchError | tuple[int, Raised]
"""The reason why a call fails: a mismatch of the replicas, or an exception of one replica."""


class CallState:
    """Pairs the collectives of the replicas of one call, and detects mismatches.

    The arrivals of all replicas at one position form one collective. The collective is complete
    when all replicas have arrived. The collective can never be complete if a replica's function has
    ended before this position, or if two arrivals differ. Then the call is *doomed* at this
    position: collectives at earlier positions still happen, collectives at later positions do not.
    Every replica arrives in the order of its program, so a call cannot get stuck for any other
    reason.

    Args:
        num_replicas: The number of replicas that take part in the call: always the first replicas.
        strict: Whether to refuse a collective without a name if the replicas' lines differ.
        started_s: The time at which the call started. All times are from the same clock.
        token: Identifies the call for the program.
        limits: The limits of replicas without progress; None for the strategy's limits.
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
        limits: StallLimits | None = None,
    ) -> None:
        self.call_id = call_id
        self.token = token
        self.limits = limits
        self.site = site
        self.started_s = started_s
        self.participants = [Participant() for _ in range(num_replicas)]
        self.next_position = 0  # the position of the first collective that has not happened
        self._specs = specs
        self._front = self.participants[0]  # the replica that is furthest ahead
        self._present = 0  # the number of replicas that have arrived at `next_position`
        self._returned = 0
        self._least_ended: int | None = None  # the lowest position at which a replica has ended
        self._host_calls: dict[int, HostCall] = {}
        self._in_service: int | None = None  # the replica whose host call the program performs
        self._doomed_at: int | None = None  # the position at which the call is doomed
        self._deadline_s = 0.0
        self._strict = strict
        self._since_s = started_s  # the start of the call, or its last collective
        self._crossed: dict[frozenset[str], tuple[ExplicitCollective, ...]] = {}  # see `crossings`

    # ------------------------------------------------------------ collectives

    def arrive(
        self, replica_id: int, message: CollectiveMessage, now_s: float, plan: Plan | None = None
    ) -> list[Collectives]:
        """Record that a replica arrives at its next collective, or contributes to several.

        Args:
            plan: The writes of a contribution; None for other collectives.
        Returns:
            The collectives that this arrival completes, in order.
        """
        participant = self._running(replica_id)
        if message.position != participant.position:
            raise ProtocolError(
                f"replica {replica_id} is at collective {message.position} instead of "
                f"{participant.position}"
            )
        stop = message.position + (1 if plan is None else len(plan.writes))
        arrival = Arrival(message.position, stop, message, plan, now_s)
        participant.last = plan
        if plan is None:
            collective = arrival.at(message.position)
            if isinstance(message, Scatter):
                participant.last = message.write
            elif not isinstance(message, Contribution):
                participant.last, participant.last_at = message.__class__, collective.location
                participant.status = Status.WAITING
                participant.waits_for = message
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

    def _running(self, replica_id: int) -> Participant:
        """Return a replica that can send messages of the call now.

        Raises:
            ProtocolError: The replica takes no part in the call, waits for an answer, or has ended.
        """
        if replica_id >= len(self.participants):
            raise ProtocolError(f"replica {replica_id} takes no part in call {self.call_id}")
        participant = self.participants[replica_id]
        if participant.status is not Status.RUNNING:
            raise ProtocolError(
                f"replica {replica_id} has sent a message, although it {participant.status.value}"
            )
        return participant

    def _first_difference(self, participant: Participant, arrival: Arrival) -> int | None:
        """Return the first position at which an arrival differs from the arrivals of `_front`.

        A comparison with the furthest replica is sufficient: all other replicas agree with it, or
        the call is already doomed at an earlier position.
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
                pair = other.at(position), arrival.at(position)
                if mismatch.differ(*pair, self._specs, strict=self._strict):
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
            self._note_crossing([head.message for head in heads])
            for participant in self.participants:
                if participant.arrivals[0].stop == stop:
                    participant.arrivals.popleft()
                    self._present -= not participant.arrivals
        return complete

    def _note_crossing(self, messages: Sequence[CollectiveMessage]) -> None:
        """Record unnamed collectives that were paired although their lines differ."""
        collectives = tuple(one for one in messages if not isinstance(one, _WRITES))
        if any(mismatch.are_crossed(collectives[0], other) for other in collectives[1:]):
            self._crossed.setdefault(frozenset(one.location for one in collectives), collectives)

    def crossings(self) -> tuple[tuple[ExplicitCollective, ...], ...]:
        """Return unnamed collectives that were paired across lines, one group per set of lines."""
        return tuple(self._crossed.values())

    def _doom(self, position: int, now_s: float) -> None:
        if self._doomed_at is None:
            took_s = now_s - self._since_s
            self._deadline_s = now_s + min(max(GRACE_S, took_s), LONGEST_GRACE_S)
        self._doomed_at = position if self._doomed_at is None else min(position, self._doomed_at)

    def release(self, collectives: Collectives) -> None:
        """Record that collectives are answered, so that the replicas that waited continue."""
        answered = not isinstance(collectives.arrivals[0].message, _WRITES)
        for participant in self.participants:
            waits_for = participant.waits_for
            if answered or (
                isinstance(waits_for, Waiting) and waits_for.position < collectives.stop
            ):
                self.resume(participant)

    def resume(self, participant: Participant) -> None:
        """Record that a waiting replica has its answer."""
        if participant.status is Status.WAITING:
            participant.status = Status.RUNNING
            participant.waits_for = None

    def idle(self) -> list[int]:
        """Return the replicas that do not run their function now: they wait, or have ended."""
        running = Status.RUNNING
        return [i for i, p in enumerate(self.participants) if p.status is not running]

    # ------------------------------------------------------------ waits and host calls

    def wait(self, replica_id: int, waiting: Waiting) -> None:
        """Record that a replica waits for a commit, unless the commit has already been sent."""
        participant = self._running(replica_id)
        participant.last = waiting
        if waiting.position >= self.next_position:
            participant.status = Status.WAITING
            participant.waits_for = waiting

    def request_sync(self, replica_id: int, request: SyncRequest) -> None:
        """Record that a replica waits for the exchange of deferred writes of a variable."""
        participant = self._running(replica_id)
        participant.status = Status.WAITING
        participant.waits_for = request
        participant.last, participant.last_at = SyncRequest, request.location

    def settle(self, variable_id: int, count: int, now_s: float) -> None:
        """Record that `count` deferred writes are exchanged; waiting replicas continue."""
        self._since_s = now_s
        for participant in self.participants:
            waits_for = participant.waits_for
            if not isinstance(waits_for, SyncRequest):
                continue
            if (waits_for.delta.variable_id, waits_for.delta.count) == (variable_id, count):
                self.resume(participant)

    def request_host_call(self, replica_id: int, host_call: HostCall, now_s: float = 0.0) -> None:
        """Record that a replica waits for a host call; see `next_host_call`."""
        participant = self._running(replica_id)
        participant.status = Status.WAITING
        participant.waits_for = host_call
        participant.last, participant.last_at = HostCall, host_call.location
        participant.asked_s = now_s
        self._host_calls[replica_id] = host_call

    @property
    def has_host_calls(self) -> bool:
        """Return whether a replica waits for a host call that is not performed yet."""
        return bool(self._host_calls)

    def next_host_call(self, ahead: Collection[int] = ()) -> tuple[int, HostCall] | None:
        """Return the host call to perform now; None if no host call can be performed.

        A host call can be performed if its replica's writes are committed and no replica with a
        lower id runs. If several host calls can be performed, the replica with the lowest id is the
        first. So side effects outside the cluster happen in replica order between two collectives,
        as in TensorFlow.

        Args:
            ahead: The replicas with deferred writes that another replica has not made yet. Under
                ON_WRITE these writes would not be committed yet, and the host calls of these
                replicas would wait. So they wait here, too. If no replica can continue, the host
                call is performed, and a read reports the mismatch.
        """
        if self._in_service is not None or not self._host_calls:
            return None
        ready = list(self._ready_host_calls())
        even = [replica_id for replica_id in ready if replica_id not in ahead]
        if not even and not self.running():
            even = ready
        if not even:
            return None
        self._in_service = even[0]
        return even[0], self._host_calls.pop(even[0])

    def _ready_host_calls(self) -> Iterator[int]:
        """Yield the replicas whose host calls can be performed, in order."""
        for replica_id in sorted(self._host_calls):
            lower = self.participants[:replica_id]
            if any(participant.status is Status.RUNNING for participant in lower):
                return
            replica = self.participants[replica_id]
            if self._doomed_at is not None and replica.position > self._doomed_at:
                continue
            if not replica.arrivals:
                yield replica_id

    def answered(self, replica_id: int, now_s: float = 0.0) -> None:
        """Record that a replica has the result of its host call and continues to run."""
        self._in_service = None
        participant = self.participants[replica_id]
        if participant.lent_at != participant.position:
            participant.lent_at, participant.lent_s = participant.position, 0.0
        participant.lent_s += _lent(now_s - participant.asked_s)
        self.resume(participant)

    def merged(self, now_s: float) -> None:
        """Record that the function of a merge_call has returned; all replicas continue to run."""
        self._since_s = now_s
        for participant in self.participants:
            self.resume(participant)

    @property
    def in_service(self) -> int | None:
        """Return the replica whose host call the program performs now."""
        return self._in_service

    # ------------------------------------------------------------ the end

    def end(self, replica_id: int, ended: Returned | Raised, now_s: float) -> None:
        """Record that a replica's function has returned or raised."""
        participant = self._running(replica_id)
        participant.ended = ended
        participant.status = Status.ENDED
        participant.waits_for = None
        has_returned = isinstance(ended, Returned)
        self._returned += has_returned
        if self._least_ended is None or participant.position < self._least_ended:
            self._least_ended = participant.position
        if not has_returned or self._front.position > participant.position:
            self._doom(participant.position, now_s)

    @property
    def doomed(self) -> bool:
        """Return whether the call can only fail."""
        return self._doomed_at is not None

    @property
    def deadline_s(self) -> float | None:
        """Return when to call `failure` if no message arrives; None if the call is not doomed."""
        return None if self._doomed_at is None else self._deadline_s

    def failure(self, now_s: float, *, exchanging: bool = False) -> Failure | None:
        """Return why the call fails; None if it is not doomed, or must still wait for replicas.

        Args:
            exchanging: Whether the coordinator waits for deltas of deferred writes. In this case,
                replicas that wait for the exchange can still continue.
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
        """Return fixes that make the arrivals one collective; none if a replica is missing."""
        collectives = [participant.collective(position) for participant in self.participants]
        came = [collective for collective in collectives if collective is not None]
        if len(came) < len(collectives):
            return ()
        values = [participant.values(position) for participant in self.participants]
        return of_mismatch(came, values, self._specs)

    @property
    def finished(self) -> bool:
        """Return whether every replica has returned and every collective has happened."""
        return (
            self._returned == len(self.participants) and self.next_position == self._front.position
        )

    def returned(self) -> tuple[Returned, ...]:
        """Return the results of the replicas that have returned, in replica order."""
        return tuple(p.ended for p in self.participants if isinstance(p.ended, Returned))

    def reports(self) -> tuple[tuple[int, Report], ...]:
        """Return the reports of the replicas whose functions have ended, in replica order."""
        return tuple(
            (i, p.ended.report) for i, p in enumerate(self.participants) if p.ended is not None
        )

    def running(self) -> list[int]:
        """Return the replicas that neither wait nor have ended."""
        return [i for i, p in enumerate(self.participants) if p.status is Status.RUNNING]

    def quiet(self, now_s: float) -> dict[int, Quiet]:
        """Return since when each replica that runs or waits for the program makes no progress."""
        quiet: dict[int, Quiet] = {}
        for replica_id, one in enumerate(self.participants):
            asks = isinstance(one.waits_for, HostCall)
            if one.status is Status.RUNNING or asks:
                moved_s = max(self._since_s, one.arrivals[-1].at_s if one.arrivals else 0.0)
                lent_s = one.lent_s if one.lent_at == one.position else 0.0
                lent_s += _lent(now_s - one.asked_s) if asks else 0.0
                quiet[replica_id] = Quiet(moved_s, lent_s)
        return quiet

    @property
    def title(self) -> str:
        """Return the number and the function of the call, for errors."""
        if self.site.is_own:
            return f"varsim's own call of {self.site.described}"
        return f"call {self.call_id} of strategy.run, {self.site.described}"

    def last_operation(self, replica_id: int) -> Fact | str:
        """Return the last operation that a replica has reported; "" if there is none."""
        return last_operation(self.participants[replica_id], self._specs)

    def groups(self, left_out: Collection[int]) -> tuple[Group, ...]:
        """Return what all replicas except `left_out` do; the smallest group is first."""
        return grouped(
            {
                replica_id: doing(one, self._specs)
                for replica_id, one in enumerate(self.participants)
                if replica_id not in left_out
            }
        )

    def stragglers(self, because: str, *, by_program: bool, now_s: float) -> Iterator[Straggler]:
        """Return the replicas whose functions have not ended although the call is over."""
        for replica_id, one in enumerate(self.participants):
            if one.ended is None:
                yield Straggler(
                    replica_id, self.site, self.started_s, now_s, because, by_program, one.seen_at
                )

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
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
        ended = [one.position for one in self.participants if one.ended is not None]
        assert self._least_ended == min(ended, default=None)
        assert self._returned == len(self.returned())
        assert self._doomed_at is None or self._doomed_at >= self.next_position
        for replica_id in self._host_calls:
            assert self.participants[replica_id].waits_for is self._host_calls[replica_id]
        if self._in_service is not None:
            assert isinstance(self.participants[self._in_service].waits_for, HostCall)
            assert self._in_service not in self._host_calls


def _lent(waited_s: float) -> float:
    """Return for how long a replica waited for the program; 0 if the answer came promptly."""
    return waited_s if waited_s > PROMPT_S else 0.0


def _are_alike(one: Arrival, other: Arrival) -> bool:
    """Return whether two contributions have the same writes at the same positions."""
    if one.plan is None or other.plan is None or one.start != other.start:
        return False
    return one.plan.arrangement is other.plan.arrangement
