"""Store what processes share without a meeting: published components and authoritative copies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from varsim.spec import Array, Operation
from varsim.sync import reduce
from varsim.sync.statistics import Account, OneSidedCounts
from varsim.value_class import value_class

PROGRAM: Final = -1
"""In place of a replica_id: the program reads or pushes."""

COPY: Final = -1
"""In place of the replica_id of an owner: the authoritative copy."""


@value_class(eq=False)
class Shared:
    """A published component, or the authoritative copy, at one time. The array never changes."""

    value: Array
    version: int  # how often the component was published, or the number of applied pushes
    since_s: float  # the time of the publication or the last push; for version 0, of the creation

    def age_ns(self, now_s: float) -> int:
        """Return the age in nanoseconds; messages have no fractions."""
        return max(0, round((now_s - self.since_s) * 1e9))


@value_class(eq=False)
class SharedValues:
    """Everything that is shared of one variable, for the next incarnation of its strategy.

    The times are ages, because each incarnation may have another clock.
    """

    copy: Shared
    published: tuple[Shared, ...]  # in replica order

    def without(self, replica_ids: Collection[int]) -> SharedValues:
        """Return the same without some replicas; the others are renumbered from 0."""
        left = tuple(one for i, one in enumerate(self.published) if i not in replica_ids)
        return SharedValues(self.copy, left)

    def by_owner(self) -> Iterator[tuple[int | None, Shared]]:
        """Yield each value with its owner; the owner of the authoritative copy is None."""
        yield None, self.copy
        yield from enumerate(self.published)


@dataclass(slots=True, eq=False)
class _SharedVariable:
    """What is shared of one variable, and which versions each reader has seen."""

    account: Account
    counts: OneSidedCounts
    copy: Shared
    published: list[Shared]
    seen: dict[tuple[int, int], int] = field(default_factory=dict)  # (reader, owner) → version


class OneSided:
    """The published components and the authoritative copies of all variables that have them.

    At the creation of a variable, its initial value is version 0 of each published component and
    of the authoritative copy. A push adds to the copy; pushes are applied in order of arrival. No
    array is changed in place, so a reader never sees a part of a push.
    """

    def __init__(self, num_replicas: int) -> None:
        self._num_replicas = num_replicas
        self._by_id: dict[int, _SharedVariable] = {}

    def add(
        self,
        variable_id: int,
        account: Account,
        value: Array,
        now_s: float,
        earlier: SharedValues | None = None,
    ) -> None:
        """Add a variable.

        Args:
            value: The initial value.
            earlier: What was shared of the variable in the last incarnation.
        """
        copy = Shared(value, 0, now_s)
        published = [copy] * self._num_replicas
        if earlier is not None:
            copy = _moved(earlier.copy, now_s)
            published = [_moved(one, now_s) for one in earlier.published]
        counts = account.one_sided = OneSidedCounts()
        self._by_id[variable_id] = _SharedVariable(account, counts, copy, published)

    def forget(self, variable_id: int) -> None:
        """Drop a variable."""
        self._by_id.pop(variable_id, None)

    def __contains__(self, variable_id: int) -> bool:
        return variable_id in self._by_id

    def publish(self, variable_id: int, replica_id: int, value: Array, now_s: float) -> None:
        """Replace the published component of a replica."""
        shared = self._by_id[variable_id]
        version = shared.published[replica_id].version + 1
        shared.published[replica_id] = Shared(value, version, now_s)
        shared.counts.publishes += 1
        shared.account.moved(1, value.nbytes)

    def push(self, variable_id: int, writer: int, delta: Array, now_s: float) -> None:
        """Add a delta to the authoritative copy."""
        shared = self._by_id[variable_id]
        value = reduce.apply(Operation.ASSIGN_ADD, shared.copy.value, delta)
        value.setflags(write=False)
        shared.copy = Shared(value, shared.copy.version + 1, now_s)
        key = writer, COPY
        shared.seen[key] = shared.seen.get(key, 0) + 1  # the writer knows its own push
        shared.counts.pushes += 1
        if writer != PROGRAM:
            shared.account.moved(1, delta.nbytes)

    def copy(self, variable_id: int) -> Array | None:
        """Return the authoritative copy of a variable; None if its policy shares nothing."""
        shared = self._by_id.get(variable_id)
        return None if shared is None else shared.copy.value

    def replace(self, variable_id: int, value: Array, now_s: float) -> None:
        """Give the authoritative copy a new value, which must not change afterwards."""
        shared = self._by_id[variable_id]
        value.setflags(write=False)
        shared.copy = Shared(value, shared.copy.version + 1, now_s)

    def pull(self, variable_id: int, reader: int, now_s: float) -> Shared:
        """Return the authoritative copy."""
        shared = self._by_id[variable_id]
        shared.counts.pulls += 1
        return self._read(shared, reader, COPY, shared.copy, now_s)

    def fetch(self, variable_id: int, reader: int, owner: int, now_s: float) -> Shared:
        """Return the last published component of a replica."""
        shared = self._by_id[variable_id]
        shared.counts.fetches += 1
        return self._read(shared, reader, owner, shared.published[owner], now_s)

    def _read(
        self, shared: _SharedVariable, reader: int, owner: int, found: Shared, now_s: float
    ) -> Shared:
        key = reader, owner
        shared.counts.read(found.version - shared.seen.get(key, 0), now_s - found.since_s)
        shared.seen[key] = found.version
        if reader != PROGRAM:
            shared.account.moved(2, found.value.nbytes)
        return found

    def kept(self, variable_id: int, now_s: float) -> SharedValues | None:
        """Return everything that is shared of a variable; None if the policy shares nothing."""
        shared = self._by_id.get(variable_id)
        if shared is None:
            return None
        each: Sequence[Shared] = [shared.copy, *shared.published]
        aged = [Shared(one.value.copy(), one.version, now_s - one.since_s) for one in each]
        return SharedValues(aged[0], tuple(aged[1:]))

    def validate(self) -> None:
        """Assert the conditions that hold after every event."""
        for shared in self._by_id.values():
            assert len(shared.published) == self._num_replicas
            for (_, owner), version in shared.seen.items():
                found = shared.copy if owner == COPY else shared.published[owner]
                assert version <= found.version, "a reader has seen a version that does not exist"


def _moved(earlier: Shared, now_s: float) -> Shared:
    """Return a value of an earlier incarnation, whose time is an age, on the present clock."""
    return Shared(earlier.value, earlier.version, now_s - earlier.since_s)
