"""Keep track of the barriers of one call, and of the values that replicas send to each other."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from varsim.protocol.messages import Payload

Barrier = tuple[tuple[int, ...], str | None]
"""A barrier: its process group, or () for all replicas, and its name."""


class Barriers:
    """The barriers of one call. A barrier without a name is the one whose name is None.

    A barrier ends when all replicas of the call, or all members of its group, have arrived. It can
    be used again. A barrier of all replicas does not wait for those that have joined.
    """

    def __init__(self, num_replicas: int) -> None:
        self._present = range(num_replicas)
        self._joined: Collection[int] = ()
        self._arrived: dict[Barrier, set[int]] = {}

    def arrive(self, barrier: Barrier, replica_id: int) -> Sequence[int]:
        """Record an arrival. Return all members if it was the last one; otherwise no replica."""
        arrived = self._arrived.setdefault(barrier, set())
        arrived.add(replica_id)
        members = self._members(barrier)
        if len(arrived) < len(members):
            return ()
        del self._arrived[barrier]
        return members

    def join(self, joined: Collection[int]) -> Sequence[int]:
        """Set the replicas that have joined; return the replicas whose barriers end now."""
        self._joined = joined
        over = [one for one in self._arrived if len(self._arrived[one]) == len(self._members(one))]
        return [i for barrier in over for i in sorted(self._arrived.pop(barrier))]

    def missing(self, barrier: Barrier) -> list[int]:
        """Return the replicas that have not arrived at a barrier at which a replica waits."""
        arrived = self._arrived[barrier]
        return [i for i in self._members(barrier) if i not in arrived]

    def _members(self, barrier: Barrier) -> Sequence[int]:
        group, _ = barrier
        if group:
            return [i for i in group if i in self._present]
        return [i for i in self._present if i not in self._joined]

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        everyone = [one for arrived in self._arrived.values() for one in arrived]
        assert len(everyone) == len(set(everyone)), "a replica waits at one barrier at most"
        for barrier, arrived in self._arrived.items():
            assert set() < arrived < set(self._members(barrier))


class Posts:
    """The values that replicas send to each other.

    A send and a receive meet: each of the two replicas waits for the other one. So there is no
    queue of values, and a replica has at most one value on its way.
    """

    def __init__(self) -> None:
        self._sends: dict[int, tuple[int, Payload]] = {}  # sender → receiver, value
        self._receives: dict[int, int] = {}  # receiver → sender

    def send(self, sender: int, receiver: int, value: Payload) -> bool:
        """Return whether the receiver waits for the value; otherwise keep the value until then."""
        if self._receives.get(receiver) == sender:
            del self._receives[receiver]
            return True
        self._sends[sender] = receiver, value
        return False

    def receive(self, receiver: int, sender: int) -> Payload | None:
        """Return the value if the sender waits with it; otherwise None, and the receiver waits."""
        to, value = self._sends.get(sender, (None, None))
        if to == receiver:
            del self._sends[sender]
            return value
        self._receives[receiver] = sender
        return None

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        assert not self._sends.keys() & self._receives.keys(), "a replica waits for one thing"
        for sender, (receiver, _) in self._sends.items():
            assert self._receives.get(receiver) != sender, "the two have not met"
