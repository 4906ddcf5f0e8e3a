"""Keep track of the barriers of one call, and of the values that replicas send to each other."""

from __future__ import annotations

from collections.abc import Sequence

from varsim.protocol.messages import Payload


class Barriers:
    """The barriers of one call. A barrier without a name is the one whose name is None.

    A barrier ends when all replicas of the call have arrived. The same name can be used again.
    """

    def __init__(self, num_replicas: int) -> None:
        self._num_replicas = num_replicas
        self._arrived: dict[str | None, set[int]] = {}

    def arrive(self, name: str | None, replica_id: int) -> Sequence[int]:
        """Record an arrival. Return all replicas if it was the last one; otherwise no replica."""
        arrived = self._arrived.setdefault(name, set())
        arrived.add(replica_id)
        if len(arrived) < self._num_replicas:
            return ()
        del self._arrived[name]
        return range(self._num_replicas)

    def missing(self, name: str | None) -> list[int]:
        """Return the replicas that have not arrived at a barrier at which a replica waits."""
        arrived = self._arrived[name]
        return [i for i in range(self._num_replicas) if i not in arrived]

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        everyone = [one for arrived in self._arrived.values() for one in arrived]
        assert len(everyone) == len(set(everyone)), "a replica waits at one barrier at most"
        assert all(0 < len(one) < self._num_replicas for one in self._arrived.values())


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
