"""Define the base of the variables of strategies with workers."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from varsim.distribute.context import (
    Frame,
    base_frame,
    current_frame,
    entered,
    is_outside,
    mixed,
)
from varsim.distribute.conversion import as_operand
from varsim.distribute.lease import Lease
from varsim.distribute.manual import InProgram, InReplica, Manual, Refused
from varsim.distribute.operands import explain
from varsim.distribute.ports import ClusterPort, ReplicaPort, StrategyPort
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.sparse import as_rows, row_indices, selects
from varsim.distribute.values import DistributedValues
from varsim.distribute.variable import Variable
from varsim.errors import (
    ContextError,
    DistributedValueError,
    OperationError,
    UnsupportedOperation,
    VariableError,
)
from varsim.location import located, user_location
from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import policies
from varsim.sync.fixes import refusal_of_rows
from varsim.sync.replica_events import ReplicaScatter, RowsRead
from varsim.texts.mixtures import OF_VARIABLE


class ClusterVariable(Variable):
    """A variable of a strategy with workers.

    The effect of an operation depends on the current context: see `varsim.sync.policies`.
    """

    def __init__(
        self, strategy: ClusterPort, spec: VariableSpec, lease: Lease[ClusterVariable]
    ) -> None:
        self.strategy = strategy
        self.spec = spec
        self.lease = lease  # shared by all copies of this object
        self._of_program: ClusterVariable | None = None
        lease.hold(self)
        self._name = spec.name
        self._dtype = spec.dtype
        self._shape = spec.shape
        self._trainable = spec.trainable
        self._synchronization = spec.synchronization
        self._aggregation = spec.aggregation
        self._uses_location = policies.uses_location(spec)

    @cached_property
    def variable_id(self) -> int:
        """Return the number of the variable.

        Raises:
            DroppedVariable: The program has dropped the variable; this is a replica's handle.
        """
        self.lease.check(self._name)
        return self.spec.variable_id

    def under(self, strategy: ClusterPort) -> ClusterVariable:
        """Return the same variable as one of another strategy, whose program runs on a replica."""
        variable = type(self)(strategy, self.spec, self.lease)
        variable._of_program = self.of_program  # noqa: SLF001  # the same class
        return variable

    @property
    def of_program(self) -> ClusterVariable:
        """Return the variable of the program that started the workers: usually this object."""
        return self if self._of_program is None else self._of_program

    @property
    def distribute_strategy(self) -> ClusterPort:
        """Return the strategy that created the variable."""
        return self.strategy

    @property
    def is_mirrored(self) -> bool:
        """Return whether all components should hold the same value."""
        return policies.policy_of(self.spec.synchronization).is_mirrored

    @property
    def merges(self) -> bool:
        """Return whether a write in replica context combines the values of all replicas."""
        return policies.merges(self.spec)

    @property
    def slice_remedy(self) -> str:
        """Return how to write a part of the value if a slice cannot be assigned."""
        if policies.cell(self.spec, Context.REPLICA, Operation.ASSIGN).is_private:
            return "Assign the slice in strategy.run, or a slice of a component: v.values[i]."
        return "Add the change of its rows: v.scatter_add(tf.IndexedSlices(change, rows))."

    @property
    def takes_slices(self) -> bool:
        """Return whether the current replica has its own value, as for ON_READ and NONE."""
        frame = current_frame()
        here = frame is not None and frame.replica is not None and frame.strategy is self.strategy
        return here and policies.cell(self.spec, Context.REPLICA, Operation.ASSIGN).is_private

    # ------------------------------------------------------------ reading

    def read_value(self) -> Array:
        """Return the value in the current context; read-only.

        Raises:
            VariableError: The policy refuses a read in this context.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return frame.replica.session.read(self.variable_id)
        if frame is None or self._is_cross(frame):
            return self.strategy.cross.read(self)
        if (base := base_frame(frame, self.strategy)) is not None:
            with entered(base):
                return self.read_value()
        return self._at_hand(frame).read_value()

    def forget_values(self) -> None:
        """Drop the component objects, because the number of replicas has changed."""

    def _at_hand(self, frame: Frame) -> ResourceVariable:
        """Return the component that `extended.update` is about to change in this frame."""
        raise AssertionError("only a variable with components is not always in cross context")

    def mixed(self, frame: Frame, where: str = "") -> ContextError:
        """Return the error for the use of this variable under another strategy; see `mixed`."""
        at = f" ({self.spec.created_at})" if self.spec.created_at else ""
        return mixed(frame, self.strategy, f"variable {self.spec.name!r}{at}", OF_VARIABLE, where)

    def require_strategy(self, strategy: StrategyPort, operation: str) -> None:
        """Check that this variable belongs to a strategy that is about to use it.

        Raises:
            ContextError: The variable belongs to another strategy.
        """
        if self.strategy is not strategy:
            raise self.mixed(Frame(strategy), operation)

    def _is_cross(self, frame: Frame) -> bool:
        if frame.strategy is self.strategy:
            return frame.replica is None
        if is_outside(frame, self.strategy):
            return True
        if base_frame(frame, self.strategy) is None:
            raise self.mixed(frame)
        return False

    # ------------------------------------------------------------ writing

    def write(self, operation: Operation, value: Any, read_value: bool = True) -> None:
        """Apply an assign, assign_add or assign_sub, as the policy says for the current context.

        Raises:
            VariableError: The policy, the dtype or the shape does not allow the write; nothing has
                changed.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            given = value
            try:
                if type(value) is not np.ndarray or value.dtype is not self._dtype:
                    value = self._operand(value)
                location = user_location(3) if self._uses_location else ""
                session = frame.replica.session
                session.write(self.variable_id, operation, value, location)
            except VariableError as error:
                self._explain(error, Context.REPLICA, operation, given)
                raise
        elif frame is None or self._is_cross(frame):
            try:
                self.strategy.cross.write(self, operation, value, read_value=read_value)
            except VariableError as error:
                self._explain(error, Context.CROSS_REPLICA, operation, value)
                raise
        elif (base := base_frame(frame, self.strategy)) is not None:
            with entered(base):
                self.write(operation, value, read_value)
        else:
            self._at_hand(frame).write(operation, value)

    def scatter(self, operation: Operation, sparse_delta: Any) -> None:
        """Apply a sparse write, as the policy says for the current context.

        Raises:
            VariableError: The variable cannot take the rows; nothing has changed.
            UnsupportedError: The policy refuses the write, as in TensorFlow.
            ContextError: The program is under another strategy.
        """
        frame = current_frame()
        try:
            if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
                self._check_scatter(Context.REPLICA, operation)
                if isinstance(sparse_delta, DistributedValues):
                    sparse_delta = self._own(sparse_delta, frame.replica)
                rows = as_rows(sparse_delta, self._dtype, self._name)
                event = ReplicaScatter(self.variable_id, operation, rows, user_location(3))
                frame.replica.session.scatter(event)
            elif frame is None or self._is_cross(frame):
                self._check_scatter(Context.CROSS_REPLICA, operation)
                self.strategy.cross.scatter(self, operation, sparse_delta)
            elif (base := base_frame(frame, self.strategy)) is not None:
                with entered(base):
                    self.scatter(operation, sparse_delta)
            else:
                self._at_hand(frame).scatter(operation, sparse_delta)
        except VariableError as error:
            error.location = error.location or user_location()
            raise

    def _check_scatter(self, context: Context, operation: Operation) -> None:
        """Raise the error of a refused sparse write before its value is converted."""
        refused = policies.cell(self.spec, context, operation).refused
        if refused is not None:
            raise refusal_of_rows(self.spec, refused, context, operation)

    def part(self, key: Any) -> Array:
        """Return the part of the value that `key` selects."""
        frame = current_frame()
        here = frame is not None and frame.replica is not None and frame.strategy is self.strategy
        if not selects(key, self._name):
            return super().part(key)
        index = row_indices(key, self._name)
        if not here:
            return super().part(index)
        assert frame is not None
        assert frame.replica is not None
        return frame.replica.session.read_rows(RowsRead(self.variable_id, (index,)))

    def _explain(
        self, error: VariableError, context: Context, operation: Operation, value: Any
    ) -> None:
        count = self.strategy.num_replicas_in_sync
        explain(error, self.spec, context, operation, value, count)

    def update_buffer(self) -> Array:
        """Return an array in which to build the next update; see `Variable.update_buffer`."""
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return frame.replica.session.buffer(self.variable_id)
        return super().update_buffer()

    def _operand(self, value: Any) -> Array:
        """Return the value to write on this replica; the result can be the caller's array."""
        if isinstance(value, DistributedValues):
            frame = current_frame()
            assert frame is not None
            assert frame.replica is not None
            value = self._own(value, frame.replica)
        return as_operand(value, self._dtype, self._name)

    def _own(self, value: DistributedValues, replica: ReplicaPort) -> Any:
        """Return a variable itself, or this replica's component of a captured per-replica value.

        Raises:
            DistributedValueError: The write changes only this replica's component, because the
                variable has no aggregation. As in TensorFlow, such a write cannot take a captured
                per-replica value.
        """
        if isinstance(value, Variable):
            return value
        if not self.merges:
            raise DistributedValueError(
                f"variable {self._name!r} at {user_location()}: a {type(value).__name__} has the "
                "values of all replicas, so it cannot be written to one replica's component; pass "
                "it to strategy.run as an argument"
            )
        return value.select(replica.replica_id_in_sync_group, replica.num_replicas_in_sync)

    @property
    def manual(self) -> Manual:
        """Return the manual operations in the current context."""
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self.strategy:
            return InReplica(self.variable_id, self._name, frame.replica)
        if frame is None or self._is_cross(frame):
            return InProgram(self, self.strategy.cross)
        problem = "in strategy.extended.update: the function has only one component"
        return Refused(self._name, problem, "Call it outside the function.")

    # ------------------------------------------------------------ refused, as in TensorFlow

    @located
    def count_up_to(self, limit: int) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise UnsupportedOperation(
            self._name, "a distributed variable has no count_up_to", "Use assign_add(1)."
        )

    @located
    def sparse_read(self, indices: Any, name: str | None = None) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise self._without("sparse_read", "v[indices]")

    @located
    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Raise an error: distributed variables do not support this method."""
        raise self._without("gather_nd", "v[tuple(np.moveaxis(np.asarray(indices), -1, 0))]")

    def _without(self, method: str, instead: str) -> OperationError:
        return OperationError(
            self._name,
            f"a distributed variable has no {method}",
            f"Index it: {instead} returns a copy of these parts.",
        )

    # ------------------------------------------------------------ copies

    def __copy__(self) -> ClusterVariable:
        return self.under(self.strategy)

    def __deepcopy__(self, memo: Any) -> ClusterVariable:
        frame = current_frame()
        if frame is not None and not self._is_cross(frame):
            raise OperationError(self._name, "it can only be copied in cross-replica context")
        copy: ClusterVariable = self.strategy.duplicate(self)
        return copy
