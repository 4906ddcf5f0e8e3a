"""Provide `strategy.extended`: operations for authors of optimizers and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from varsim.distribute.aggregating import AggregatingVariable
from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.context import current_frame, entered, frame_within
from varsim.distribute.conversion import as_tensor
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.groups import ProcessGroup
from varsim.distribute.missing import explains_missing
from varsim.distribute.ports import StrategyPort, VariablePort
from varsim.distribute.values import Mirrored, regroup, select_replica
from varsim.distribute.variable import Variable
from varsim.errors import ContextError, ValueTypeError
from varsim.spec import Array, Operand, Operation
from varsim.sync.components import check_operand
from varsim.sync.operand import applied


@explains_missing("tf.distribute.StrategyExtended")
class Extended:
    """`tf.distribute.StrategyExtended`: the operations that use components."""

    experimental_between_graph = False
    experimental_enable_get_next_as_optional = True
    experimental_require_static_shapes = False
    experimental_should_init = True
    should_checkpoint = True
    should_save_summary = True

    def __init__(self, strategy: StrategyPort) -> None:
        self._strategy = strategy

    def _in_multi_worker_mode(self) -> bool:
        """Return whether several workers run the program; tutorials of TensorFlow call this."""
        is_one_of_them = self._strategy.below is not None
        return is_one_of_them and self._strategy.num_replicas_in_sync > 1

    # ------------------------------------------------------------ devices

    @property
    def worker_devices(self) -> tuple[str, ...]:
        """Return the device of each replica."""
        self._strategy.count_use.by_caller("extended.worker_devices")
        return tuple(f"/device:{device.upper()}" for device in self._strategy.devices)

    @property
    def worker_devices_by_replica(self) -> list[list[str]]:
        """Return the devices of each replica; every replica has one device."""
        return [[device] for device in self.worker_devices]

    @property
    def parameter_devices(self) -> tuple[str, ...]:
        """Return the devices that hold variables: all devices of the replicas."""
        return self.worker_devices

    def non_slot_devices(self, var_list: Any) -> tuple[str, ...]:
        """Return the devices of an optimizer's variables that are not slots: all devices."""
        return self.worker_devices

    # ------------------------------------------------------------ operations

    def call_for_each_replica(
        self, fn: Callable[..., Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `fn` on every replica; see `Strategy.run`. This is also allowed in a merge_call."""
        return self._strategy.run(fn, tuple(args), kwargs)

    def update(
        self,
        var: Variable,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        group: bool = True,
        *,
        name: str | None = None,
    ) -> Any:
        """Apply `fn` to every component of a variable, without aggregation.

        Args:
            var: A distributed variable.
            fn: Called in the program's process, once per replica, as
                `fn(component, *args, **kwargs)` with the replica's slice of the arguments. For a
                variable with one copy it is called once, as `fn(var, *args, **kwargs)`.
            name: In replica context, the name of the merge_call that performs the update.
        Returns:
            The results of the calls as one structure; with `group=False` a tuple of the results.
        Raises:
            TypeError: `var` is not distributed, or `group` is a process group.
            Exception: `fn` raised this exception; no component has changed (difference D4
                in docs/semantics.md).
        """
        if isinstance(group, ProcessGroup):
            raise TypeError(
                f"update(group={group}): an update concerns the components of all replicas; group= "
                "says only, as in TensorFlow, whether the results are one structure"
            )
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self._strategy:
            merge = partial(_update_merged, fn=fn, group=group)
            return frame.replica.merge_call(merge, args=(var, *args), kwargs=kwargs, name=name)
        if isinstance(var, ClusterVariable):
            var.require_strategy(self._strategy, "extended.update")
        if isinstance(var, AggregatingVariable):
            result = fn(var, *args, **(kwargs or {}))
            return result if group else (result,)
        if not isinstance(var, DistributedVariable):
            raise ValueTypeError(
                str(getattr(var, "name", var)),
                "extended.update needs a distributed variable, but this variable has one value",
                "Change it directly: assign, assign_add, assign_sub.",
            )
        count = var.strategy.num_replicas_in_sync
        update = Update()
        results = []
        for i in var.strategy.local_replica_ids:
            update.replica_id = i
            own_args = select_replica(tuple(args), i, count)
            own_kwargs = select_replica(kwargs or {}, i, count)
            with entered(frame_within(self._strategy, update=update)):
                results.append(fn(var.component_of(i), *own_args, **own_kwargs))
        update.commit()
        return regroup(results, Mirrored) if group else tuple(results)

    def reduce_to(self, reduce_op: Any, value: Any, destinations: Any) -> Any:
        """Reduce a value.

        If `destinations` is a variable, the result has a value for every replica.
        """
        reduced = self._strategy.reduce(parse_op(reduce_op), value, axis=None)
        if not isinstance(destinations, DistributedVariable):
            return reduced
        return _everywhere(reduced, len(destinations.strategy.local_replica_ids))

    def batch_reduce_to(self, reduce_op: Any, value_destination_pairs: Sequence[Any]) -> list[Any]:
        """Apply `reduce_to` to several pairs of value and destination."""
        op = parse_op(reduce_op)
        count = len(self._strategy.local_replica_ids)
        return [
            _everywhere(self._strategy.reduce(op, value, axis=None), count)
            for value, _ in value_destination_pairs
        ]

    def broadcast_to(self, tensor: Any, destinations: Any) -> Any:
        """Return a Mirrored with a value for every replica; return a number unchanged."""
        if destinations is None:
            raise ValueTypeError("(value)", "broadcast_to needs destinations")
        if isinstance(tensor, bool | int | float):
            return tensor
        return _everywhere(as_tensor(tensor), len(self._strategy.local_replica_ids))

    def read_var(self, v: Variable) -> Any:
        """Return the cross-replica value of a variable."""
        return v.read_value()

    def value_container(self, value: Any) -> Any:
        """Return the distributed variable of a component; return any other value unchanged."""
        container = getattr(value, "container", None)
        return value if container is None else container

    def variable_created_in_scope(self, v: Any) -> bool:
        """Return whether a variable was created under this strategy."""
        return getattr(v, "strategy", None) is self._strategy

    @contextmanager
    def colocate_vars_with(self, colocate_with_variable: Variable) -> Iterator[None]:
        """Create the variables of the `with` block under this strategy.

        Raises:
            ContextError: `colocate_with_variable` belongs to another strategy.
        """
        if not self.variable_created_in_scope(colocate_with_variable):
            raise _not_in_scope(colocate_with_variable)
        yield


def _everywhere(value: Any, count: int) -> Any:
    return value if count == 1 else Mirrored([value] * count)


class _NotInScopeError(ContextError, ValueError):
    """A variable of another strategy was passed instead of a variable of this strategy."""


def _not_in_scope(variable: Any) -> _NotInScopeError:
    return _NotInScopeError(
        f"variable {getattr(variable, 'name', variable)!r} was not created under this strategy"
    )


def _update_merged(
    strategy: Any, var: Variable, *args: Any, fn: Any, group: bool, **kwargs: Any
) -> Any:
    return strategy.extended.update(var, fn, args=args, kwargs=kwargs, group=group)


class Update:
    """The components that an update has written so far.

    Writes are sent only after every function has returned. So an update whose function raises an
    error changes nothing (difference D4). The functions see their own writes.
    """

    def __init__(self) -> None:
        self.replica_id = 0  # the replica of the current component
        self._before: dict[int, dict[int, Array]] = {}  # variable_id → replica_id → component
        self._written: dict[int, tuple[VariablePort, dict[int, Array]]] = {}

    def read(self, variable: VariablePort, replica_id: int) -> Array:
        """Return a component after the writes of this update; read-only."""
        written = self._written.get(variable.spec.variable_id)
        if written is not None and replica_id in written[1]:
            value = written[1][replica_id]
        else:
            value = self._components(variable)[replica_id]
        value.setflags(write=False)
        return value

    def _components(self, variable: VariablePort) -> dict[int, Array]:
        number = variable.spec.variable_id
        if number not in self._before:
            ids = variable.strategy.local_replica_ids
            components = variable.strategy.cross.components(variable, ids)
            self._before[number] = dict(zip(ids, components, strict=True))
        return self._before[number]

    def write(
        self, variable: VariablePort, replica_id: int, operation: Operation, operand: Operand
    ) -> None:
        """Apply an operation to one component; `commit` sends the result, as a whole component.

        Raises:
            VariableError: The component cannot take the operand.
        """
        before = self.read(variable, replica_id)
        check_operand(variable.spec, operation, before.shape, operand)
        _, values = self._written.setdefault(variable.spec.variable_id, (variable, {}))
        values[replica_id] = applied(operation, before, operand)

    def commit(self) -> None:
        """Send the writes to the replicas."""
        for variable, values in self._written.values():
            variable.strategy.cross.write_components(variable, values)
