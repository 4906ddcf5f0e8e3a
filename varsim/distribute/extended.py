"""`strategy.extended`: for those who write optimizers and layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from varsim.distribute.context import Frame, current_frame, entered
from varsim.distribute.conversion import as_tensor
from varsim.distribute.distributed import DistributedVariable
from varsim.distribute.reduction import parse_op
from varsim.distribute.update import Update
from varsim.distribute.values import Mirrored, regroup, select_replica
from varsim.distribute.variable import Variable
from varsim.errors import ContextError, ValueTypeError

if TYPE_CHECKING:
    from varsim.distribute.strategy import Strategy


class Extended:
    """The operations that work on components: `tf.distribute.StrategyExtended`."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

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
        """Applies `fn` to every component of a variable, past any aggregation.

        Args:
            var: A distributed variable.
            fn: Called as `fn(component, *args, **kwargs)` for every replica, in the program, with
                that replica's slice of the arguments.
            name: On a replica, the name of the merge_call that it is.
        Returns:
            What the calls returned, put together; with `group=False` a tuple of it.
        Raises:
            TypeError: `var` is not distributed.
            Exception: Whatever `fn` raised; nothing has changed then (D4).
        """
        frame = current_frame()
        if frame is not None and frame.replica is not None and frame.strategy is self._strategy:
            merge = partial(_update_merged, fn=fn, group=group)
            return frame.replica.merge_call(merge, args=(var, *args), kwargs=kwargs, name=name)
        if not isinstance(var, DistributedVariable):
            raise ValueTypeError(
                str(getattr(var, "name", var)),
                "extended.update needs a distributed variable, and this one has one value only",
                "Change it directly: assign, assign_add, assign_sub.",
            )
        count = var.strategy.num_replicas_in_sync
        update = Update()
        results = []
        for i in range(count):
            update.replica_id = i
            own_args = select_replica(tuple(args), i, count)
            own_kwargs = select_replica(kwargs or {}, i, count)
            with entered(Frame(self._strategy, update=update)):
                results.append(fn(var.values[i], *own_args, **own_kwargs))
        update.commit()
        return regroup(results, Mirrored) if group else tuple(results)

    def reduce_to(self, reduce_op: Any, value: Any, destinations: Any) -> Any:
        """Reduces a value onto the components of a variable, or onto a device."""
        reduced = self._strategy.reduce(parse_op(reduce_op), value, axis=None)
        if not isinstance(destinations, DistributedVariable):
            return reduced
        return _everywhere(reduced, destinations.strategy.num_replicas_in_sync)

    def batch_reduce_to(self, reduce_op: Any, value_destination_pairs: Sequence[Any]) -> list[Any]:
        """Several `reduce_to` at once."""
        op = parse_op(reduce_op)
        count = self._strategy.num_replicas_in_sync
        return [
            _everywhere(self._strategy.reduce(op, value, axis=None), count)
            for value, _ in value_destination_pairs
        ]

    def broadcast_to(self, tensor: Any, destinations: Any) -> Any:
        """A value on every replica of a variable; a number stays as it is."""
        if destinations is None:
            raise ValueTypeError("(value)", "broadcast_to needs to know where to")
        if isinstance(tensor, bool | int | float):
            return tensor
        return _everywhere(as_tensor(tensor), self._strategy.num_replicas_in_sync)

    def read_var(self, v: Variable) -> Any:
        """The cross-replica value of a variable."""
        return v.read_value()

    def variable_created_in_scope(self, v: Any) -> bool:
        """Whether a variable was created under this strategy."""
        return getattr(v, "strategy", None) is self._strategy

    @contextmanager
    def colocate_vars_with(self, colocate_with_variable: Variable) -> Iterator[None]:
        """Within the block, variables are created where that variable is: under this strategy.

        Raises:
            ContextError: The variable is not this strategy's.
        """
        if not self.variable_created_in_scope(colocate_with_variable):
            raise _not_in_scope(colocate_with_variable)
        yield


def _everywhere(value: Any, count: int) -> Any:
    return value if count == 1 else Mirrored([value] * count)


class _NotInScopeError(ContextError, ValueError):
    """A variable of another strategy stands where this strategy's own is needed."""


def _not_in_scope(variable: Any) -> _NotInScopeError:
    return _NotInScopeError(
        f"variable {getattr(variable, 'name', variable)!r} was not created under this strategy"
    )


def _update_merged(
    strategy: Strategy, var: Variable, *args: Any, fn: Any, group: bool, **kwargs: Any
) -> Any:
    return strategy.extended.update(var, fn, args=args, kwargs=kwargs, group=group)
