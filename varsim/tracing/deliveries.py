"""Find the events of messages that the program sends to several replicas."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from varsim.spec import Array

Events = Sequence[int]
"""The event numbers of a message."""

Positions = Sequence[int | None]
"""The positions of the merges of a commit, one for each variable."""

NO_REPLICA = -1


class Deliveries:
    """Keeps the events of a message to several replicas until all of them have received it."""

    def __init__(self) -> None:
        self._delivered: dict[tuple[object, ...], tuple[Events, set[int]]] = {}

    def first(
        self, replica_id: int, what: tuple[object, ...], receivers: int, make: Callable[[], Events]
    ) -> Events:
        """Return the events of a message; create these events at the first delivery.

        Args:
            receivers: The number of replicas that receive the message.
        """
        found = self._delivered.get(what)
        if found is None:
            found = self._delivered[what] = make(), set()
        events, who = found
        if replica_id != NO_REPLICA:
            who.add(replica_id)
            if len(who) == receivers:
                del self._delivered[what]
        return events


@dataclass(slots=True)
class _OpenCommit:
    positions: Positions
    is_uneven: bool  # whether the components had different versions before the commit
    made: dict[tuple[int, ...], Events] = field(default_factory=dict)
    """The events: those of each replica, or those of all replicas, whose key is empty."""
    who: set[int] = field(default_factory=set)  # the replicas that have received the commit


class CommitDeliveries:
    """Finds the event of a commit, although components can have different versions.

    A commit of the program to one component makes only this component's version larger. Afterwards
    the commit of a merge has other versions on this replica. It is still one commit: it has the
    same *base* versions on all replicas, which are its versions without the commits to single
    components. Then there is one event for each replica, all at the position of the merge.
    """

    def __init__(self, num_replicas: int) -> None:
        self._num_replicas = num_replicas
        self._open: dict[tuple[bytes, bytes], _OpenCommit] = {}  # variables, base versions → commit
        self._expected: defaultdict[tuple[int, int], int] = defaultdict(int)
        """Variable and replica → number of the program's writes to this component alone whose
        commits have not been sent yet."""
        self._own: dict[int, list[int]] = {}
        """Variable → for each replica, the number of commits to its component alone."""

    def writes_to_one(self, variable_id: int, replica_id: int) -> None:
        """Record that the program writes one component: the next commit is for that component."""
        self._expected[variable_id, replica_id] += 1

    def take_to_one(self, replica_id: int, variable_ids: Array, versions: Array) -> bool:
        """Count a commit, if it is for the component of one replica alone; return whether it is."""
        if not self._expected or len(variable_ids) != 1:
            return False
        whose = int(variable_ids[0]), replica_id
        if (
            whose not in self._expected
            or self._key(replica_id, variable_ids, versions) in self._open
        ):
            return False
        self._expected[whose] -= 1
        if not self._expected[whose]:
            del self._expected[whose]
        self._own.setdefault(whose[0], [0] * self._num_replicas)[replica_id] += 1
        return True

    def events(
        self,
        replica_id: int,
        variable_ids: Array,
        versions: Array,
        settle: Callable[[], Positions],
        make: Callable[..., Events],
        *,
        is_sent: bool,
    ) -> Events:
        """Return the events of a commit to all replicas; create them if they do not exist yet.

        Args:
            settle: Returns the positions of the merges that the commit ends.
            make: Creates the events; called with the positions, and with the replica if the
                components have different versions.
            is_sent: Whether the replica gets the commit now, not later.
        """
        key = self._key(replica_id, variable_ids, versions)
        commit = self._open.get(key)
        if commit is None:
            own = [self._own.get(one, ()) for one in variable_ids.tolist()]
            is_uneven = any(len(set(one)) > 1 for one in own)
            commit = self._open[key] = _OpenCommit(settle(), is_uneven)
        whose = (replica_id,) if commit.is_uneven else ()
        events = commit.made.get(whose)
        if events is None:
            events = commit.made[whose] = make(commit.positions, *whose)
        if is_sent:
            commit.who.add(replica_id)
            if len(commit.who) == self._num_replicas:
                del self._open[key]
        return events

    def _key(self, replica_id: int, variable_ids: Array, versions: Array) -> tuple[bytes, bytes]:
        base = versions
        if self._own:
            owners = variable_ids.tolist()
            own = [self._own[i][replica_id] if i in self._own else 0 for i in owners]
            base = versions - np.array(own, versions.dtype)
        return variable_ids.tobytes(), base.tobytes()
