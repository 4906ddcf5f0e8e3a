"""Keep track of one running call: where each replica runs, waits or has ended."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from varsim.errors import DeadlockError, ProtocolError
from varsim.protocol.messages import (
    BoundedWrite,
    CollectiveMessage,
    Combine,
    Contribution,
    CopyRequest,
    FetchPublished,
    HostCall,
    Join,
    LockRelease,
    LockRequest,
    Meeting,
    Message,
    Publish,
    Pull,
    Push,
    Raised,
    Report,
    Returned,
    SyncRequest,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync.bounded_writes import Admitted
from varsim.sync.call_site import UNKNOWN, CallSite
from varsim.sync.deadlock import Lacking, deadlock_of, needed
from varsim.sync.description import doing, last_operation, name_of
from varsim.sync.host_calls import HostCalls
from varsim.sync.lock_account import LockAccount
from varsim.sync.meetings import Answer, Meetings
from varsim.sync.pairing import Failure, Pairings
from varsim.sync.participant import (
    ONE_WRITE,
    WRITES,
    Arrival,
    Collectives,
    Participant,
    Plan,
    Status,
    Wait,
)
from varsim.sync.stalls import Quiet, StallLimits, lent
from varsim.sync.stragglers import Straggler
from varsim.texts.facts import Fact
from varsim.texts.replicas import Group, grouped

NOWHERE: Final[Mapping[int, str]] = {}
"""The lines that replicas run, if they are not known."""

# A look-up in an enum takes several times as long as one in a module, and every message asks.
_RUNNING: Final = Status.RUNNING
_WAITING: Final = Status.WAITING
_ENDED: Final = Status.ENDED


class CallState:
    """Keeps what each replica of one call does; pairings pair their collectives.

    One pairing is that of all replicas. Each process group that the replicas use has another one.

    Every replica arrives in the order of its program. So a call without groups, locks, barriers and
    sends can get stuck only if its pairing is doomed; see `deadlock`.

    Args:
        num_replicas: The number of replicas that take part in the call: always the first replicas.
        strict: Whether to refuse a collective without a name if the replicas' lines differ.
        started_s: The time at which the call started. All times are from the same clock.
        token: Identifies the call for the program.
        limits: The limits of replicas without progress; None for the strategy's limits.
        account: Counts the waits for locks.
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
        account: LockAccount | None = None,
    ) -> None:
        self.call_id = call_id
        self.token = token
        self.limits = limits
        self.site = site
        self.started_s = started_s
        self.participants = [Participant(site.is_script) for _ in range(num_replicas)]
        self._pairings = Pairings(self.participants, specs, started_s, strict=strict)
        self._everyone = self._pairings.everyone
        self.crossings = self._pairings.crossings
        self._specs = specs
        self._returned = 0
        self.host_calls = HostCalls(self.participants, self._everyone)
        self.meetings: Meetings | None = None  # None until a replica uses a lock, a barrier, …
        self.is_plain = True  # no replica uses a group, a lock, a barrier or a send
        self._account = account

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
        participant = self.sender(replica_id)
        stop = message.position + (1 if plan is None else len(plan.writes))
        arrival = Arrival(message.position, stop, message, plan, now_s)
        pairing = self._everyone
        if plan is None and isinstance(message, Combine) and message.how.group:
            pairing = self._pairings.of(message.how.group)
            self.is_plain = False
        complete = pairing.arrive(replica_id, arrival)
        participant.last = plan
        if plan is None:
            if isinstance(message, ONE_WRITE):
                participant.last = message.write
            elif not isinstance(message, Contribution):
                participant.last, participant.last_at = name_of(message), message.location
                participant.status = _WAITING
                participant.waits_for = message
        return complete

    def join(self, replica_id: int, message: Join, now_s: float) -> list[Collectives]:
        """Record that a replica joins; return the collectives that are now complete, in order."""
        participant = self.sender(replica_id)
        complete = self._everyone.join(replica_id, message, now_s)
        self._waits(participant, message)
        if self.meetings is not None:
            self.meetings.join(self._everyone.joined, replica_id, now_s)
        return complete

    def _waits(self, participant: Participant, message: Wait) -> None:
        participant.status = _WAITING
        participant.waits_for = message
        participant.last, participant.last_at = name_of(message), message.location

    def sender(self, replica_id: int) -> Participant:
        """Return a replica that can send messages of the call now.

        Raises:
            ProtocolError: The replica takes no part in the call, waits for an answer, or has ended.
        """
        try:
            participant = self.participants[replica_id]
        except IndexError:
            where = f"call {self.call_id}"
            raise ProtocolError(f"replica {replica_id} takes no part in {where}") from None
        if participant.status is not _RUNNING:
            raise ProtocolError(
                f"replica {replica_id} has sent a message, although it {participant.status.value}"
            )
        return participant

    def release(self, collectives: Collectives) -> None:
        """Record that collectives are answered, so that the replicas that waited continue."""
        answered = not isinstance(collectives.arrivals[0].message, WRITES)
        for replica_id in collectives.replica_ids:
            participant = self.participants[replica_id]
            waits_for = participant.waits_for
            if answered or (
                isinstance(waits_for, Waiting) and waits_for.position < collectives.stop
            ):
                self.resume(participant)

    def resume(self, participant: Participant) -> None:
        """Record that a waiting replica has its answer."""
        if participant.status is _WAITING:
            participant.status = _RUNNING
            participant.waits_for = None

    def idle(self) -> list[int]:
        """Return the replicas that do not run their function now: they wait, or have ended."""
        return [i for i, p in enumerate(self.participants) if p.status is not _RUNNING]

    # ------------------------------------------------------------ waits and requests

    def act(
        self,
        replica_id: int,
        message: Publish | Push | FetchPublished | Pull | CopyRequest,
        moved_s: float | None,
    ) -> None:
        """Record an operation for which no other replica is needed.

        Args:
            moved_s: The time, if the operation is progress. A replica that only reads shared values
                may wait in an endless loop.
        """
        participant = self.sender(replica_id)
        participant.last, participant.last_at = name_of(message), message.location
        if moved_s is not None:
            participant.met_s = moved_s

    def wait(self, replica_id: int, waiting: Waiting) -> None:
        """Record that a replica waits for a commit, unless the commit has already been sent."""
        participant = self.sender(replica_id)
        participant.last = waiting
        if waiting.position >= self._everyone.next_position:
            participant.status = _WAITING
            participant.waits_for = waiting

    def request_sync(self, replica_id: int, request: SyncRequest) -> None:
        """Record that a replica waits for the exchange of deferred writes of a variable."""
        participant = self.sender(replica_id)
        self._waits(participant, request)

    def settle(self, variable_id: int, count: int, now_s: float) -> None:
        """Record that `count` deferred writes are exchanged; waiting replicas continue."""
        self._everyone.since_s = now_s
        for participant in self.participants:
            waits_for = participant.waits_for
            if not isinstance(waits_for, SyncRequest):
                continue
            if (waits_for.delta.variable_id, waits_for.delta.count) == (variable_id, count):
                self.resume(participant)

    def request_host_call(self, replica_id: int, host_call: HostCall, now_s: float = 0.0) -> None:
        """Record that a replica waits for a host call; see `HostCalls`."""
        participant = self.sender(replica_id)
        self._waits(participant, host_call)
        participant.asked_s = now_s
        self.host_calls.waiting[replica_id] = host_call

    def answered(self, replica_id: int, now_s: float = 0.0) -> None:
        """Record that a replica has the result of its host call and continues to run."""
        self.host_calls.in_service = None
        self._lend(replica_id, now_s)
        self.resume(self.participants[replica_id])

    def _lend(self, replica_id: int, now_s: float) -> None:
        """Record that the time since a replica's request is no time without progress."""
        participant = self.participants[replica_id]
        arrivals = self._pairings.arrivals(replica_id)
        if participant.lent_at != arrivals:
            participant.lent_at, participant.lent_s = arrivals, 0.0
        participant.lent_s += lent(now_s - participant.asked_s)

    def merged(self, now_s: float) -> None:
        """Record that the function of a merge_call has returned; all replicas continue to run."""
        self._everyone.since_s = now_s
        for participant in self.participants:
            self.resume(participant)

    # ------------------------------------------------------------ locks, barriers and sends

    def meet(
        self, replica_id: int, message: Meeting | LockRelease | BoundedWrite, now_s: float
    ) -> None:
        """Record a replica's request for a lock, its arrival at a barrier, its send, and so on."""
        participant = self.sender(replica_id)
        if isinstance(message, BoundedWrite):
            participant.met_s = now_s
        if not isinstance(message, LockRelease):
            if not isinstance(message, BoundedWrite) or message.waits:
                participant.status, participant.waits_for = _WAITING, message
            participant.last, participant.last_at = name_of(message), message.location
            participant.asked_s = now_s
        if self.meetings is None:
            account = LockAccount() if self._account is None else self._account
            self.meetings = Meetings(self.call_id, self.participants, account, self._specs)
            self.meetings.join(self._everyone.joined, replica_id, now_s)
            self.is_plain = False
        self.meetings.take(replica_id, message, now_s)

    def take_answers(self, now_s: float) -> Sequence[tuple[int, Answer]]:
        """Return the answers to replicas that continue after a lock, a barrier, and so on.

        The wait for a lock is no progress, and no time without progress. The other meetings are
        progress, as collectives are.
        """
        if self.meetings is None:
            return ()
        answers, self.meetings.answers = self.meetings.answers, []
        for replica_id, _ in answers:
            participant = self.participants[replica_id]
            if isinstance(participant.waits_for, LockRequest):
                self._lend(replica_id, now_s)
            else:
                participant.met_s, participant.lent_s = now_s, 0.0
            self.resume(participant)
        return answers

    def take_admitted(self, now_s: float) -> Sequence[Admitted]:
        """Return the writes with bounded staleness that take effect now; their waits are over."""
        if self.meetings is None:
            return ()
        bounded = self.meetings.bounded
        admitted, bounded.admitted = bounded.admitted, []
        for one in admitted:
            participant = self.participants[one.replica_id]
            if participant.waits_for is one.write:
                participant.met_s, participant.lent_s = now_s, 0.0
                self.resume(participant)
        return admitted

    def deadlock(self, lacking: Lacking) -> DeadlockError | None:
        """Return the error if replicas wait that can never continue.

        Do not ask of a plain call: collectives of all replicas can only doom their pairing, because
        all replicas number them alike.
        """
        return deadlock_of(
            self.participants, self._pairings.of, self.meetings, lacking, self._specs
        )

    def needed(self, replica_id: int, lacking: Lacking) -> list[int]:
        """Return the replicas for which a replica waits; [] if it waits for none."""
        wait = self.participants[replica_id].waits_for
        if wait is None:
            return []
        others = needed(replica_id, wait, self._pairings.of, self.meetings, lacking)
        return [*dict.fromkeys(other for other, _ in others)]

    def moved_s(self, replica_id: int) -> float:
        """Return when a replica last made progress, or asked for something."""
        one = self.participants[replica_id]
        return max(self._pairings.moved_s(replica_id), one.met_s, one.asked_s)

    def arrivals(self, replica_id: int) -> int:
        """Return the number of collectives at which a replica has arrived."""
        return self._pairings.arrivals(replica_id)

    def awaited_locks(self, replica_id: int) -> Mapping[str, Sequence[int]]:
        """Return the locks that a replica holds and others wait for, with the waiting replicas."""
        return {} if self.meetings is None else self.meetings.locks.waiting_for(replica_id)

    # ------------------------------------------------------------ the end

    def end(self, replica_id: int, ended: Returned | Raised, now_s: float) -> None:
        """Record that a replica's function has returned or raised."""
        participant = self.sender(replica_id)
        participant.ended = ended
        participant.status = _ENDED
        participant.waits_for = None
        self._returned += isinstance(ended, Returned)
        for pairing in self._pairings.all:
            if replica_id in pairing.members:
                pairing.end(replica_id, now_s)
        if self.meetings is not None:
            self.meetings.end(replica_id, now_s)

    @property
    def doomed(self) -> bool:
        """Return whether the call can only fail."""
        if self._everyone.doomed_at is not None:  # every message asks, so call nothing
            return True
        return not self.is_plain and self._pairings.doomed is not None

    @property
    def deadline_s(self) -> float | None:
        """Return when to call `failure` if no message arrives; None if the call is not doomed."""
        for pairing in self._pairings.all:  # every message asks, so call nothing
            if pairing.doomed_at is not None:
                return pairing.deadline_s
        return None

    def failure(self, now_s: float, *, exchanging: bool = False) -> Failure | None:
        """Return why the call fails; None if it is not doomed, or must still wait for replicas.

        Args:
            exchanging: Whether the coordinator waits for deltas of deferred writes. In this case,
                replicas that wait for the exchange can still continue.
        """
        doomed = self._pairings.doomed
        if doomed is None:
            return None
        return doomed.failure(now_s, Message if exchanging or self.running() else HostCall)

    @property
    def finished(self) -> bool:
        """Return whether every replica has returned and every collective has happened."""
        if self._returned < len(self.participants):
            return False
        return self._everyone.finished if self.is_plain else self._pairings.finished

    def returned(self) -> tuple[Returned, ...]:
        """Return the results of the replicas that have returned, in replica order."""
        return tuple([p.ended for p in self.participants if isinstance(p.ended, Returned)])

    def reports(self) -> tuple[tuple[int, Report], ...]:
        """Return the reports of the replicas whose functions have ended, in replica order."""
        return tuple(
            [(i, p.ended.report) for i, p in enumerate(self.participants) if p.ended is not None]
        )

    def running(self) -> list[int]:
        """Return the replicas that neither wait nor have ended."""
        return [i for i, p in enumerate(self.participants) if p.status is _RUNNING]

    def quiet(self, now_s: float) -> dict[int, Quiet]:
        """Return since when each replica that runs or waits for the program makes no progress.

        A whole script may compute for long between two collectives. So its replicas are late only
        while another replica waits, and from the beginning of this wait.
        """
        quiet: dict[int, Quiet] = {}
        wanted_s = self._wanted_s() if self.site.is_script else 0.0
        if wanted_s is None:
            return quiet
        for replica_id, one in enumerate(self.participants):
            asks = isinstance(one.waits_for, HostCall)
            if one.status is _RUNNING or asks:
                moved_s = max(self._pairings.moved_s(replica_id), one.met_s, wanted_s)
                lent_s = one.lent_s if one.lent_at == self._pairings.arrivals(replica_id) else 0.0
                lent_s += lent(now_s - one.asked_s) if asks else 0.0
                quiet[replica_id] = Quiet(moved_s, lent_s)
        return quiet

    def _wanted_s(self) -> float | None:
        """Return since when a replica waits for others; None if no replica waits."""
        return min(
            (
                self.moved_s(i)
                for i, one in enumerate(self.participants)
                if one.status is _WAITING and not isinstance(one.waits_for, HostCall)
            ),
            default=None,
        )

    @property
    def title(self) -> str:
        """Return the number and the function of the call, for errors."""
        if self.site.is_own:
            return f"varsim's own call of {self.site.described}"
        if self.site.is_script:
            return str(self.site)
        return f"call {self.call_id} of strategy.run, {self.site.described}"

    def last_operation(self, replica_id: int) -> Fact | str:
        """Return the last operation that a replica has reported; "" if there is none."""
        return last_operation(self.participants[replica_id], self._specs)

    def groups(
        self, left_out: Collection[int] = (), now_at: Mapping[int, str] = NOWHERE
    ) -> tuple[Group, ...]:
        """Return what all replicas except `left_out` do; the smallest group is first.

        Args:
            now_at: replica_id → the line that the replica runs now, if it is known.
        """
        return grouped(
            {
                replica_id: doing(one, self._specs, now_at.get(replica_id, ""))
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
        self._pairings.validate()
        for participant in self.participants:
            assert (participant.status is _WAITING) == (participant.waits_for is not None)
            assert (participant.status is _ENDED) == (participant.ended is not None)
        assert self._returned == len(self.returned())
        assert self.is_plain == (self.meetings is None and not self._pairings.groups)
        if self.meetings is not None:
            self.meetings.validate()
        self.host_calls.validate()
