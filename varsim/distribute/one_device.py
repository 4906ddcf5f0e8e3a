"""Provide strategies without distribution: all operations run in the program's own process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.context import (
    Frame,
    current_frame,
    entered,
    register_default,
    require_cross_replica,
)
from varsim.distribute.datasets import DistributedDataset, InputContext
from varsim.distribute.extended import Extended
from varsim.distribute.reduction import reduced, refuse_slices
from varsim.distribute.replica_context import OnlyReplicaContext
from varsim.distribute.requested import create_plain
from varsim.distribute.resource import ResourceVariable
from varsim.distribute.strategy import Strategy, ValueContext, check_call
from varsim.distribute.structure_walks import leaves_of
from varsim.errors import ContextError, UnsupportedError, ValueTypeError


class OneDeviceStrategy(Strategy):
    """`tf.distribute.OneDeviceStrategy`: one replica, in the program's own process.

    The synchronization and the aggregation of its variables have no effect.
    """

    def __init__(self, device: str = "cpu:0") -> None:
        self.devices = (device,)
        self._extended = PlainExtended(self)
        self._context = OnlyReplicaContext(self, 0, None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.devices))})"

    @property
    def extended(self) -> Extended:
        """Return the operations for authors of optimizers and layers."""
        return self._extended

    def create_variable(self, **kwargs: Any) -> ResourceVariable:
        """Create a plain variable."""
        return create_plain(**kwargs)

    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Call `fn` in this process."""
        check_call(self, fn, args)
        with entered(Frame(self, type(self._context)(self, 0, None))):
            return fn(*args, **(kwargs or {}))

    def reduce(self, reduce_op: Any, value: Any, axis: Any, *, weight: Any = None) -> Any:
        """Return the value itself, or its reduction along `axis`."""
        require_cross_replica(self, "strategy.reduce")
        op = parse_op(reduce_op)
        if axis is None and weight is None:
            return value
        return reduced(op, value, axis, 1, weight, self.warn_once)

    def gather(self, value: Any, axis: int) -> Any:
        """Return the value itself."""
        require_cross_replica(self, "strategy.gather")
        refuse_slices("strategy.gather", leaves_of(value))
        return value

    def experimental_distribute_values_from_function(
        self, value_fn: Callable[[ValueContext], Any]
    ) -> Any:
        """Return the result of `value_fn`."""
        return value_fn(ValueContext())

    def experimental_distribute_dataset(
        self, dataset: Iterable[Any], options: Any = None
    ) -> DistributedDataset:
        """Return the batches themselves."""
        return DistributedDataset(dataset, iter, self.warn_once)

    def distribute_datasets_from_function(
        self, dataset_fn: Callable[[InputContext], Iterable[Any]], options: Any = None
    ) -> DistributedDataset:
        """Return the batches of the function's dataset."""
        return DistributedDataset(dataset_fn(InputContext()), iter, self.warn_once)


class PlainExtended(Extended):
    """`extended` without distribution: the only component of a variable is the variable itself."""

    def variable_created_in_scope(self, v: Any) -> bool:
        """Return whether a variable was created under this strategy."""
        return getattr(v, "created_under", None) is self._strategy

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
        """Apply `fn` to the variable."""
        result = fn(var, *args, **(kwargs or {}))
        return result if group else (result,)

    def batch_reduce_to(self, reduce_op: Any, value_destination_pairs: Sequence[Any]) -> list[Any]:
        """Return the values themselves."""
        parse_op(reduce_op)
        return [value for value, _ in value_destination_pairs]

    def broadcast_to(self, tensor: Any, destinations: Any) -> Any:
        """Return the value itself."""
        if destinations is None:
            raise ValueTypeError("(value)", "broadcast_to needs destinations")
        if self._strategy.is_outside:
            raise UnsupportedError(
                "broadcast_to needs a strategy, but the program is outside every scope"
            )
        return tensor


class _DefaultDistributionStrategy(OneDeviceStrategy):
    """The strategy that applies outside every scope."""

    is_outside = True

    def __init__(self) -> None:
        super().__init__()
        self._context = _DefaultReplicaContext(self, 0, None)

    def replica_context(self) -> OnlyReplicaContext:
        """Return the default strategy's only replica."""
        return self._context

    @contextmanager
    def scope(self) -> Iterator[Strategy]:
        """Create plain variables in the `with` block.

        Raises:
            ContextError: The program is in the scope of another strategy.
        """
        frame = current_frame()
        if frame is not None and frame.strategy is not self:
            raise ContextError("scopes of different strategies cannot be nested")
        with entered(Frame(self, self._context)):
            yield self

    def __repr__(self) -> str:
        return "the default strategy"


class _DefaultReplicaContext(OnlyReplicaContext):
    """The replica context of code outside every scope."""


register_default(_DefaultDistributionStrategy())
