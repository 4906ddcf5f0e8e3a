"""Provide `MultiWorkerMirroredStrategy`: every worker runs the whole program.

In a script of `varsim exec --spmd` each replica makes its own object of this strategy. Together,
these objects are one strategy with one replica for each worker.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, Self, cast

import numpy as np

from varsim.distribute.cluster_resolver import (
    CHIEF,
    EVALUATOR,
    WORKER,
    ClusterResolver,
    TFConfigClusterResolver,
    check_workers,
    has_chief,
    resolver_of,
)
from varsim.distribute.cluster_variable import ClusterVariable
from varsim.distribute.collective_arguments import parse_op
from varsim.distribute.collectives import checked_name
from varsim.distribute.context import (
    entered,
    frame_within,
    program_replica,
    replica_in_force,
    require_cross_replica,
)
from varsim.distribute.conversion import as_tensor
from varsim.distribute.datasets import DistributedDataset, InputContext
from varsim.distribute.distributed import DistributedVariable, MirroredVariable
from varsim.distribute.extended import Extended
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.ports import ReplicaPort
from varsim.distribute.reduction import reduce_over_replicas, reduced, refuse_slices
from varsim.distribute.replica_context import ReplicaContext
from varsim.distribute.requested import requested
from varsim.distribute.shares import Rows
from varsim.distribute.strategy import Strategy, ValueContext, check_call
from varsim.distribute.structure_walks import map_structure, rebuilt, taken_apart
from varsim.distribute.together import WorkersCross, created_together, together
from varsim.distribute.values import OwnPerReplica, PerReplica, regroup, select_replica
from varsim.errors import ContextError, UnsupportedError
from varsim.location import warn
from varsim.spec import Array, ReduceOp
from varsim.sync import reduce


class MultiWorkerMirroredStrategy(Strategy):
    """`tf.distribute.MultiWorkerMirroredStrategy`: every worker runs the whole program.

    In a script that `varsim exec -n N --spmd` runs, or in a function of `strategy.run`, the
    strategy has one replica for each of the N workers. What the program does in cross-replica
    context, all workers must do in the same order. A worker that leaves an operation out, or does
    another one, gets an error at once, with the lines of all workers.

    In a program that is started without workers, the program is the only worker, and the strategy
    is a `MirroredStrategy` of this worker's devices.

    Args:
        cluster_resolver: Describes the workers; it must agree with the workers that exist.
        communication_options: Has no effect.
        options: For a program without workers: the arguments of `MirroredStrategy`.
    Raises:
        ContextError: The cluster has other workers than those of varsim.
        ConfigError: TF_CONFIG is malformed.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Return an object of the class for several workers, or for one worker."""
        if cls is not MultiWorkerMirroredStrategy:
            return super().__new__(cls)
        kind = OneOfTheWorkers if _replica_here() is not None else OnlyWorker
        return cast("Self", super().__new__(kind))

    @property
    def extended(self) -> Extended:
        """Return the operations for authors of optimizers and layers."""
        raise NotImplementedError

    def create_variable(self, **kwargs: Any) -> Any:
        """Create a variable under this strategy, for `tf.Variable`."""
        raise NotImplementedError

    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Call `fn` on every replica, in replica context."""
        raise NotImplementedError

    def reduce(self, reduce_op: Any, value: Any, axis: Any, *, weight: Any = None) -> Any:
        """Combine the replicas' values into one."""
        raise NotImplementedError

    def gather(self, value: Any, axis: int) -> Any:
        """Concatenate the replicas' values along an axis."""
        raise NotImplementedError


class OnlyWorker(MirroredStrategy, MultiWorkerMirroredStrategy):
    """The strategy of a program that is the only worker."""

    def __init__(
        self,
        cluster_resolver: ClusterResolver | None = None,
        communication_options: Any = None,
        **options: Any,
    ) -> None:
        resolver = cluster_resolver or TFConfigClusterResolver()
        if resolver.task_type not in {None, CHIEF, WORKER, EVALUATOR}:
            raise ContextError(
                "MultiWorkerMirroredStrategy: the task of this program is of the job "
                f"{resolver.task_type!r}, but only a chief, a worker or an evaluator has this "
                "strategy. For parameter servers, use ParameterServerStrategy"
            )
        count = resolver.num_workers
        if count > 1:
            source = "TF_CONFIG describes" if cluster_resolver is None else "the resolver describes"
            raise ContextError(
                f"MultiWorkerMirroredStrategy: {source} {count} workers, but this program was "
                f"started alone, and would wait for the others. Start all of them: varsim exec -n "
                f"{count} --spmd SCRIPT"
            )
        self._resolver = resolver
        MirroredStrategy.__init__(self, **options)

    @property
    def cluster_resolver(self) -> ClusterResolver:
        """Return the description of this program's cluster."""
        return self._resolver


class OneOfTheWorkers(MultiWorkerMirroredStrategy):
    """The strategy as one of several workers sees it: only this worker's replica is local."""

    def __init__(
        self,
        cluster_resolver: ClusterResolver | None = None,
        communication_options: Any = None,
        **options: Any,
    ) -> None:
        if options:
            raise TypeError(
                f"MultiWorkerMirroredStrategy got {', '.join(map(repr, options))}: the workers "
                "exist already; give their devices and settings to varsim exec"
            )
        replica = _replica_here()
        assert replica is not None, "this class is for programs on replicas"
        self.below: ReplicaPort = replica
        self._base.runs_program = True
        shared = replica.strategy
        self.strategy_id, self.devices = shared.strategy_id, shared.devices
        self.count_use = shared.count_use
        rank, count = replica.replica_id_in_sync_group, self.num_replicas_in_sync
        self._resolver = cluster_resolver or resolver_of(rank, count, has_chief=has_chief())
        check_workers(self._resolver, rank, count)
        self._variables: weakref.WeakValueDictionary[int, ClusterVariable] = (
            weakref.WeakValueDictionary()
        )
        self._extended = WorkersExtended(self)
        self._context = WorkersContext(self, replica)
        self._warned: set[str] = set()
        self.cross = WorkersCross(replica, self._variables)

    @property
    def _rank(self) -> int:
        return self.below.replica_id_in_sync_group

    @property
    def local_replica_ids(self) -> Sequence[int]:
        """Return the replica of this worker."""
        return (self._rank,)

    @property
    def extended(self) -> Extended:
        """Return the operations for authors of optimizers and layers."""
        return self._extended

    @property
    def cluster_resolver(self) -> ClusterResolver:
        """Return the description of the workers, and of this one."""
        return self._resolver

    def __repr__(self) -> str:
        return f"{type(self).__name__}(worker {self._rank} of {self.num_replicas_in_sync})"

    def warn_once(self, text: str, location: str, what: str = "") -> None:
        """Show a warning on the first worker only, and only once."""
        key = what or text.partition("\n")[0]
        if self._rank == 0 and key not in self._warned:
            warn(text, location)
        self._warned.add(key)

    def note_saved(self, saved: Any) -> None:
        """Do nothing: after a lost worker, the program begins again."""

    # ------------------------------------------------------------ variables

    def create_variable(self, **kwargs: Any) -> ClusterVariable:
        """Create a variable on all workers, with the first worker's initial value.

        Raises:
            CreationError: The workers create different variables.
        """
        asked, array = requested(kwargs)
        variable = created_together(self.below, kwargs, asked.name, array).under(self)
        variable.constraint = kwargs["constraint"]
        self._variables[variable.spec.variable_id] = variable
        return variable

    def duplicate(self, variable: ClusterVariable) -> ClusterVariable:
        """Return a new variable with the same settings and components."""
        spec, (component,) = variable.spec, self.cross.components(variable, (self._rank,))
        copy = self.create_variable(
            initial_value=component,
            trainable=spec.trainable,
            name=spec.name,
            dtype=spec.dtype,
            shape=spec.shape,
            constraint=variable.constraint,
            synchronization=spec.synchronization,
            aggregation=spec.aggregation,
        )
        self.cross.write_components(copy, {self._rank: component})
        return copy

    # ------------------------------------------------------------ running and combining

    def run(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        options: Any = None,
    ) -> Any:
        """Call `fn` on this worker's replica; the other workers call it themselves.

        Returns:
            The function's result, because a worker has only one replica.
        """
        check_call(self, fn, args)
        own, named = self._own((tuple(args), kwargs or {}))
        with entered(frame_within(self, self._context)):
            return fn(*own, **named)

    def _own(self, structure: Any) -> Any:
        return select_replica(structure, self._rank, self.num_replicas_in_sync)

    def reduce(self, reduce_op: Any, value: Any, axis: Any, *, weight: Any = None) -> Any:
        """Combine the workers' values into one; see `Strategy.reduce`.

        A value that is not a per-replica value is this worker's contribution.
        """
        require_cross_replica(self, _REDUCE)
        op = parse_op(reduce_op)
        if self.num_replicas_in_sync == 1:
            return reduced(op, value, axis, 1, weight, self.warn_once)
        if axis is not None:
            own = map_structure(self._contribution, value)
            name = f"{_REDUCE}({op.name}, axis={axis!r})"
            return together(self.below, name, _reduce, (op, axis, weight, own))
        _, leaves = taken_apart(value)
        is_equal = [isinstance(leaf, MirroredVariable) for leaf in leaves]
        given = [
            as_tensor(self._contribution(leaf))
            for leaf in leaves
            if not isinstance(leaf, MirroredVariable)
        ]
        self._require_meaning(op, given)
        combined: Iterator[Any] = iter(())
        if given or not leaves:
            own = None if weight is None else self._contribution(weight)
            with self._performing(_REDUCE):
                found = self._base.all_reduce(op, _single(given), weight=own)
            combined = iter(found if len(given) != 1 else [found])
        results = [
            reduce_over_replicas(op, leaf, self.num_replicas_in_sync) if equal else next(combined)
            for leaf, equal in zip(leaves, is_equal, strict=True)
        ]
        return rebuilt(value, results)

    def _require_meaning(self, op: ReduceOp, given: Sequence[Any]) -> None:
        """Raise an error before other workers wait if the op has no meaning for a value's dtype."""
        if self.num_replicas_in_sync > 1:
            for value in given:
                if isinstance(value, np.ndarray):
                    reduce.require_meaning(value.dtype, op)

    def gather(self, value: Any, axis: int) -> Any:
        """Concatenate the workers' values along an axis.

        Raises:
            ContextError: The program is on a replica.
            ValueError: The values do not have this axis, or their other dimensions differ.
            TypeError: The values are bools.
        """
        require_cross_replica(self, _GATHER)
        given = map_structure(self._gathered, value, (dict,))
        with self._performing(_GATHER):
            return self._base.all_gather(given, axis)

    def _gathered(self, leaf: Any) -> Array:
        own = self._contribution(leaf)
        refuse_slices(_GATHER, [own])
        return as_tensor(own)

    def _contribution(self, leaf: Any) -> Any:
        """Return this worker's part of a value."""
        if isinstance(leaf, DistributedVariable):
            return self.cross.component(leaf, self._rank)
        return self._own(leaf)

    @property
    def _base(self) -> ReplicaContext:
        return cast("ReplicaContext", self.below)

    @contextmanager
    def _performing(self, operation: str) -> Iterator[None]:
        """Let this worker's replica call a collective, by which all workers perform an operation.

        The replica calls it in its own context, outside the strategy.
        """
        self._base.performs = operation
        try:
            with entered(frame_within(self.below.strategy, self.below)):
                yield
        finally:
            self._base.performs = ""

    def experimental_local_results(self, value: Any) -> tuple[Any, ...]:
        """Return this worker's component of a distributed value; any other value in a tuple."""
        if isinstance(value, DistributedVariable):
            return value.values
        return (self._own(value),)

    # ------------------------------------------------------------ input

    def experimental_distribute_values_from_function(
        self, value_fn: Callable[[ValueContext], Any]
    ) -> Any:
        """Call `value_fn` for this worker's replica; return a PerReplica with its component."""
        value = value_fn(ValueContext(self._rank, len(self.devices), self.count_use))
        return map_structure(lambda leaf: OwnPerReplica([leaf]), value)

    def experimental_distribute_dataset(
        self, dataset: Iterable[Any], options: Any = None
    ) -> DistributedDataset:
        """Split every batch over the workers, along axis 0; see `Strategy`.

        Every worker reads the whole dataset, and takes its part of each batch.

        Raises:
            UnsupportedError: The strategy's `uneven` is "join": a worker cannot be left out.
        """
        if self.uneven == "join":
            raise UnsupportedError(
                "uneven='join' leaves replicas out of a call, but each worker runs the whole "
                "program: use 'empty', 'fail', 'drop' or 'pad'"
            )
        whole = super().experimental_distribute_dataset(dataset, options)
        return OwnDataset(whole, self._parts_of_this_worker, self.warn_once)

    def _parts_of_this_worker(self, batches: Iterator[Any]) -> Iterator[Any]:
        return (map_structure(self._part_here, batch) for batch in batches)

    def _part_here(self, leaf: Any) -> Any:
        return OwnPerReplica([leaf.values[self._rank]]) if isinstance(leaf, PerReplica) else leaf

    def distribute_datasets_from_function(
        self, dataset_fn: Callable[[InputContext], Iterable[Any]], options: Any = None
    ) -> DistributedDataset:
        """Call `dataset_fn` once on each worker; its batches are those of the worker's replica.

        Args:
            dataset_fn: Returns an iterable of batches, each with the batch size of one replica. Its
                argument says which worker calls it, and how many there are.
        """
        count = len(self.devices)
        dataset = dataset_fn(InputContext(count, self._rank, count, self.count_use))
        own = lambda batches: (_own_batch(batch) for batch in batches)  # noqa: E731
        return OwnDataset(dataset, own, self.warn_once)


# Programs can read the names of these classes, so they must be the same as in TensorFlow.
OnlyWorker.__name__ = OneOfTheWorkers.__name__ = MultiWorkerMirroredStrategy.__name__

_REDUCE: Final = "strategy.reduce"
_GATHER: Final = "strategy.gather"


def _replica_here() -> ReplicaPort | None:
    """Return the replica that runs this program; None if the program has no workers around it."""
    replica = program_replica() or replica_in_force()
    return None if replica is None or replica.session is None else replica


def _single(values: list[Any]) -> Any:
    """Return the only value of a list, which errors show without an index; or the list."""
    return values[0] if len(values) == 1 else values


def _own_batch(batch: Any) -> Any:
    return map_structure(lambda leaf: OwnPerReplica([leaf]), batch)


class OwnDataset(DistributedDataset):
    """A distributed dataset of which each worker has its own part."""

    def _completed(self, parts: Any, before: Any, number: int, rows: Rows) -> Any:
        """Return the parts: only the whole batch shows whether a replica has no rows."""
        return parts


class WorkersContext(ReplicaContext):
    """The replica context of one worker in `run`."""

    def __init__(self, strategy: OneOfTheWorkers, replica: ReplicaPort) -> None:
        super().__init__(strategy, replica.replica_id_in_sync_group, replica.session)
        self._replica_id = 0
        self.num_replicas_present = replica.num_replicas_present
        self.discarded = cast("ReplicaContext", replica).discarded

    def merge_call(
        self,
        merge_fn: Callable[..., Any],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> Any:
        """Call a function in cross-replica context, on this worker.

        As in TensorFlow, the other workers call it themselves, and the function gets this worker's
        arguments. Its operations on variables concern all workers.
        """
        self._check_current()
        checked_name(name)
        with entered(frame_within(self._strategy)):
            result = merge_fn(self._strategy, *args, **(kwargs or {}))
        return select_replica(result, self.replica_id_in_sync_group, self.num_replicas_in_sync)


class WorkersExtended(Extended):
    """`extended` of a strategy of several workers."""

    def __init__(self, strategy: OneOfTheWorkers) -> None:
        super().__init__(strategy)
        is_chief = strategy.below.replica_id_in_sync_group == 0
        self.should_checkpoint = self.should_save_summary = is_chief
        self.experimental_between_graph = True

    @property
    def worker_devices(self) -> tuple[str, ...]:
        """Return the device of this worker."""
        return tuple(
            f"/device:{self._strategy.devices[i].upper()}" for i in self._strategy.local_replica_ids
        )


def _reduce(strategy: Any, parts: Sequence[tuple[ReduceOp, Any, Any, Any]]) -> Any:
    """Reduce the workers' values along an axis, as `MirroredStrategy` does."""
    op, axis, weight, _ = parts[0]  # the workers' ops and axes are equal, as their names
    value = regroup([own for *_, own in parts])
    return reduced(op, value, axis, strategy.num_replicas_in_sync, weight, strategy.warn_once)
