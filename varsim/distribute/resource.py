"""Define variables with one value: plain variables, and components of distributed variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from varsim.distribute.context import current_frame
from varsim.distribute.conversion import to_array
from varsim.distribute.host_requests import ReadVariable, WriteVariable
from varsim.distribute.manual import Manual, OnlyReplica, Refused
from varsim.distribute.operands import explain
from varsim.distribute.ports import ReplicaPort, StrategyPort
from varsim.distribute.sparse import as_rows, read_indices, row_indices, selects, with_elements
from varsim.distribute.variable import Variable
from varsim.errors import OperationError, PartError, ShapeError, VariableError
from varsim.location import located, user_location
from varsim.spec import Array, Context, Operand, Operation, Rows
from varsim.sync import reduce, scatter
from varsim.sync.components import check_operand
from varsim.sync.policies.legality import check_arithmetic

if TYPE_CHECKING:
    from varsim.shells.replica import Replica
    from varsim.spec import VariableSpec


class Store(Protocol):
    """Access to the storage of one value."""

    def read(self) -> Array:
        """Return the value; read-only."""

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation to the value, with an operand of its dtype."""

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements of the value."""


class ResourceVariable(Variable):
    """A variable with one value. Its synchronization and aggregation have no effect."""

    created_under: StrategyPort | None = None
    """The strategy in whose scope a plain variable was created."""

    owner: ReplicaPort | None = None
    """The replica that has created a plain variable for itself alone; None for the program."""

    def __init__(self, store: Store | None, spec: VariableSpec) -> None:
        self._store: Store = store or NotHere()
        self.spec = spec
        self._name = spec.name
        self._dtype = spec.dtype
        self._shape = spec.shape
        self._trainable = spec.trainable
        self._synchronization = spec.requested
        self._aggregation = spec.aggregation
        self._only_replica: OnlyReplica | None = None
        if isinstance(store, HeldHere):
            self._only_replica = OnlyReplica(self, spec, store.read())

    @property
    def manual(self) -> Manual:
        """Return the operations of a plain variable in its own process; else refuse them."""
        if self.container is not None:
            problem = "of one component: the operations concern the whole variable"
            return Refused(self._name, problem, "Call the method of the variable itself.")
        if self._only_replica is None or self._from_a_replica() is not None:
            problem = "on a replica: the variable was created outside the scope of the strategy"
            return Refused(self._name, problem, "Create it under strategy.scope().")
        return self._only_replica

    def read_value(self) -> Array:
        """Return the value; read-only."""
        session = self._from_a_replica()
        if session is None:
            return self._store.read()
        value = np.asarray(session.call_host(ReadVariable(self)))
        value.setflags(write=False)
        return value

    def convert(self) -> Array:
        """Return the value; read-only."""
        return self.read_value()

    def write(self, operation: Operation, value: Any, read_value: bool = True) -> None:
        """Apply an assign, assign_add or assign_sub.

        Raises:
            VariableError: The variable cannot take the value; nothing has changed.
        """
        try:
            if self._dtype.kind == "b":
                check_arithmetic(self.spec, operation, num_replicas=1)
            self.write_operand(operation, to_array(value, self._dtype, self._name))
        except VariableError as error:  # a plain variable has the same fixes as a component
            explain(error, self.spec, Context.UPDATE, operation, value, 1)
            raise

    def scatter(self, operation: Operation, sparse_delta: Any) -> None:
        """Apply one of the sparse writes.

        Raises:
            VariableError: The variable cannot take the rows; nothing has changed.
        """
        try:
            self.write_operand(operation, as_rows(sparse_delta, self._dtype, self._name))
        except VariableError as error:
            error.location = error.location or user_location()
            raise

    def write_operand(self, operation: Operation, operand: Operand) -> None:
        """Apply a write, in the process that owns the variable."""
        session = self._from_a_replica()
        if session is None:
            self._store.write(operation, operand)
        else:
            session.call_host(WriteVariable(self, operation, operand))

    @located
    def scatter_elements(self, method: str, indices: Any, updates: Any = None) -> None:
        """Change some elements, and assign the whole value."""
        after = with_elements(method, self.convert(), indices, updates, self._name)
        self.write(Operation.ASSIGN, after)

    def _from_a_replica(self) -> Replica | None:
        """Return the current replica if it uses this variable as a plain variable; else None."""
        frame = current_frame()
        if self.container is not None or frame is None or frame.replica is None:
            return None
        return None if self.owner is not None else frame.replica.session

    def count_up_to(self, limit: int) -> Any:
        """Raise an error: TensorFlow has deprecated this method."""
        raise OperationError(self._name, "count_up_to is not supported", "Use assign_add(1).")

    @located
    def sparse_read(self, indices: Any, name: str | None = None) -> Array:
        """Return a copy of the rows at `indices`."""
        index = read_indices("sparse_read", indices, self._name)
        return self._checked_rows("sparse_read", (index,))

    @located
    def gather_nd(self, indices: Any, name: str | None = None) -> Array:
        """Return the elements at the index tuples in the last axis of `indices`."""
        index = read_indices("gather_nd", indices, self._name)
        if not index.ndim:
            raise ShapeError(self._name, "gather_nd needs index tuples in the last axis")
        return self._checked_rows("gather_nd", tuple(np.moveaxis(index, -1, 0)))

    def part(self, key: Any) -> Array:
        """Return the part of the value that `key` selects."""
        return (
            self._rows((row_indices(key, self._name),))
            if selects(key, self._name)
            else super().part(key)
        )

    def _checked_rows(self, method: str, key: tuple[Array, ...]) -> Array:
        try:
            return self._rows(key)
        except IndexError as error:
            raise PartError(self._name, f"{method}: {error}") from error

    def _rows(self, key: tuple[Array, ...]) -> Array:
        if self._from_a_replica() is not None:
            return np.array(self.convert()[key])
        return self._store.rows(key)

    def __iadd__(self, other: Any) -> Any:  # type: ignore[misc]  # it always raises
        raise RuntimeError("variable += value does not change a variable: use assign_add(value)")

    def __isub__(self, other: Any) -> Any:  # type: ignore[misc]  # it always raises
        raise RuntimeError("variable -= value does not change a variable: use assign_sub(value)")

    def __repr__(self) -> str:
        return described(self, "tf.Variable")

    def __copy__(self) -> ResourceVariable:
        return ResourceVariable(self._store, self.spec)

    def __deepcopy__(self, memo: Any) -> ResourceVariable:
        return ResourceVariable(HeldHere(self.spec, np.array(self.convert())), self.spec)


def described(variable: Variable, kind: str) -> str:
    """Return the text of a variable with one value, as TensorFlow shows it."""
    shape = "(" + ", ".join("None" if n is None else str(n) for n in variable.shape)
    shape += ",)" if len(variable.shape) == 1 else ")"
    value = variable.convert()
    shown = repr(value) if value.ndim else str(value)
    return f"<{kind} {variable.name!r} shape={shape} dtype={variable.dtype}, numpy={shown}>"


class NotHere:
    """The store of a plain variable in a worker: the value is in the program's process.

    The methods are never called, because the code of a worker runs in replica context, where a
    plain variable is read and written by host calls.
    """

    def read(self) -> Array:
        """Raise an error."""
        raise AssertionError("a worker does not have the value of a plain variable")

    def write(self, operation: Operation, operand: Operand) -> None:
        """Raise an error."""
        raise AssertionError("a worker does not have the value of a plain variable")

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Raise an error."""
        raise AssertionError("a worker does not have the value of a plain variable")


class HeldHere:
    """The store of a plain variable in the program's own process."""

    def __init__(self, spec: VariableSpec, value: Array) -> None:
        self._spec = spec
        self._value = value
        self._is_owned = False  # whether no other reference to the value exists

    def read(self) -> Array:
        """Return the value; read-only."""
        self._is_owned = False
        self._value.setflags(write=False)
        return self._value

    def write(self, operation: Operation, operand: Operand) -> None:
        """Apply an operation. A sparse write copies the value only if other references may exist.

        Raises:
            VariableError: The variable cannot take the operand; nothing has changed.
        """
        check_operand(self._spec, operation, self._value.shape, operand)
        if not isinstance(operand, Rows):
            self._value = reduce.apply(operation, self._value, operand)
            self._is_owned = False
            return
        if not self._is_owned:
            self._value = np.array(self._value, order="C")
            self._is_owned = True
        scatter.apply_rows(operation, self._value, operand)

    def rows(self, key: tuple[Array, ...]) -> Array:
        """Return a copy of some rows or elements."""
        return np.array(self._value[key])
