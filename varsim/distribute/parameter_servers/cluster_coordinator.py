"""Provide `ClusterCoordinator`, which schedules functions on the workers of a strategy."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

from varsim.distribute.call_packing import CallPacker
from varsim.distribute.context import current_frame
from varsim.distribute.functions import site_of
from varsim.distribute.naming import PROGRAM, new_id
from varsim.distribute.parameter_servers.results import RemoteValue, result_of
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.served import PerWorkerValue, is_on_worker
from varsim.distribute.structure_walks import leaves_of, map_structure
from varsim.errors import ContextError, DistributedValueError, VarsimError
from varsim.protocol.parameter_servers import MakeResource
from varsim.shells.closures import Closure, Outcome


class PerWorkerDataset:
    """A dataset of which every worker has its own copy. `iter` starts a pass on every worker."""

    def __init__(self, coordinator: ClusterCoordinator, dataset_fn: Callable[[], Any]) -> None:
        self._coordinator = coordinator
        self._dataset_fn = dataset_fn

    def __iter__(self) -> PerWorkerValue:
        return self._coordinator._resource(self._dataset_fn, is_iterator=True)  # noqa: SLF001


class ClusterCoordinator:
    """`tf.distribute.coordinator.ClusterCoordinator`: runs functions on the workers of a strategy.

    A strategy has only one coordinator: a second call with the same strategy returns it again.

    Args:
        strategy: A `ParameterServerStrategy`.
    Raises:
        ValueError: It is another strategy.
    """

    def __new__(cls, strategy: Any) -> Self:
        """Return the coordinator of the strategy."""
        if not isinstance(strategy, ParameterServerStrategy):
            raise DistributedValueError(
                f"ClusterCoordinator needs a ParameterServerStrategy, not {strategy!r}"
            )
        found = strategy.coordinator
        if isinstance(found, cls):
            return found
        made = strategy.coordinator = super().__new__(cls)
        made._strategy = strategy
        made._packer = CallPacker(1)
        return made

    _strategy: ParameterServerStrategy
    _packer: CallPacker

    def __reduce__(self) -> Any:
        """Refuse to send this object to another process.

        Raises:
            ContextError: Always.
        """
        raise ContextError(
            "a function that runs on a worker uses the ClusterCoordinator, which stays in the "
            "program's process: call its methods in the program, and give the function what they "
            "return as arguments"
        )

    @property
    def strategy(self) -> ParameterServerStrategy:
        """Return the strategy."""
        return self._strategy

    def schedule(
        self,
        fn: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> RemoteValue:
        """Have one of the workers call a function, and return at once.

        The functions run in no defined order. If the worker is lost, another one runs the function
        again: it runs *at least once*. Each worker gets up to two functions ahead; the others wait
        in the program's process, and are sent when the program is in a method of varsim.

        Args:
            fn: A `tf.function` or any other function. TensorFlow accepts only a `tf.function`.
            args, kwargs: Its arguments. In place of a `PerWorkerValue`, the function gets the
                value of its worker.
        Raises:
            Exception: A function that was scheduled earlier has raised this exception. It is raised
                once; then functions can be scheduled again.
            ContextError: The program is on a worker, or in `strategy.run`; or the function uses
                this object.
            ServerLost: A parameter server has ended.
            ClosureCancelled: No worker is left.
        """
        self._check("schedule")
        if not callable(fn):
            raise TypeError(f"coordinator.schedule needs a function, not {type(fn).__name__}")
        if not isinstance(args, list | tuple | None) or not isinstance(kwargs, dict | None):
            raise DistributedValueError(
                "coordinator.schedule: args must be a list or tuple, and kwargs a dict: write "
                "args=(x,)"
            )
        given = tuple(args or ()), dict(kwargs or {})
        if any(isinstance(leaf, RemoteValue) for leaf in leaves_of(given)):
            raise DistributedValueError(
                "coordinator.schedule: an argument is a RemoteValue, whose value another worker "
                "may have: fetch it first, with coordinator.fetch(value)"
            )
        self._raise_failure()
        cluster, site = self._strategy.cluster, site_of(fn)
        with PROGRAM.recording() as used:
            try:
                packed = self._packer.packed(cluster.link.codec, fn, given, site, 1)
            except VarsimError as refused:
                raise refused.with_traceback(None)  # noqa: B904  # without frames of the pickler
        closure = Closure(
            closure_id=cluster.new_id(),
            function_id=packed.function_id,
            function=packed.function,
            arguments=packed.arguments[0],
            site=site,
            kept=(fn, given, *used),
            outcome=Outcome(site.described),
        )
        cluster.schedule(closure)
        return RemoteValue(cluster, closure.outcome)

    def join(self) -> None:
        """Wait until all scheduled functions have ended.

        Raises:
            Exception: As `schedule`.
        """
        self._check("join")
        self._strategy.cluster.join()
        self._raise_failure()

    def done(self) -> bool:
        """Return whether all scheduled functions have ended, without waiting.

        Raises:
            Exception: As `schedule`.
        """
        self._check("done")
        cluster = self._strategy.cluster
        cluster.look()
        self._raise_failure()
        return cluster.is_idle

    def fetch(self, val: Any) -> Any:
        """Wait for all `RemoteValue` in a structure; return the structure with their results."""
        self._check("fetch")
        return map_structure(lambda one: one.fetch() if isinstance(one, RemoteValue) else one, val)

    def create_per_worker_dataset(
        self, dataset_fn: Callable[[], Iterable[Any]] | Iterable[Any]
    ) -> PerWorkerDataset:
        """Return a dataset of which every worker has its own copy.

        Args:
            dataset_fn: A function that returns an iterable, or an iterable. Each worker calls the
                function, or gets a copy of the iterable, for each `iter` of the result. Pass this
                iterator as an argument to `schedule`.
        """
        self._check("create_per_worker_dataset")
        if callable(dataset_fn):
            return PerWorkerDataset(self, dataset_fn)
        dataset = dataset_fn
        return PerWorkerDataset(self, lambda: dataset)

    def create_per_worker_resource(self, resource_fn: Callable[[], Any]) -> PerWorkerValue:
        """Have every worker call a function now, and keep the result for scheduled functions.

        TensorFlow has this method only under the name `_create_per_worker_resources`.
        """
        self._check("create_per_worker_resource")
        return self._resource(resource_fn, is_iterator=False)

    def _resource(self, resource_fn: Callable[[], Any], *, is_iterator: bool) -> PerWorkerValue:
        cluster, values = self._strategy.cluster, PerWorkerValue(new_id())
        function = cluster.link.codec.pack(resource_fn)
        cluster.make(
            MakeResource(resource_id=values.resource_id, function=function, is_iterator=is_iterator)
        )
        PROGRAM.know("per_worker", values.resource_id, values)
        return values

    def _raise_failure(self) -> None:
        cluster = self._strategy.cluster
        failure = cluster.take_failure()
        if failure is not None:
            result_of(cluster, failure)

    def _check(self, method: str) -> None:
        frame = current_frame()
        if is_on_worker() or (frame is not None and frame.replica is not None):
            raise ContextError(
                f"coordinator.{method} cannot be called in a scheduled function or in strategy.run:"
                " call it in the program"
            )
