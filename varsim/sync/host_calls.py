"""Decide which host call of a call the program performs next."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from varsim.protocol.messages import HostCall
from varsim.sync.pairing import Pairing
from varsim.sync.participant import Participant, Status


class HostCalls:
    """The host calls of one call that the program has not answered yet.

    A host call can be performed if its replica's writes are committed and no replica with a lower
    id runs. If several host calls can be performed, the replica with the lowest id is the first. So
    side effects outside the cluster happen in replica order between two collectives, as in
    TensorFlow.

    Args:
        participants: The replicas of the call.
        everyone: The pairing of all these replicas.

    Attributes:
        waiting: Replica → its host call, which is not performed yet.
        in_service: The replica whose host call the program performs now; None if there is none.
    """

    def __init__(self, participants: Sequence[Participant], everyone: Pairing) -> None:
        self._participants = participants
        self._everyone = everyone
        self.waiting: dict[int, HostCall] = {}
        self.in_service: int | None = None

    def next(self, ahead: Collection[int] = ()) -> tuple[int, HostCall] | None:
        """Return the host call to perform now; None if no host call can be performed.

        Args:
            ahead: The replicas with deferred writes that another replica has not made yet. Under
                ON_WRITE these writes would not be committed yet, and the host calls of these
                replicas would wait. So they wait here, too. If no replica can continue, the host
                call is performed, and a read reports the mismatch.
        """
        if self.in_service is not None or not self.waiting:
            return None
        ready = list(self._ready())
        even = [replica_id for replica_id in ready if replica_id not in ahead]
        if not even and all(one.status is not Status.RUNNING for one in self._participants):
            even = ready
        if not even:
            return None
        self.in_service = even[0]
        return even[0], self.waiting.pop(even[0])

    def _ready(self) -> Iterator[int]:
        """Yield the replicas whose host calls can be performed, in order."""
        for replica_id in sorted(self.waiting):
            lower = self._participants[:replica_id]
            if any(participant.status is Status.RUNNING for participant in lower):
                return
            member, doomed_at = self._everyone.members[replica_id], self._everyone.doomed_at
            if doomed_at is not None and member.position > doomed_at:
                continue
            if not member.arrivals:
                yield replica_id

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for replica_id, host_call in self.waiting.items():
            assert self._participants[replica_id].waits_for is host_call
        if self.in_service is not None:
            assert isinstance(self._participants[self.in_service].waits_for, HostCall)
            assert self.in_service not in self.waiting
