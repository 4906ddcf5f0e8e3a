"""One running call as the coordinator sees it: who meets where, who waits, and who has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from varsim.errors import MismatchError, ValueMismatchError
from varsim.protocol.messages import (
    Ask,
    Contribution,
    Meeting,
    Raised,
    Report,
    Returned,
    Waiting,
)
from varsim.spec import VariableSpec
from varsim.sync import mismatch
from varsim.sync.participant import Participant, Status

GRACE_S = 0.5
"""Once a call can only fail, how long replicas that still run may take to come to where it failed.

What all of them do before that point stays in force, and of several exceptions the lowest
replica's is the call's; so the same program leaves the same values and shows the same error,
whatever the timing. Replicas that run the same code get there within moments of each other.
"""

Failure = MismatchError | tuple[int, Raised]
"""What ends a call: the replicas did not agree, or one of them raised."""


@dataclass(slots=True)
class Arrival:
    """A replica's part in a meeting, and when it came."""

    meeting: Meeting
    at_s: float


class CallState:
    """Pairs the meeting points of the replicas of one call, and notices when they cannot be paired.

    The k-th meeting of every replica is one meeting. It is complete when all have come; it can
    never be complete when one has ended before it, or when two parts are not alike. Since every
    replica meets in the order of its program, these are the only ways to be stuck. The call is
    then *doomed* at that meeting: earlier ones still happen, later ones do not.
    """

    def __init__(self, call_id: int, num_replicas: int) -> None:
        self.call_id = call_id
        self.participants = [Participant() for _ in range(num_replicas)]
        self._open: dict[int, dict[int, Arrival]] = {}
        self._asks: dict[int, Ask] = {}
        self._in_service: int | None = None  # whose ask is being answered
        self._any_ended = False
        self._doomed_at: int | None = None  # the first meeting that cannot be complete
        self._deadline_s = 0.0

    # ------------------------------------------------------------ meetings

    def arrive(self, replica_id: int, meeting: Meeting, now_s: float) -> dict[int, Arrival] | None:
        """A replica comes to its next meeting point.

        Returns:
            Every replica's part, if the meeting is complete now.
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
        first = next(iter(parts.values()), None)
        parts[replica_id] = Arrival(meeting, now_s)
        if (first is not None and _differ(first.meeting, meeting)) or (
            self._any_ended
            and any(
                other.ended is not None and other.met <= meeting.index
                for other in self.participants
            )
        ):
            self._doom(meeting.index, now_s)
        doomed = self._doomed_at is not None and meeting.index >= self._doomed_at
        if doomed or len(parts) < len(self.participants):
            return None
        return self._open.pop(meeting.index)

    def _doom(self, index: int, now_s: float) -> None:
        if self._doomed_at is None:
            self._deadline_s = now_s + GRACE_S
        self._doomed_at = index if self._doomed_at is None else min(index, self._doomed_at)

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
        if self._in_service is not None:
            return None
        for replica_id, ask in sorted(self._asks.items()):
            lower = self.participants[:replica_id]
            if any(participant.status is Status.RUNNING for participant in lower):
                return None
            asker = self.participants[replica_id]
            if self._doomed_at is not None and asker.met > self._doomed_at:
                continue
            if not any(asker.owed.values()):
                del self._asks[replica_id]
                self._in_service = replica_id
                return replica_id, ask
        return None

    def answered(self, replica_id: int) -> None:
        """A replica's ask has been answered; it runs again."""
        self._in_service = None
        self.resume(self.participants[replica_id])

    # ------------------------------------------------------------ the end

    def end(self, replica_id: int, ended: Returned | Raised, now_s: float) -> None:
        """A replica's function has returned or raised."""
        participant = self.participants[replica_id]
        participant.ended = ended
        participant.status = Status.ENDED
        participant.waits_for = None
        self._any_ended = True
        missed = [index for index in self._open if index >= participant.met]
        if isinstance(ended, Raised):
            self._doom(participant.met, now_s)
        elif missed:
            self._doom(min(missed), now_s)

    @property
    def doomed(self) -> bool:
        """Whether the call can only fail."""
        return self._doomed_at is not None

    @property
    def deadline_s(self) -> float | None:
        """When `failure` may have something new to say although no message came."""
        return None if self._doomed_at is None else self._deadline_s

    def failure(self, specs: Mapping[int, VariableSpec], now_s: float) -> Failure | None:
        """What ends this call, once it is clear: when nobody still runs towards where it failed."""
        index = self._doomed_at
        if index is None:
            return None
        coming = any(
            p.met <= index and (p.status is Status.RUNNING or isinstance(p.waits_for, Ask))
            for p in self.participants
        )
        if coming and now_s < self._deadline_s:
            return None
        for replica_id, participant in enumerate(self.participants):
            if isinstance(participant.ended, Raised) and participant.met == index:
                return replica_id, participant.ended
        return self._mismatch(index, specs)

    def _mismatch(self, index: int, specs: Mapping[int, VariableSpec]) -> MismatchError:
        present = {i: arrival.meeting for i, arrival in sorted(self._open[index].items())}
        first, *others = present.items()
        for other in others:
            kind = mismatch.difference(first[1], other[1])
            if kind is not mismatch.Difference.NOTHING:
                error = ValueMismatchError if kind is mismatch.Difference.VALUE else MismatchError
                return error(mismatch.describe_difference(kind, first, other, specs))
        ended_id = next(
            i for i, p in enumerate(self.participants) if p.ended is not None and p.met <= index
        )
        return MismatchError(
            mismatch.describe_absence(index, present, self.participants, ended_id, specs)
        )

    @property
    def finished(self) -> bool:
        """Whether every replica has returned, and every meeting was complete."""
        return all(isinstance(p.ended, Returned) for p in self.participants) and not self._open

    def returned(self) -> tuple[Returned, ...]:
        """What every replica returned, once the call is finished."""
        return tuple(p.ended for p in self.participants if isinstance(p.ended, Returned))

    def reports(self) -> tuple[tuple[int, Report], ...]:
        """What the replicas whose functions have ended saw, in replica order."""
        return tuple(
            (i, p.ended.report) for i, p in enumerate(self.participants) if p.ended is not None
        )

    def stuck(self, specs: dict[int, VariableSpec]) -> str:
        """Who waits where, and who still runs: for the error when nothing has moved for long."""
        return mismatch.describe_standstill(self.participants, specs)

    def validate(self) -> None:
        """Asserts what must hold after every event."""
        for index, parts in self._open.items():
            doomed = self._doomed_at is not None and index >= self._doomed_at
            assert 0 < len(parts) < len(self.participants) + doomed
            assert all(self.participants[i].met > index for i in parts)
        for participant in self.participants:
            assert (participant.status is Status.WAITING) == (participant.waits_for is not None)
            assert (participant.status is Status.ENDED) == (participant.ended is not None)
            assert all(count >= 0 for count in participant.owed.values())


def _differ(first: Meeting, second: Meeting) -> bool:
    return mismatch.difference(first, second) is not mismatch.Difference.NOTHING
