"""Give variables and strategies names: messages contain the names instead of the objects."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.distributed import DistributedVariable, class_of
from varsim.distribute.lease import Lease
from varsim.distribute.ports import ClusterPort, StrategyPort
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.served import CachingVariable, PerWorkerValue, ShardedVariable
from varsim.distribute.strategy import Strategy
from varsim.errors import ContextError, ProtocolError
from varsim.protocol.buffers import ArrayReader, ArrayWriter
from varsim.protocol.records import Record
from varsim.protocol.references import Name
from varsim.spec import VariableSpec

new_id = itertools.count(1).__next__
"""Returns a new number for a variable or a strategy, which is unique in the program's process."""


_SPEC: Final = Record(VariableSpec)
_NO_ARRAYS: Final = ArrayWriter(), ArrayReader(b"", [])  # a spec contains no array


def _spec_name(spec: VariableSpec) -> Name:
    """Return all fields of the spec; the first field is `variable_id`."""
    fields = _SPEC.encode(spec, _NO_ARRAYS[0])
    return tuple([list(field) if type(field) is tuple else field for field in fields])


def _spec_of(name: Any) -> VariableSpec:
    spec = _SPEC.decode(name, _NO_ARRAYS[1])
    assert isinstance(spec, VariableSpec)
    return spec


def name_of(value: object) -> Name | None:
    """Return the name of a variable, a component or a strategy; None for everything else.

    Raises:
        DroppedVariable: This is a replica's handle of a variable that the program has dropped.
    """
    if isinstance(value, ClusterVariable):
        value.lease.check(value.spec.name)
        return ("distributed", *_strategy_name(value.strategy), _spec_name(value.spec))
    if isinstance(value, CachingVariable):
        return ("served", *_strategy_name(value.strategy), _spec_name(value.spec), value.server)
    if isinstance(value, ShardedVariable):
        shards = [name_of(shard) for shard in value.variables]
        return ("sharded", *_strategy_name(value.strategy), _spec_name(value.spec), shards)
    if isinstance(value, PerWorkerValue):
        return ("per_worker", value.resource_id)
    if isinstance(value, ResourceVariable):
        if value.container is not None:
            return ("component", name_of(value.container), value.replica_id)
        if value.owner is not None:
            raise ContextError(
                f"variable {value.spec.name!r} belongs to one worker, which created it outside the "
                "scope of its MultiWorkerMirroredStrategy: only this worker can use it. Send "
                "v.numpy(), or create it under strategy.scope()"
            )
        return ("plain", _spec_name(value.spec))
    if isinstance(value, Strategy):
        return ("strategy", *_strategy_name(value))
    return None


def _strategy_name(strategy: StrategyPort) -> tuple[Any, ...]:
    """Return the class, the number and the devices of a strategy."""
    return type(strategy).__name__, strategy.strategy_id, list(strategy.devices)


class ProgramReferences:
    """Finds the program's objects by the names that replicas send.

    The whole program has only one instance, because a replica can also send the name of a plain
    variable, or of a variable of another strategy.
    """

    def __init__(self) -> None:
        self._known: weakref.WeakValueDictionary[tuple[str, int], Any] = (
            weakref.WeakValueDictionary()
        )
        self._named: list[object] | None = None
        self._kinds: tuple[type, ...] = ()
        self._copied: list[object] = []

    def know(self, kind: str, number: int, value: object) -> None:
        """Add an object with its kind and number. The object is not kept alive."""
        self._known[kind, number] = value

    @contextmanager
    def recording(self) -> Iterator[list[object]]:
        """Collect the objects that are sent as names in the `with` block, to keep them alive."""
        self._named = []
        try:
            yield self._named
        finally:
            self._named = None

    def note(self, kinds: tuple[type, ...]) -> list[object]:
        """Return a list that collects the objects of these classes that are packed from now on."""
        self._kinds, self._copied = kinds, []
        return self._copied

    def name_of(self, value: object) -> Name | None:
        """Return the name of a variable, a component or a strategy."""
        name = name_of(value)
        if self._kinds and isinstance(value, self._kinds):
            self._copied.append(value)
        if name is not None and self._named is not None:
            self._named.append(value)
        return name

    def find(self, name: Name) -> object:
        """Return the program's object that has this name.

        Raises:
            ProtocolError: The program has dropped this object.
        """
        match name[0]:
            case "component":
                container = self.find(tuple(name[1]))
                assert isinstance(container, DistributedVariable)
                return container.values[name[2]]
            case "distributed":
                lease = self._known.get(("distributed", name[4][0]))
                found = None if lease is None else lease.holder()
            case "plain":
                found = self._known.get(("plain", name[1][0]))
            case "served" | "sharded" as kind:
                found = self._known.get((kind, name[4][0]))
            case "per_worker":
                found = self._known.get(("per_worker", name[1]))
            case _:
                found = self._known.get(("strategy", name[2]))
        if found is None:
            raise ProtocolError(f"a replica sent a name of kind {name[0]!r} that does not exist")
        return found


PROGRAM = ProgramReferences()
"""The variables and strategies of this program."""


MakeHandle = Callable[[str, int, tuple[str, ...]], ClusterPort]
"""Returns a handle of a strategy, given the strategy's class, number and devices."""


class ReplicaReferences:
    """Creates handles in a worker: each represents one object of the program."""

    def __init__(self, strategy: ClusterPort, make_handle: MakeHandle) -> None:
        self._strategies: dict[int, ClusterPort] = {}
        self._own = strategy
        self._make_handle = make_handle  # for other strategies of the program
        self._handles: dict[tuple[str, int], Any] = {}

    def name_of(self, value: object) -> Name | None:
        """Return the name of a handle; see `name_of`."""
        return name_of(value)

    def find(self, name: Name) -> object:
        """Return the handle for a name; the same name always gives the same object."""
        match name[0]:
            case "strategy":
                return self._strategy(*name[1:])
            case "distributed":
                return self._distributed(name)
            case "component":
                container = self.find(tuple(name[1]))
                assert isinstance(container, DistributedVariable)
                return container.values[name[2]]
            case "plain":
                return self._plain(name)
            case "served":
                return self._served(name)
            case "sharded":
                return self._sharded(name)
            case "per_worker":
                return PerWorkerValue(name[1])
            case kind:
                raise ProtocolError(f"unknown kind of object: {kind}")

    def forget(self, variable_ids: tuple[int, ...]) -> None:
        """Drop the handles of variables that the program dropped."""
        for variable_id in variable_ids:
            handle = self._handles.pop(("distributed", variable_id), None)
            if handle is not None:
                handle.lease.end()
            for kind in ("served", "sharded"):
                self._handles.pop((kind, variable_id), None)

    def _strategy(self, kind: str, number: int, devices: list[str]) -> ClusterPort:
        if number == self._own.strategy_id:
            return self._own
        if number == 0:
            raise ProtocolError("the default strategy cannot be used on a replica")
        if number not in self._strategies:
            self._strategies[number] = self._make_handle(kind, number, tuple(devices))
        return self._strategies[number]

    def _distributed(self, name: Name) -> ClusterVariable:
        spec = _spec_of(name[4])
        key = "distributed", spec.variable_id
        if key not in self._handles:
            strategy = self._strategy(*name[1:4])
            self._handles[key] = class_of(spec.synchronization)(strategy, spec, Lease())
        handle = self._handles[key]
        assert isinstance(handle, ClusterVariable)
        return handle

    def _served(self, name: Name) -> CachingVariable:
        spec = _spec_of(name[4])
        key = "served", spec.variable_id
        if key not in self._handles:
            strategy: Any = self._strategy(*name[1:4])
            self._handles[key] = CachingVariable(strategy, spec, name[5])
        handle = self._handles[key]
        assert isinstance(handle, CachingVariable)
        return handle

    def _sharded(self, name: Name) -> ShardedVariable:
        spec = _spec_of(name[4])
        key = "sharded", spec.variable_id
        if key not in self._handles:
            strategy: Any = self._strategy(*name[1:4])
            shards = [self._served(tuple(shard)) for shard in name[5]]
            self._handles[key] = ShardedVariable(strategy, spec, shards)
        handle = self._handles[key]
        assert isinstance(handle, ShardedVariable)
        return handle

    def _plain(self, name: Name) -> ResourceVariable:
        spec = _spec_of(name[1])
        key = "plain", spec.variable_id
        if key not in self._handles:
            self._handles[key] = ResourceVariable(None, spec)
        handle = self._handles[key]
        assert isinstance(handle, ResourceVariable)
        return handle
