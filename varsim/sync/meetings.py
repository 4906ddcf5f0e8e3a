"""Decide when replicas continue that wait in a lock, a barrier, a send, a receive or a write."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import assert_never

from varsim.protocol.messages import (
    BarrierArrival,
    BoundedWrite,
    Granted,
    LockRelease,
    LockRequest,
    Meeting,
    Passed,
    Payload,
    ReceiveRequest,
    SendRequest,
)
from varsim.spec import VariableSpec
from varsim.sync import policies
from varsim.sync.bounded_writes import BoundedWrites
from varsim.sync.lock_account import LockAccount
from varsim.sync.locks import Locks, Request
from varsim.sync.participant import Participant
from varsim.sync.rendezvous import Barriers, Posts
from varsim.texts.deadlocks import (
    AskedEarlier,
    Behind,
    Holds,
    NotArrived,
    NotReceiving,
    NotSending,
)
from varsim.texts.facts import Fact

Answer = Granted | Passed


class Meetings:
    """The locks, barriers, sends and receives of one call, and its writes with bounded staleness.

    `answers` are the answers that are not sent yet, each with its replica.
    """

    def __init__(
        self,
        call_id: int,
        participants: Sequence[Participant],
        account: LockAccount,
        specs: Mapping[int, VariableSpec],
    ) -> None:
        self.answers: list[tuple[int, Answer]] = []
        self.locks = Locks(self._got_lock)
        self._barriers = Barriers(len(participants))
        self._posts = Posts()
        ended = {i for i, one in enumerate(participants) if one.ended is not None}
        self.bounded = BoundedWrites(len(participants), ended)
        self._specs = specs
        self._call_id = call_id
        self._account = account
        self._asking = -1  # the replica whose request is handled now
        self._held_since_s: dict[tuple[str, int], float] = {}  # (lock, holder) → time
        self._now_s = 0.0

    def take(
        self, replica_id: int, message: Meeting | LockRelease | BoundedWrite, now_s: float
    ) -> None:
        """Handle a message of a replica."""
        self._asking, self._now_s = replica_id, now_s
        match message:
            case LockRequest(lock=name, is_shared=is_shared, location=location):
                self.locks.request(name, Request(replica_id, is_shared, location, now_s))
            case LockRelease(lock=name):
                self.locks.release(name, replica_id)
                self._no_longer_holds(name, replica_id)
            case BarrierArrival(barrier=name, group=group):
                for one in self._barriers.arrive((group, name), replica_id):
                    self._grant(one)
            case SendRequest(to=to, value=value):
                if self._posts.send(replica_id, to, value):
                    self._pass_on(replica_id, to, value)
            case ReceiveRequest(source=source):
                sent = self._posts.receive(replica_id, source)
                if sent is not None:
                    self._pass_on(source, replica_id, sent)
            case BoundedWrite():
                bound = policies.bound_of(self._specs[message.variable_id])
                assert bound is not None, "the message was checked"
                self.bounded.write(replica_id, message, bound, now_s)
            case _:
                assert_never(message)

    def join(self, joined: Collection[int], by: int, now_s: float) -> None:
        """Set the replicas that have joined: barriers of all replicas do not wait for them.

        Args:
            joined: These replicas; () if all have joined, and take part again.
            by: The last one of them.
        """
        for one in self._barriers.join(joined):
            self._grant(one)
        self.bounded.join(joined, by, now_s)

    def end(self, replica_id: int, now_s: float) -> None:
        """Release what a replica holds back, because its function has ended."""
        self._asking, self._now_s = replica_id, now_s
        held = list(self.locks.held_by(replica_id))
        self.locks.release_all(replica_id)
        for name in held:
            self._no_longer_holds(name, replica_id)
        self.bounded.end(replica_id, now_s)

    def _got_lock(self, name: str, request: Request) -> None:
        replica_id = request.replica_id
        waited_s = self._now_s - request.asked_s
        self._account.granted(name, replica_id, waited_s, had_to_wait=replica_id != self._asking)
        self._held_since_s[name, replica_id] = self._now_s
        self._grant(replica_id)

    def _no_longer_holds(self, name: str, replica_id: int) -> None:
        held_s = self._now_s - self._held_since_s.pop((name, replica_id))
        self._account.released(name, replica_id, held_s)

    def _grant(self, replica_id: int) -> None:
        self.answers.append((replica_id, Granted(call_id=self._call_id)))

    def _pass_on(self, sender: int, receiver: int, value: Payload) -> None:
        self.answers.append((receiver, Passed(call_id=self._call_id, value=value)))
        self._grant(sender)

    def needs(self, replica_id: int, message: Meeting | BoundedWrite) -> Iterator[tuple[int, Fact]]:
        """Yield the replicas for which a waiting replica waits, and what they have not done."""
        match message:
            case LockRequest():
                for one in self.locks.obstacles(replica_id):
                    if one.holds:
                        yield one.replica_id, Holds(one.location, one.is_shared)
                    else:
                        yield one.replica_id, AskedEarlier(one.location)
            case BarrierArrival(barrier=name, group=group):
                for missing in self._barriers.missing((group, name)):
                    yield missing, NotArrived()
            case SendRequest(to=to):
                yield to, NotReceiving()
            case ReceiveRequest(source=source):
                yield source, NotSending()
            case BoundedWrite():
                for other, writes in self.bounded.obstacles(message):
                    yield other, Behind(writes, message.clock)
            case _:
                assert_never(message)

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        self.locks.validate()
        self._barriers.validate()
        self._posts.validate()
        self.bounded.validate()
        assert not self.answers, "all answers are sent in the same event"
