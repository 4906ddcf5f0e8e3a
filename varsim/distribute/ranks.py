"""What the faces of Horovod and torch.distributed share: ranks, groups, objects and checks.

A rank is a replica, and each function of a face is a collective of the replica's context. So the
faces work in every `strategy.run`, and in the scripts of `varsim exec --spmd`.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from varsim.distribute.context import program_replica, replica_in_force
from varsim.distribute.discarded import returns_result
from varsim.distribute.replica_context import ReplicaContext
from varsim.errors import ContextError, DistributedValueError, ReplicaIndexError, ValueTypeError
from varsim.launch.devices import place_on_host
from varsim.spec import Array

BYTE: Final = np.dtype(np.uint8)

State = TypeVar("State")


@dataclass(frozen=True, slots=True)
class Members:
    """The ranks that take part in an operation, in increasing order.

    Attributes:
        size: The number of all ranks.
    """

    ranks: tuple[int, ...]
    size: int

    @property
    def is_all(self) -> bool:
        """Return whether these are all ranks."""
        return len(self.ranks) == self.size

    def options(self, context: ReplicaContext) -> dict[str, Any]:
        """Return the arguments that restrict a collective of a context to these ranks."""
        return {} if self.is_all else {"group": context.strategy.group(self.ranks)}

    def index(self, rank: int, argument: str) -> int:
        """Return the number of a rank among the members.

        Raises:
            IndexError: The rank is not a member.
        """
        if isinstance(rank, bool) or not isinstance(rank, int | np.integer):
            raise TypeError(f"{argument}={rank!r}: it must be a rank, such as 0")
        if rank not in self.ranks:
            raise ReplicaIndexError(
                f"{argument}={rank}: the ranks that take part are {list(self.ranks)}"
            )
        return self.ranks.index(rank)


def members_of(ranks: Sequence[int], size: int, what: str) -> Members:
    """Return the members for a list of ranks.

    Raises:
        ValueError: The list is empty, or has a rank twice or one that does not exist.
    """
    given = sorted(int(rank) for rank in ranks)
    if not given or len(set(given)) < len(given) or not 0 <= given[0] <= given[-1] < size:
        raise DistributedValueError(
            f"{what}({list(ranks)}): give different ranks from 0 to {size - 1}"
        )
    return Members(tuple(given), size)


class Face(Generic[State]):
    """A library whose functions are implemented on the replica context.

    Every replica initialises the library for itself, and has its own state.
    """

    def __init__(self, name: str, begin: str) -> None:
        """Describe a library.

        Args:
            name: How programs call the library, such as "hvd".
            begin: The function that initialises it.
        """
        self._name = name
        self._begin = begin
        self._states: WeakKeyDictionary[ReplicaContext, State] = WeakKeyDictionary()

    def replica(self, what: str) -> ReplicaContext:
        """Return the replica that this thread runs.

        A worker of a MultiWorkerMirroredStrategy is the same rank in every context of its program.

        Raises:
            ContextError: The program is in cross-replica context, and no replica runs it.
        """
        context = program_replica() or replica_in_force()
        if context is None:
            raise ContextError(
                f"{self._name}.{what} was called in cross-replica context, where no rank runs: "
                "call it in a function of strategy.run, or start the script with varsim exec --spmd"
            )
        assert isinstance(context, ReplicaContext), "all replicas have this class"
        return context

    def begin(self, context: ReplicaContext, state: State) -> None:
        """Record that a replica has initialised the library."""
        self._states[context] = state

    def end(self, context: ReplicaContext) -> None:
        """Record that a replica no longer uses the library."""
        self._states.pop(context, None)

    def has_begun(self, context: ReplicaContext) -> bool:
        """Return whether a replica has initialised the library."""
        return context in self._states

    def state(self, what: str) -> tuple[ReplicaContext, State]:
        """Return the replica that this thread runs, and its state.

        Raises:
            ContextError: The replica has not initialised the library.
        """
        context = self.replica(what)
        state = self._states.get(context)
        if state is None:
            raise ContextError(
                f"{self._name}.{what}: call {self._name}.{self._begin} first, on every rank"
            )
        return context, state


def everyone(context: ReplicaContext) -> Members:
    """Return all ranks of a replica's call."""
    return Members(tuple(range(context.num_replicas_present)), context.num_replicas_present)


def local_place(context: ReplicaContext) -> tuple[int, int]:
    """Return a replica's number among the replicas of its host, and how many these are."""
    devices = context.strategy.devices
    if not devices:
        return 0, 1
    return place_on_host(devices, context.replica_id_in_sync_group)


def cross_place(context: ReplicaContext) -> tuple[int, int]:
    """Return a replica's number among those with its number on other hosts, and how many these are.

    For example, the first replicas of all hosts have the numbers 0, 1 and so on.
    """
    devices, own = context.strategy.devices, context.replica_id_in_sync_group
    local = local_place(context)[0]
    alike = [i for i in range(len(devices)) if place_on_host(devices, i)[0] == local] or [own]
    return alike.index(own), len(alike)


# ---------------------------------------------------------------- arrays and objects


@returns_result()
def gathered(context: ReplicaContext, members: Members, value: Array, name: str | None) -> Array:
    """Concatenate the members' arrays along the first axis, as `all_gather`, also of bools."""
    is_bool = value.dtype.kind == "b"
    sent = value.view(BYTE) if is_bool else value
    result = np.asarray(context.all_gather(sent, 0, name=name, **members.options(context)))
    return result.view(bool) if is_bool else result


def packed(value: object) -> Array:
    """Return the pickle of an object as an array of bytes."""
    return np.frombuffer(pickle.dumps(value), BYTE)


def unpacked(data: Array) -> Any:
    """Return the object of a pickle that another rank of the same script has sent."""
    return pickle.loads(data.tobytes())


def gathered_objects(
    context: ReplicaContext, members: Members, value: object, name: str
) -> list[Any]:
    """Return the objects of all members, in the order of ranks."""
    data = packed(value)
    sent = [np.array([len(data)]), data]
    options = members.options(context)
    sizes, together = context.all_gather(sent, 0, name=name, **options)
    ends = np.cumsum(sizes)[:-1]
    return [unpacked(part) for part in np.split(np.asarray(together), ends)]


def object_of_root(
    context: ReplicaContext, members: Members, value: object, root: int, name: str
) -> Any:
    """Return the object of one member, on every member; only its pickle is sent."""
    is_root = context.replica_id_in_sync_group == root
    data = packed(value) if is_root else np.empty(0, BYTE)
    result = gathered(context, members, data, name)
    return value if is_root else unpacked(result)


def writable(tensor: Any, what: str, which: str = "its tensor") -> Array:
    """Return an array that a function changes in place.

    Args:
        what: The function.
        which: The array, for an error.
    Raises:
        TypeError: It is not a NumPy array, or cannot be written.
    """
    if not isinstance(tensor, np.ndarray):
        is_variable = hasattr(tensor, "assign")
        raise ValueTypeError(
            "(value)",
            f"{what} changes {which} in place, and {type(tensor).__name__} is not a NumPy array",
            "Give an array with its value, and assign this array: x = np.array(v), and "
            "then v.assign(x)."
            if is_variable
            else "Make it one first: x = np.asarray(x).",
        )
    if not tensor.flags.writeable:
        raise ValueTypeError(
            "(value)",
            f"{what} changes {which} in place, and this array is read-only",
            "Give a copy: np.array(x).",
        )
    return tensor
