"""One running call as the coordinator sees it: who meets where, who waits, and who has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from varsim.errors import MismatchError, ValueMismatchError
from varsim.protocol.messages import (
    Ask,
    Contribution,
    Meeting,
    Raised,
    Returned,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync import mismatch

RAISE_GRACE_S = 0.5
"""After a replica raised, how long lower replicas may take to raise too.

The exception of the lowest replica is the call's, so that the same program always shows the same
one; replicas that run the same code raise within moments of each other.
"""


class Status(Enum):
    """What a replica of a call is doing, as far as its messages tell."""

    RUNNING = "runs"
    WAITING = "waits"
    ENDED = "has ended"


@dataclass(slots=True)
class Participant:
    """One replica's part in one call."""

    status: Status = Status.RUNNING
    met: int = 0  # meeting points so far
    waits_for: Meeting | Waiting | Ask | None = None
    owed: dict[int, int] = field(default_factory=dict)  # variable_id → uncommitted contributions
    ended: Returned | Raised | None = None


@dataclass(slots=True)
class Arrival:
    """A replica's part in a meeting, and when it came."""

    meeting: Meeting
    at_s: float


class CallState:
    """Pairs the meeting points of the replicas of one call, and notices when they cannot be paired.

    The k-th meeting of every replica is one meeting. It is complete when all have come; it can
    never be complete when one has ended before it, or when two parts are not alike. Since every
    replica meets in the order of its program, these are the only ways to be stuck.
    """

    def __init__(self, call_id: int, num_replicas: int) -> None:
        self.call_id = call_id
        self.participants = [Participant() for _ in range(num_replicas)]
        self._open: dict[int, dict[int, Arrival]] = {}
        self._asks: dict[int, Ask] = {}
        self._returned = 0
        self._raise_deadline_s: float | None = None

    # ------------------------------------------------------------ meetings

    def arrive(
        self, replica_id: int, meeting: Meeting, specs: dict[int, VariableSpec], now_s: float
    ) -> dict[int, Arrival] | None:
        """A replica comes to its next meeting point.

        Returns:
            Every replica's part, if the meeting is complete now.
        Raises:
            MismatchError: Another replica does something else there, or has ended before it.
        """
        participant = self.participants[replica_id]
        assert meeting.index == participant.met, "a replica numbers its meetings in order"
        participant.met += 1
        if isinstance(meeting, Contribution):
            owed = participant.owed
            owed[meeting.variable_id] = owed.get(meeting.variable_id, 0) + 1
        else:
            participant.status = Status.WAITING
            participant.waits_for = meeting
        parts = self._open.setdefault(meeting.index, {})
        for other_id, arrived in parts.items():
            self._check_alike((other_id, arrived.meeting), (replica_id, meeting), specs)
            break
        parts[replica_id] = Arrival(meeting, now_s)
        if len(parts) == len(self.participants):
            return self._open.pop(meeting.index)
        if self._returned:
            for other_id, other in enumerate(self.participants):
                if other.ended is not None and other.met <= meeting.index and not self.raising:
                    raise MismatchError(self._never_came(meeting.index, other_id, specs))
        return None

    def _check_alike(
        self,
        first: tuple[int, Meeting],
        second: tuple[int, Meeting],
        specs: dict[int, VariableSpec],
    ) -> None:
        kind = mismatch.difference(first[1], second[1])
        if kind is mismatch.Difference.NOTHING:
            return
        error = ValueMismatchError if kind is mismatch.Difference.VALUE else MismatchError
        raise error(mismatch.describe_difference(first, second, specs))

    def release(self, parts: dict[int, Arrival]) -> None:
        """The meeting has been answered; those who waited for it run again."""
        for replica_id, arrival in parts.items():
            participant = self.participants[replica_id]
            meeting = arrival.meeting
            if isinstance(meeting, Contribution):
                left = participant.owed[meeting.variable_id] - 1
                participant.owed[meeting.variable_id] = left
                waits = participant.waits_for
                if left or not isinstance(waits, Waiting):
                    continue
                if waits.variable_id != meeting.variable_id:
                    continue
            self.resume(participant)

    def resume(self, participant: Participant) -> None:
        """A replica that waited has its answer."""
        if participant.status is Status.WAITING:
            participant.status = Status.RUNNING
            participant.waits_for = None

    # ------------------------------------------------------------ waits and asks

    def wait(self, replica_id: int, waiting: Waiting) -> None:
        """A replica's program waits for a commit, unless it is already on its way."""
        participant = self.participants[replica_id]
        if participant.owed.get(waiting.variable_id, 0):
            participant.status = Status.WAITING
            participant.waits_for = waiting

    def ask(self, replica_id: int, ask: Ask) -> None:
        """A replica waits for the program to do something; see `next_ask`."""
        self.participants[replica_id].status = Status.WAITING
        self.participants[replica_id].waits_for = ask
        self._asks[replica_id] = ask

    def next_ask(self) -> tuple[int, Ask] | None:
        """The ask to answer now: of the lowest replica whose writes have all been agreed on.

        It waits until no lower replica runs. So what replicas do to things outside the cluster
        happens in replica order between meeting points, as TensorFlow runs them.
        """
        for replica_id, ask in sorted(self._asks.items()):
            lower = self.participants[:replica_id]
            if any(participant.status is Status.RUNNING for participant in lower):
                return None
            if not any(self.participants[replica_id].owed.values()):
                del self._asks[replica_id]
                return replica_id, ask
        return None

    # ------------------------------------------------------------ the end

    def end(
        self,
        replica_id: int,
        ended: Returned | Raised,
        specs: dict[int, VariableSpec],
        now_s: float,
    ) -> None:
        """A replica's function has returned or raised.

        Raises:
            MismatchError: It returned, and others are at a meeting that it never came to.
        """
        participant = self.participants[replica_id]
        participant.ended = ended
        participant.status = Status.ENDED
        participant.waits_for = None
        if isinstance(ended, Raised):
            if self._raise_deadline_s is None:
                self._raise_deadline_s = now_s + RAISE_GRACE_S
            return
        self._returned += 1
        missed = [] if self.raising else [index for index in self._open if index >= participant.met]
        if missed:
            raise MismatchError(self._never_came(min(missed), replica_id, specs))

    def _never_came(self, index: int, ended_id: int, specs: dict[int, VariableSpec]) -> str:
        present = {i: arrival.meeting for i, arrival in sorted(self._open[index].items())}
        return mismatch.describe_absence(index, present, self.participants, ended_id, specs)

    @property
    def deadline_s(self) -> float | None:
        """When `failure` may have something new to say although no message came."""
        return self._raise_deadline_s

    def failure(self, now_s: float) -> tuple[int, Raised] | None:
        """The exception that ends this call, once it is clear whose it is: the lowest replica's."""
        if self._raise_deadline_s is None:
            return None
        for replica_id, participant in enumerate(self.participants):
            if isinstance(participant.ended, Raised):
                return replica_id, participant.ended
            if participant.status is Status.RUNNING and now_s < self._raise_deadline_s:
                return None
        raise AssertionError("a deadline without an exception")

    @property
    def raising(self) -> bool:
        """Whether a replica has raised, so that the call can only fail."""
        return self._raise_deadline_s is not None

    @property
    def finished(self) -> bool:
        """Whether every replica has returned, and every meeting was complete."""
        return all(isinstance(p.ended, Returned) for p in self.participants) and not self._open

    def returned(self) -> tuple[Returned, ...]:
        """What every replica returned, once the call is finished."""
        return tuple(p.ended for p in self.participants if isinstance(p.ended, Returned))

    def stuck(self, specs: dict[int, VariableSpec]) -> str:
        """Who waits where, and who still runs: for the error when nothing has moved for long."""
        return mismatch.describe_standstill(self.participants, specs)

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for index, parts in self._open.items():
            assert 0 < len(parts) < len(self.participants)
            assert all(self.participants[i].met > index for i in parts)
        for participant in self.participants:
            assert (participant.status is Status.WAITING) == (participant.waits_for is not None)
            assert (participant.status is Status.ENDED) == (participant.ended is not None)
            assert all(count >= 0 for count in participant.owed.values())
