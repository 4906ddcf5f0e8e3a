"""Define the base class of all strategies, with scopes and datasets."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import field
from functools import cached_property, partial
from typing import Any, Self

from varsim.distribute.cluster_resolver import ClusterResolver
from varsim.distribute.context import (
    current_frame,
    entered,
    frame_within,
    is_on_replica,
    is_outside,
    mixed,
)
from varsim.distribute.count_use import CountUse
from varsim.distribute.datasets import (
    COUNT,
    DistributedDataset,
    InputContext,
    one_for_each,
    per_replica,
    split_each,
)
from varsim.distribute.extended import Extended
from varsim.distribute.groups import ProcessGroup, make_group
from varsim.distribute.missing import explains_missing
from varsim.distribute.passes import Passes
from varsim.distribute.ports import ReplicaPort
from varsim.distribute.strategy_arguments import checked_uneven
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.distribute.values import DistributedValues, present_of
from varsim.distribute.variable import Variable
from varsim.errors import ContextError, DistributedValueError
from varsim.location import user_location, warn
from varsim.texts.uneven import UNEVEN
from varsim.value_class import value_class


@value_class
class ValueContext:
    """The replica for which `experimental_distribute_values_from_function` calls a function."""

    replica_id_in_sync_group: int = 0
    num_replicas_in_sync: int = 1
    count_use: CountUse = field(default_factory=CountUse, repr=False, compare=False)

    def __getattribute__(self, name: str) -> Any:
        if name == COUNT:
            self.count_use.by_caller(f"ValueContext.{COUNT}")
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        return (
            f"tf.distribute.ValueContext(replica id {self.replica_id_in_sync_group}, "
            f" total replicas in sync: {self.num_replicas_in_sync})"
        )


@explains_missing("tf.distribute.Strategy")
class Strategy(ABC):
    """`tf.distribute.Strategy`: distributes a program over replicas."""

    strategy_id = 0  # the number of a strategy that has workers; else 0
    is_outside = False  # True for the default strategy; see `StrategyPort`
    below: ReplicaPort | None = None  # see `StrategyPort`
    devices: tuple[str, ...] = ("cpu:0",)
    _uneven = UNEVEN[0]

    @cached_property
    def passes(self) -> Passes:
        """Return the passes over the strategy's distributed datasets."""
        return Passes()

    @property
    def uneven(self) -> str:
        """What a later distributed dataset does at a batch that leaves a replica without rows.

        Setting it to a text that is not in `UNEVEN` raises a `DistributedValueError`.
        """
        return self._uneven

    @uneven.setter
    def uneven(self, uneven: str) -> None:
        self._uneven = checked_uneven(uneven)

    @cached_property
    def count_use(self) -> CountUse:
        """Return the record of where the program uses the number of replicas."""
        return CountUse()

    @property
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas."""
        self.count_use.by_caller("num_replicas_in_sync")
        return len(self.devices)

    @property
    def local_replica_ids(self) -> Sequence[int]:
        """Return the replicas whose components this program sees: all of them."""
        self.count_use.by_caller("local_replica_ids")
        return range(len(self.devices))

    def group(
        self,
        replica_ids: Iterable[int] | None = None,
        *,
        host: str | None = None,
        kind: str | None = None,
    ) -> ProcessGroup:
        """Return a group of replicas, for the argument `group` of collectives.

        TensorFlow has no such groups: its `Strategy.group` makes one operation of several. Give
        either the ids, or a host, a kind of device, or both.

        Args:
            replica_ids: The ids of the members, in any order.
            host: The members are the replicas on this host: the part of a device's name before
                the last slash, such as "node1" in "node1/gpu:0".
            kind: The members are the replicas on devices of this kind, such as "gpu"; upper and
                lower case are the same.
        Raises:
            ValueError: There are no such replicas, or an id occurs twice.
        """
        return make_group(self.devices, replica_ids, host, kind)

    @property
    @abstractmethod
    def extended(self) -> Extended:
        """Return the operations for authors of optimizers and layers."""

    @property
    def cluster_resolver(self) -> ClusterResolver | None:
        """Return None: the program starts the workers itself, so it needs no cluster addresses."""
        return None

    # ------------------------------------------------------------ contexts

    def colocate_vars_with(self, colocate_with_variable: Variable) -> AbstractContextManager[None]:
        """Do what `extended.colocate_vars_with` does; this is its earlier name."""
        return self.extended.colocate_vars_with(colocate_with_variable)

    @contextmanager
    def scope(self) -> Iterator[Strategy]:
        """Create the variables of the `with` block under this strategy.

        Raises:
            ContextError: The program is in another strategy's scope, or on a replica.
        """
        frame = current_frame()
        if frame is not None and (self.below is None or frame.replica is not self.below):
            if frame.strategy is not self:
                raise mixed(frame, self, "strategy.scope")
            if frame.replica is not None:
                raise ContextError("a scope cannot be entered on a replica: use merge_call")
        with entered(frame_within(self)):
            yield self

    def replica_context(self) -> ReplicaPort | None:
        """Return the default strategy's only replica; None for all other strategies."""
        return None

    @abstractmethod
    def create_variable(self, **kwargs: Any) -> Variable:
        """Create a variable under this strategy, for `tf.Variable`."""

    # ------------------------------------------------------------ running and combining

    @abstractmethod
    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Call `fn` on every replica, in replica context.

        Args:
            fn: Any callable. In `fn`, each replica uses its own components of variables.
            args, kwargs: The arguments of `fn`. They can be structures; each replica gets its own
                component of each PerReplica in them.
        Returns:
            A structure of PerReplica with the replicas' results. A plain Python value that is equal
            on all replicas is returned unchanged. If an argument has no value for some replicas,
            because they have joined, `fn` runs only on the others, and only they have a result.
        Raises:
            Exception: `fn` raised this exception on a replica. If it raised on several replicas,
                this is the exception of the replica with the lowest id. The exception's cause is a
                `ReplicaError` that shows the location.
            MismatchError: The replicas did different things where all must do the same.
            WorkerLost: A worker process has ended.
        """

    @abstractmethod
    def reduce(self, reduce_op: Any, value: Any, axis: Any, *, weight: Any = None) -> Any:
        """Combine the replicas' values into one.

        Args:
            reduce_op: A `ReduceOp` or its name. TensorFlow has only SUM and MEAN.
            value: A PerReplica, or a structure of PerReplica.
            axis: One or several axes over which each replica's value is reduced first, or None.
            weight: For MEAN with axis=None, a PerReplica with the weight of each replica's value:
                see `ReplicaContext.all_reduce`. TensorFlow does not have this argument.
        """

    @abstractmethod
    def gather(self, value: Any, axis: int) -> Any:
        """Concatenate the replicas' values along an axis."""

    def experimental_local_results(self, value: Any) -> tuple[Any, ...]:
        """Return a distributed value's components; return any other value in a tuple."""
        if isinstance(value, DistributedValues):
            return value.values
        if isinstance(value, dict | list | tuple):
            present = present_of(leaves_of(value), self.num_replicas_in_sync, value=value)
            return tuple(map_structure(partial(_component, i), value) for i in range(present))
        return (value,)

    def unwrap(self, value: Any) -> tuple[Any, ...]:
        """Do what `experimental_local_results` does; `unwrap` is its earlier name."""
        return self.experimental_local_results(value)

    # ------------------------------------------------------------ input

    def experimental_distribute_values_from_function(
        self, value_fn: Callable[[ValueContext], Any]
    ) -> Any:
        """Call `value_fn` for each replica; return a PerReplica, or a structure of PerReplica."""
        count = self.num_replicas_in_sync
        return per_replica([value_fn(ValueContext(i, count, self.count_use)) for i in range(count)])

    def experimental_distribute_dataset(
        self, dataset: Iterable[Any], options: Any = None
    ) -> DistributedDataset:
        """Split every batch over the replicas, along axis 0.

        Each replica gets the same number of rows, rounded up, until no rows are left, as in
        TensorFlow. For example, 2 replicas get 3 and 2 rows of a batch of 5, and 1 and 0 rows of a
        batch of 1. The strategy's `uneven` says what happens at a batch that leaves a replica
        without rows.

        Args:
            dataset: An iterable of batches: arrays, or structures of arrays with equal first
                dimensions. If it is an iterator, it can be read only once.
        Returns:
            An iterable of structures of PerReplica. It raises a `DistributedValueError` if a batch
            has no first dimension, or if the first dimensions of the arrays differ.
        """
        self.count_use.note("experimental_distribute_dataset", user_location())
        split = partial(split_each, self._count)
        return DistributedDataset(dataset, split, self.warn_once, self.uneven, self.passes)

    def _count(self) -> int:
        return len(self.devices)

    def distribute_datasets_from_function(
        self, dataset_fn: Callable[[InputContext], Iterable[Any]], options: Any = None
    ) -> DistributedDataset:
        """Call `dataset_fn` once, and give the batches of its dataset to the replicas in turn.

        If the dataset ends before every replica has a batch, the replicas without a batch get no
        rows, and a warning is shown. The strategy's `uneven` can change this.

        Args:
            dataset_fn: Returns an iterable of batches, each with the batch size of one replica.
        Returns:
            An iterable of structures of PerReplica.
        """
        dataset = dataset_fn(InputContext(1, 0, len(self.devices), self.count_use))
        split = partial(one_for_each, self._count)
        return DistributedDataset(dataset, split, self.warn_once, self.uneven, self.passes)

    def experimental_distribute_datasets_from_function(
        self, dataset_fn: Callable[[InputContext], Iterable[Any]], options: Any = None
    ) -> DistributedDataset:
        """Do what `distribute_datasets_from_function` does; this is its earlier name."""
        return self.distribute_datasets_from_function(dataset_fn, options)

    def experimental_run_v2(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Do what `run` does; this is its earlier name."""
        return self.run(fn, args, kwargs, options)

    def warn_once(self, text: str, location: str, what: str = "") -> None:
        """Show a warning. A strategy with workers shows each warning only once.

        Args:
            what: Identifies the warning; by default the first line of the text.
        """
        warn(text, location)

    # ------------------------------------------------------------ the end

    def close(self) -> None:  # noqa: B027  # a strategy without workers has nothing to end
        """End the workers, if there are any. Further calls do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __deepcopy__(self, memo: Any) -> Strategy:
        return self


def _component(replica_id: int, leaf: Any) -> Any:
    return leaf.values[replica_id] if isinstance(leaf, DistributedValues) else leaf


def check_call(strategy: Strategy, fn: Any, args: Any) -> None:
    """Refuse a call of `run` in the wrong context, or with arguments of wrong types.

    Raises:
        ContextError: The program is on a replica, or in another strategy's scope.
        ValueError: `args` is neither a list nor a tuple.
        TypeError: `fn` cannot be called.
    """
    frame = current_frame()
    if frame is not None and frame.strategy is not strategy and not is_outside(frame, strategy):
        raise mixed(frame, strategy, "strategy.run")
    if is_on_replica(strategy):
        raise ContextError(
            "strategy.run cannot be called on a replica: it needs cross-replica context "
            "(use merge_call)"
        )
    if not isinstance(args, list | tuple):
        raise DistributedValueError(
            f"the arguments of strategy.run must be a list or tuple, not {type(args).__name__}: "
            "write args=(x,)"
        )
    if not callable(fn):
        raise TypeError(f"strategy.run needs a function, not {type(fn).__name__}")
