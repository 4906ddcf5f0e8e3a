"""Pair the collectives of all replicas, or of a group, in one call; find mismatches."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Final

from varsim.errors import Fix, MismatchError, ProtocolError
from varsim.protocol.messages import ExplicitCollective, Join, Raised
from varsim.spec import VariableSpec
from varsim.sync import mismatch
from varsim.sync.mismatch_fixes import of_mismatch
from varsim.sync.participant import (
    ENDLESS,
    WRITES,
    Arrival,
    Collectives,
    Member,
    Participant,
    Status,
)

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

_WITHOUT_LABEL: Final = (*WRITES, Join)

Failure = MismatchError | tuple[int, Raised]
"""The reason why a call fails: a mismatch of the replicas, or an exception of one replica."""


class Pairing:
    """Pairs the collectives of its members by position, and detects mismatches.

    The arrivals of all members at one position form one collective. The collective is complete
    when all members have arrived. The collective can never be complete if a member's function has
    ended before this position, or if two arrivals differ. Then the pairing is *doomed* at this
    position: collectives at earlier positions still happen, collectives at later positions do not.
    Every member arrives in the order of its program.

    A member can *join*: its arrival then stays until all members have joined, and the collectives
    of the others are complete without it.

    Args:
        participants: The replicas of the call; the members are the replicas in `replica_ids`. Some
            may have ended.
        strict: Whether to refuse a collective without a name if the replicas' lines differ.
        started_s: The time at which the call started.
        group: The ids of a process group; () if all replicas of the call are members.
    """

    def __init__(
        self,
        participants: Sequence[Participant],
        replica_ids: Sequence[int],
        specs: Mapping[int, VariableSpec],
        started_s: float,
        *,
        strict: bool,
        group: tuple[int, ...] = (),
    ) -> None:
        self.group = group
        self.replica_ids = replica_ids
        self.members = {i: Member(i, participants[i]) for i in replica_ids}
        self.next_position = 0  # the position of the first collective that has not happened
        self.since_s = started_s  # the start of the call, or its last collective
        self.doomed_at: int | None = None  # the position at which the pairing is doomed
        self.deadline_s = 0.0  # until when to wait for members after the pairing is doomed
        self._ordered = tuple(self.members.values())
        self._count = len(self._ordered)
        self._specs = specs
        self._strict = strict
        self._front = self._ordered[0]  # the member that is furthest ahead
        self._present = 0  # the number of members that have arrived at `next_position`
        self._joined = 0  # the number of members that have joined
        self._least_ended: int | None = None  # the lowest position at which a member has ended
        if group and any(member.participant.ended is not None for member in self._ordered):
            self._least_ended = 0  # only a group can be new to replicas that have ended
        self._crossed: dict[frozenset[str], dict[int, ExplicitCollective]] = {}  # see `crossings`

    # ------------------------------------------------------------ collectives

    def arrive(self, replica_id: int, arrival: Arrival) -> list[Collectives]:
        """Record that a member arrives at its next collective, or contributes to several.

        Returns:
            The collectives that this arrival completes, in order.
        """
        member = self.members[replica_id]
        if arrival.start != member.position:
            raise _wrong_position(member, arrival)
        differs_at = self._first_difference(member, arrival)
        if differs_at is not None:
            self._doom(differs_at, arrival.at_s)
        stop = arrival.stop
        if self._least_ended is not None and self._least_ended < stop:
            self._doom(self._least_ended, arrival.at_s)
        self._present += not member.arrivals
        member.arrivals.append(arrival)
        member.position = stop
        if stop > self._front.position:
            self._front = member
        return self._complete(arrival.at_s) if self._present == self._count else []

    def join(self, replica_id: int, message: Join, now_s: float) -> list[Collectives]:
        """Record that a member joins. If a member's function has ended, all can never join.

        Returns:
            The collectives that are now complete, in order.
        """
        member = self.members[replica_id]
        arrival = Arrival(message.position, ENDLESS, message, None, now_s)
        if arrival.start != member.position:
            raise _wrong_position(member, arrival)
        if self._least_ended is not None:
            self._doom(self._least_ended, now_s)
        self._present += not member.arrivals
        self._joined += 1
        member.arrivals.append(arrival)
        return self._complete(now_s) if self._present == self._count else []

    @property
    def joined(self) -> Collection[int]:
        """Return the members that have joined."""
        return {one.replica_id for one in self._ordered if one.has_joined} if self._joined else ()

    def _first_difference(self, member: Member, arrival: Arrival) -> int | None:
        """Return the first position at which an arrival differs from the arrivals of `_front`.

        A comparison with the furthest member is sufficient: all other members agree with it, or
        the pairing is already doomed at an earlier position.
        """
        front, plan = self._front, arrival.plan
        if front is member:
            return None
        for other in front.arrivals:
            if other.stop <= arrival.start:
                continue
            if other.start >= arrival.stop:
                break
            if (
                plan is not None
                and other.plan is not None
                and other.plan.arrangement is plan.arrangement
                and other.start == arrival.start
            ):
                return None  # both contribute the same writes at the same positions
            for position in range(max(arrival.start, other.start), min(arrival.stop, other.stop)):
                pair = other.at(position), arrival.at(position)
                if mismatch.differ(*pair, self._specs, strict=self._strict):
                    return position
        return None

    def _complete(self, now_s: float) -> list[Collectives]:
        complete = []
        while self._present == self._count:
            heads = [member.arrivals[0] for member in self._ordered]
            stop = min([head.stop for head in heads])
            if self.doomed_at is not None:
                stop = min(stop, self.doomed_at)
            if stop <= self.next_position:
                break
            if stop == ENDLESS:
                complete.append(self._rejoined(heads, now_s))
                break
            if self._joined:
                complete.append(self._without_joined(stop, heads))
            else:
                complete.append(Collectives(self.next_position, stop, heads, self.replica_ids))
            self.next_position = stop
            self.since_s = now_s
            self._note_crossing(complete[-1])
            for member in self._ordered:
                if member.arrivals[0].stop == stop:
                    member.arrivals.popleft()
                    self._present -= not member.arrivals
        return complete

    def _rejoined(self, heads: Sequence[Arrival], now_s: float) -> Collectives:
        """Let all members take part again, from the next position on: all have joined."""
        position = self.next_position
        self.next_position, self.since_s = position + 1, now_s
        for member in self._ordered:
            member.arrivals.clear()
            member.position = position + 1
        self._front = self._ordered[0]
        self._present = self._joined = 0
        return Collectives(position, position + 1, heads, self.replica_ids)

    def _without_joined(self, stop: int, heads: Sequence[Arrival]) -> Collectives:
        """Return collectives of the members that have not joined before them."""
        ids = self.replica_ids
        joined: dict[int, Join] = {}
        came: dict[int, Arrival] = {}
        for replica_id, head in zip(ids, heads, strict=True):
            if isinstance(head.message, Join):
                joined[replica_id] = head.message
            else:
                came[replica_id] = head
        start = self.next_position
        return Collectives(start, stop, [*came.values()], [*came], joined or None)

    def _note_crossing(self, happened: Collectives) -> None:
        """Record unnamed collectives that were paired although their lines differ."""
        if isinstance(happened.arrivals[0].message, WRITES):
            return  # all are writes, because a write differs from every other collective
        messages = [arrival.message for arrival in happened.arrivals]
        collectives = [one for one in messages if not isinstance(one, _WITHOUT_LABEL)]
        if any(mismatch.are_crossed(collectives[0], other) for other in collectives[1:]):
            lines = frozenset(one.location for one in collectives)
            whose = dict(zip(happened.replica_ids, collectives, strict=True))
            self._crossed.setdefault(lines, whose)

    def crossings(self) -> Iterable[Mapping[int, ExplicitCollective]]:
        """Return unnamed collectives that were paired across lines, once per set of lines.

        Each is a mapping: replica_id → the replica's collective.
        """
        return self._crossed.values()

    # ------------------------------------------------------------ the end

    def end(self, replica_id: int, now_s: float) -> None:
        """Record that a member's function has ended."""
        member = self.members[replica_id]
        if self._least_ended is None or member.position < self._least_ended:
            self._least_ended = member.position
        raised = isinstance(member.participant.ended, Raised)
        if raised or self._joined or self._front.position > member.position:
            self._doom(member.position, now_s)

    def _doom(self, position: int, now_s: float) -> None:
        if self.doomed_at is None:
            took_s = now_s - self.since_s
            self.deadline_s = now_s + min(max(GRACE_S, took_s), LONGEST_GRACE_S)
        self.doomed_at = position if self.doomed_at is None else min(position, self.doomed_at)

    def failure(self, now_s: float, passing: type) -> Failure | None:
        """Return why the call fails; None if it is not doomed, or must still wait for replicas.

        Args:
            passing: The class of the waits after which a replica can still arrive.
        """
        position = self.doomed_at
        if position is None:
            return None
        coming = any(
            one.position <= position
            and (
                one.participant.status is Status.RUNNING
                or isinstance(one.participant.waits_for, passing)
            )
            for one in self._ordered
        )
        if coming and now_s < self.deadline_s:
            return None
        for member in self._ordered:
            ended = member.participant.ended
            if isinstance(ended, Raised) and member.position == position:
                return member.replica_id, ended
        return self._mismatch(position)

    def _mismatch(self, position: int) -> MismatchError:
        members, specs, group = self._ordered, self._specs, self.group
        unlike = mismatch.unlike(position, members, specs, group, strict=self._strict)
        if unlike is not None:
            return unlike.fixed_by(self._fixes(position))
        return mismatch.absent(position, members, specs, group)

    def _fixes(self, position: int) -> Iterable[Fix]:
        """Return fixes that make the arrivals one collective; none if a replica is missing."""
        collectives = [member.collective(position) for member in self._ordered]
        came = [one for one in collectives if one is not None and not isinstance(one, Join)]
        if len(came) < len(collectives):
            return ()
        values = [member.values(position) for member in self._ordered]
        return of_mismatch(came, values, self._specs)

    @property
    def finished(self) -> bool:
        """Return whether every collective has happened at which a member has arrived."""
        return self.next_position == self._front.position

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        members = self._ordered
        assert self._front.position == max(one.position for one in members)
        assert self._present == sum(bool(one.arrivals) for one in members)
        for member in members:
            at = self.next_position
            for arrival in member.arrivals:
                assert arrival.start <= at < arrival.stop
                at = arrival.stop
            assert at == (
                ENDLESS if member.has_joined else max(member.position, self.next_position)
            )
        assert self._joined == sum(one.has_joined for one in members) < len(members)
        ended = [one.position for one in members if one.participant.ended is not None]
        assert self._least_ended == min(ended, default=None)
        assert self.doomed_at is None or self.doomed_at >= self.next_position


class Pairings:
    """The pairings of one call: that of all its replicas, and one for each group that is in use."""

    def __init__(
        self,
        participants: Sequence[Participant],
        specs: Mapping[int, VariableSpec],
        started_s: float,
        *,
        strict: bool,
    ) -> None:
        present = range(len(participants))
        self._make = partial(Pairing, participants, specs=specs, started_s=started_s, strict=strict)
        self._present = present
        self.everyone = self._make(present)
        self.groups: dict[tuple[int, ...], Pairing] = {}  # ids of a group → its pairing
        self.all: tuple[Pairing, ...] = (self.everyone,)  # and those of groups, by their ids

    def of(self, group: tuple[int, ...]) -> Pairing:
        """Return the pairing of a process group, or of all replicas for ().

        Replicas that have joined are no members.
        """
        if not group:
            return self.everyone
        if group not in self.groups:
            members = [i for i in group if i in self._present]
            self.groups[group] = self._make(members, group=group)
            self.all = (self.everyone, *(one for _, one in sorted(self.groups.items())))
        return self.groups[group]

    def _with(self, replica_id: int) -> list[Pairing]:
        """Return the pairings of which a replica is a member."""
        return [pairing for pairing in self.all if replica_id in pairing.members]

    @property
    def doomed(self) -> Pairing | None:
        """Return the first pairing that is doomed; the call fails because of this pairing."""
        return next((one for one in self.all if one.doomed_at is not None), None)

    @property
    def finished(self) -> bool:
        """Return whether every collective has happened at which a replica has arrived."""
        return all(pairing.finished for pairing in self.all)

    def arrivals(self, replica_id: int) -> int:
        """Return the number of collectives at which a replica has arrived."""
        return sum(pairing.members[replica_id].position for pairing in self._with(replica_id))

    def moved_s(self, replica_id: int) -> float:
        """Return the time of a replica's last collective, or of its last contribution."""
        own = self.everyone.members[replica_id].arrivals
        arrived_s = own[-1].at_s if own else 0.0
        return max(arrived_s, *(pairing.since_s for pairing in self._with(replica_id)))

    def crossings(self) -> tuple[Mapping[int, ExplicitCollective], ...]:
        """Return unnamed collectives that were paired across lines; see `Pairing.crossings`."""
        return tuple(chain.from_iterable([pairing.crossings() for pairing in self.all]))

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for group, pairing in self.groups.items():
            assert group == pairing.group
        assert self.all == (self.everyone, *(self.groups[one] for one in sorted(self.groups)))
        for pairing in self.all:
            pairing.validate()


def _wrong_position(member: Member, arrival: Arrival) -> ProtocolError:
    return ProtocolError(
        f"replica {member.replica_id} is at collective {arrival.start} instead of {member.position}"
    )
