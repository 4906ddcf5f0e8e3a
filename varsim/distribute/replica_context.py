"""Provide the context of a function that runs on a replica, with its collectives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from varsim.distribute.collective_arguments import checked_name as checked
from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.collectives import ReplicaCollectives, checked_name
from varsim.distribute.context import Frame, current_frame, entered, replica_in_force
from varsim.distribute.conversion import as_tensor
from varsim.distribute.discarded import Discarded, dropped, only_combines
from varsim.distribute.groups import ProcessGroup
from varsim.distribute.indexed_slices import IndexedSlices
from varsim.distribute.meetings import CriticalSection, isolated, other_replica
from varsim.distribute.reduction import require_joining
from varsim.distribute.strategy import Strategy
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.errors import ContextError
from varsim.location import user_location
from varsim.protocol.parts import Combination, CombineKind, Structure
from varsim.shells.replica import Replica
from varsim.spec import Array
from varsim.sync import combining


class ReplicaContext(ReplicaCollectives):
    """`tf.distribute.ReplicaContext`: the context of a function that runs on a replica."""

    def __init__(self, strategy: Strategy, replica_id: int, session: Any) -> None:
        self._strategy = strategy
        self._id = replica_id
        self._replica_id = replica_id  # among the replicas of this program; TensorFlow has it, too
        self.session: Replica = session
        self.discarded = Discarded()
        self.num_replicas_present = strategy.num_replicas_in_sync
        """The number of replicas that take part in the running call. These are the first replicas.

        It is less than `num_replicas_in_sync` if replicas have joined (uneven: join). TensorFlow
        has no such attribute.
        """
        self.runs_program = False
        """Whether the running call has made a strategy of several workers; see `multi_worker`."""

    @property
    def strategy(self) -> Strategy:
        """Return the strategy whose `run` called the function."""
        return self._strategy

    @property
    def replica_id_in_sync_group(self) -> int:
        """Return the id of this replica: 0…num_replicas_in_sync−1."""
        return self._id

    @property
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas."""
        self._strategy.count_use.by_caller("num_replicas_in_sync")
        return len(self._strategy.devices)

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the device of this replica."""
        return (self._strategy.devices[self._id],)

    # ------------------------------------------------------------ calls of the program

    def merge_call(
        self,
        merge_fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> Any:
        """Have the program call a function once for all replicas, in cross-replica context.

        Args:
            merge_fn: Called as `merge_fn(strategy, *args, **kwargs)`. For an argument that is an
                array on each replica, `merge_fn` gets a PerReplica of these arrays.
            name: A name for the call; see `all_reduce`.
        Returns:
            The function's result. If the result contains a distributed value, this replica's
            component of the value replaces it.
        Raises:
            MismatchError: Not all replicas have made the call.
        """
        self._check_current()
        label = checked_name(name)
        if self.discarded.is_recorded:
            self._note_not_finite(args, kwargs)
        result = self.session.merge_call(merge_fn, (tuple(args), dict(kwargs or {})), label)
        if only_combines(merge_fn) and any(
            isinstance(one, np.ndarray) for one in leaves_of(result)
        ):
            self.discarded.note(dropped("merge_call", 2, warns=False))
        return result

    def _note_not_finite(self, args: Sequence[Any], kwargs: dict[str, Any] | None) -> None:
        """Note that this replica gives NaN or infinity to a merge function."""
        given = leaves_of([*args, *(kwargs or {}).values()])
        numbers = [np.asarray(one) for one in given if isinstance(one, np.ndarray | float)]
        bad = [one for one in numbers if one.dtype.kind == "f" and not np.isfinite(one).all()]
        if bad:
            is_nan = any(bool(np.isnan(one).any()) for one in bad)
            self.discarded.note_not_finite(user_location(), is_nan=is_nan)

    def update(
        self,
        var: Any,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        group: bool = True,
        *,
        name: str | None = None,
    ) -> Any:
        """Apply `fn` to every component of a variable, in a merge_call; see `Extended.update`."""
        self._check_current()
        extended = self._strategy.extended
        return extended.update(var, fn, args, kwargs, group, name=name)

    def lock(self, name: str) -> CriticalSection:
        """Hold a lock in a `with` block: no other replica is in a block of the same lock meanwhile.

        Requests are granted in order of arrival. The writes before the block, and those in it, are
        sent before the lock is taken or released. The lock is also released if the block raises,
        and at the end of the function. A `strategy.run` in a `merge_call` has locks of its own.

        Args:
            name: The lock. Locks need no creation: replicas that use one name use one lock.
        Raises:
            ContextError: This replica holds the lock already; a lock is not re-entrant.
            DeadlockError: Replicas wait for each other; raised by `strategy.run`.
        """
        return self._held(name, is_shared=False)

    def write_lock(self, name: str) -> CriticalSection:
        """Hold a lock alone; another name of `lock`, for programs that also use `read_lock`."""
        return self._held(name, is_shared=False)

    def read_lock(self, name: str) -> CriticalSection:
        """Hold a lock together with other readers, but not with a replica in `lock`; see `lock`.

        A reader does not overtake a waiting writer, so writers are not starved.
        """
        return self._held(name, is_shared=True)

    def _held(self, name: str, *, is_shared: bool) -> CriticalSection:
        lock = checked(name, "a lock")

        def take() -> None:
            self._check_current()
            self.session.take_lock(lock, is_shared=is_shared)

        def leave() -> None:
            self._check_current()
            self.session.leave_lock(lock)

        return CriticalSection(take, leave)

    def barrier(self, name: str | None = None, *, group: ProcessGroup | None = None) -> None:
        """Wait until all replicas of the call have arrived at the barrier.

        Args:
            name: Only arrivals at barriers of the same name meet. The name can be used again.
            group: Only the members of this group meet; see `Strategy.group`.
        Raises:
            DeadlockError: A replica can no longer arrive; raised by `strategy.run`.
        """
        self._check_current()
        ids = self._ids(group, "barrier")
        self.session.barrier(None if name is None else checked(name, "a barrier"), ids)

    def join(self) -> int:
        """Wait until all replicas of the call have joined: this replica has no more data.

        The `all_reduce` of the other replicas goes on with zeros in place of this replica's values:
        SUM and ANY leave it out, MEAN divides by the number of all replicas, and a weighted mean
        gives it the weight 0. A write of a variable is merged from the values of the replicas that
        have not joined. After all have joined, all replicas take part again. TensorFlow does not
        have this method.

        Returns:
            The replica that took part in most collectives; of several, the one with the highest id.
        Raises:
            MismatchError: A collective needs a value of this replica, or the function of another
                replica has ended; raised by `strategy.run`.
            DeadlockError: A replica waits for this one in another operation; raised by
                `strategy.run`.
            SynchronizationError: A variable needs the writes of all replicas; raised by
                `strategy.run`.
        """
        self._check_current()
        return self.session.join()

    def send(self, value: Any, to: int) -> None:
        """Send a value to another replica, and wait until that replica has called `recv`.

        Args:
            value: An array, a variable, a number, a text, or a structure of these. The receiver
                gets a copy.
            to: The id of the other replica.
        Raises:
            IndexError: It is this replica, or it takes no part in the call.
            DeadlockError: The other replica can never receive; raised by `strategy.run`.
        """
        self._check_current()
        other = other_replica(to, "to", self._id, self.num_replicas_present)
        self.session.pass_to(other, isolated(value))

    def recv(self, source: int) -> Any:
        """Wait for a value that another replica sends to this one, and return it.

        Values of one sender arrive in the order of its calls of `send`.

        Args:
            source: The id of the other replica.
        Raises:
            IndexError: It is this replica, or it takes no part in the call.
            DeadlockError: The other replica can never send; raised by `strategy.run`.
        """
        self._check_current()
        other = other_replica(source, "source", self._id, self.num_replicas_present)
        return self.session.receive_from(other)

    def _check_current(self) -> None:
        frame = current_frame()
        if frame is None or (frame.replica is not self and frame.strategy.below is not self):
            raise ContextError(
                "this replica context belongs to a strategy.run that is not running here; get the "
                "current one by get_replica_context()"
            )

    def __repr__(self) -> str:
        return f"ReplicaContext(replica {self._id} of {self.num_replicas_in_sync})"


class OnlyReplicaContext(ReplicaContext):
    """The context of the only replica of a strategy without distribution."""

    def __init__(self, strategy: Strategy, replica_id: int, session: Any) -> None:
        super().__init__(strategy, replica_id, session)
        self._locks: set[str] = set()

    def _held(self, name: str, *, is_shared: bool) -> CriticalSection:
        """Hold a lock for which no other replica can wait."""
        lock = checked(name, "a lock")

        def take() -> None:
            if lock in self._locks:
                raise ContextError(f"this replica already holds lock {lock!r}")
            self._locks.add(lock)

        return CriticalSection(take, lambda: self._locks.discard(lock))

    def barrier(self, name: str | None = None, *, group: ProcessGroup | None = None) -> None:
        """Continue at once: there is no other replica."""
        checked_name(name)

    def join(self) -> int:
        """Return 0 at once: there is no other replica."""
        return 0

    def send(self, value: Any, to: int) -> None:
        """Raise an IndexError: there is no other replica."""
        other_replica(to, "to", self._id, 1)

    def recv(self, source: int) -> Any:
        """Raise an IndexError: there is no other replica."""
        other_replica(source, "source", self._id, 1)

    def all_reduce(
        self,
        reduce_op: Any,
        value: Any,
        options: Any = None,
        *,
        name: str | None = None,
        weight: Any = None,
        group: ProcessGroup | None = None,
    ) -> Any:
        """Return the value itself, with arrays as leaves."""
        op = parse_op(reduce_op)
        how = self._how(CombineKind.ALL_REDUCE, group, op=op)
        if any(isinstance(leaf, IndexedSlices) for leaf in leaves_of(value)):
            require_joining(op, weight)
            checked_name(name)
            return map_structure(
                lambda leaf: leaf if isinstance(leaf, IndexedSlices) else as_tensor(leaf), value
            )
        return self._combine(how, value, name, weight)

    def _combined(
        self,
        how: Combination,
        structure: Structure,
        leaves: list[Array],
        label: str | None,
        weight: float | None,
    ) -> Sequence[Array]:
        """Return the result of one replica: for most collectives, the leaves themselves."""
        if how.kind is CombineKind.ALL_GATHER or not leaves:
            return leaves  # TensorFlow ignores the axis, and accepts an empty structure
        return combining.combined(how, [tuple(leaves)], [weight])[0]

    def merge_call(
        self,
        merge_fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> Any:
        """Call the function in cross-replica context."""
        checked_name(name)
        if replica_in_force() is not self:
            raise ContextError("this replica context belongs to a strategy.run that has ended")
        with entered(Frame(self._strategy)):
            return merge_fn(self._strategy, *args, **(kwargs or {}))
