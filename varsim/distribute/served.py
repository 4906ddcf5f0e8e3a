"""Define the variables of parameter servers: one copy, or one copy of each shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from varsim.distribute.manual import Manual, Refused
from varsim.distribute.ports import StrategyPort
from varsim.distribute.resource import ResourceVariable
from varsim.errors import ContextError, ShapeError, UnsupportedError
from varsim.shells.server_client import ServerClient
from varsim.spec import Array, Operand, Operation, Rows, VariableSpec

_client: ContextVar[ServerClient | None] = ContextVar("varsim_server_client", default=None)
"""The client of the worker whose closure runs here; None in the program."""


@contextmanager
def on_worker(client: ServerClient) -> Iterator[None]:
    """Use a worker's links to the servers in the block."""
    token = _client.set(client)
    try:
        yield
    finally:
        _client.reset(token)


def is_on_worker() -> bool:
    """Return whether this code runs in a closure on a worker."""
    return _client.get() is not None


def experimental_get_current_worker_index() -> int:
    """Return the number of the worker that runs this scheduled function, from 0.

    Raises:
        ContextError: This code runs in no scheduled function.
    """
    client = _client.get()
    if client is None:
        raise ContextError(
            "only a function of coordinator.schedule runs on a worker: this code runs in the "
            "program"
        )
    return client.process


class ServerPort(StrategyPort, Protocol):
    """The part of a strategy with parameter servers that its variables use."""

    @property
    def client(self) -> ServerClient:
        """Return the program's links to the servers.

        Raises:
            ContextError: This process is a worker, and no closure runs.
        """


class OnServer:
    """The store of a variable on a parameter server."""

    def __init__(self, strategy: ServerPort, server: int, variable_id: int) -> None:
        self._strategy = strategy
        self._server = server
        self._variable_id = variable_id

    @property
    def _here(self) -> ServerClient:
        return _client.get() or self._strategy.client

    def read(self) -> Array:
        """Return the value; read-only."""
        return self._here.read(self._server, self._variable_id)

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation, atomically."""
        self._here.write(self._server, self._variable_id, operation, operand)

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements. The whole value is read."""
        return np.array(self.read()[key])


class CachingVariable(ResourceVariable):
    """A variable on a parameter server. Its synchronization and aggregation have no effect.

    The class has the name of TensorFlow's class, whose variables cache reads only in a scope of
    TensorFlow's internals. varsim's variables cache nothing.

    Each read and each write goes to the server, in the program and in closures. Each is atomic, and
    takes effect in order of arrival. A read and a later write, as in `v.assign(v + 1)`, are not
    atomic together: another closure can write in between, and its update is then lost.
    """

    def __init__(self, strategy: ServerPort, spec: VariableSpec, server: int) -> None:
        super().__init__(OnServer(strategy, server, spec.variable_id), spec)
        self.created_under = strategy
        self.strategy = strategy
        self.server = server

    @property
    def device(self) -> str:
        """Return the server that has the value, as TensorFlow names it."""
        return f"/job:ps/replica:0/task:{self.server}/device:CPU:0"

    @property
    def manual(self) -> Manual:
        """Refuse the manual operations."""
        return _refused(self._name)

    def __copy__(self) -> CachingVariable:
        return type(self)(self.strategy, self.spec, self.server)

    def __deepcopy__(self, memo: Any) -> ResourceVariable:
        raise _no_copy(self._name)


class Shards:
    """The store of a sharded variable: shards along axis 0, each on one server."""

    def __init__(self, name: str, shards: Sequence[CachingVariable]) -> None:
        self._name = name
        self._shards = shards
        sizes = [int(shard.shape[0] or 0) for shard in shards]
        self._ends = [int(end) for end in np.cumsum([0, *sizes])]

    def read(self) -> Array:
        """Return the value; read-only. Other processes can write between the reads of shards."""
        value = np.concatenate([shard.read_value() for shard in self._shards])
        value.setflags(write=False)
        return value

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation to each shard. It is atomic for each shard, not for all together.

        Raises:
            VariableError: The variable cannot take the operand; no shard has changed.
        """
        if isinstance(operand, Rows):
            self._scatter(operation, operand)
            return
        shape = (self._ends[-1], *self._shards[0].shape[1:])
        if operand.shape != shape:
            raise ShapeError(self._name, f"a value of shape {operand.shape}, not {shape}")
        for shard, (begin, end) in zip(self._shards, pairwise(self._ends), strict=True):
            shard.write_operand(operation, np.asarray(operand[begin:end], order="C"))

    def _scatter(self, operation: Operation, rows: Rows) -> None:
        wrong = rows.indices[(rows.indices < 0) | (rows.indices >= self._ends[-1])]
        if wrong.size:
            raise ShapeError(
                self._name, f"row {wrong[0]} does not exist: it has {self._ends[-1]} rows"
            )
        for shard, (begin, end) in zip(self._shards, pairwise(self._ends), strict=True):
            inside = (rows.indices >= begin) & (rows.indices < end)
            if inside.any():
                part = Rows(rows.indices[inside] - begin, rows.values[inside])
                shard.write_operand(operation, part)

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements. The whole value is read."""
        return np.array(self.read()[key])


class ShardedVariable(ResourceVariable):
    """A variable whose rows are divided over several variables, the shards.

    Source: `tf.distribute`'s ShardedVariable, which a `variable_partitioner` makes.
    """

    def __init__(
        self, strategy: ServerPort, spec: VariableSpec, shards: Sequence[CachingVariable]
    ) -> None:
        super().__init__(Shards(spec.name, shards), spec)
        self.created_under = strategy
        self.strategy = strategy
        self._shards = tuple(shards)

    @property
    def variables(self) -> tuple[CachingVariable, ...]:
        """Return the shards, in the order of their rows."""
        return self._shards

    @property
    def device(self) -> str:
        """Raise an error: each shard has its own server."""
        raise ContextError(
            f"sharded variable {self._name!r} has no device: use v.variables[i].device"
        )

    @property
    def manual(self) -> Manual:
        """Refuse the manual operations."""
        return _refused(self._name)

    def __copy__(self) -> ShardedVariable:
        return type(self)(self.strategy, self.spec, self._shards)

    def __deepcopy__(self, memo: Any) -> ResourceVariable:
        raise _no_copy(self._name)


def _refused(name: str) -> Manual:
    problem = "on a parameter server: its only copy is authoritative already"
    return Refused(name, problem, "Read it and assign_add to it: each is atomic.")


def _no_copy(name: str) -> ContextError:
    return ContextError(
        f"variable {name!r} of a parameter server cannot be copied: create a variable with its "
        "value, tf.Variable(v.numpy())"
    )


class PerWorkerValue:
    """A value of which every worker has its own, as an argument of closures.

    Source: `tf.distribute.coordinator.PerWorkerValue`.
    """

    def __init__(self, resource_id: int) -> None:
        self.resource_id = resource_id

    def __next__(self) -> Any:
        raise UnsupportedError(
            "the values of a per-worker iterator are on the workers: pass the iterator to a "
            "scheduled function, and call next() there"
        )

    def __iter__(self) -> PerWorkerValue:
        return self
