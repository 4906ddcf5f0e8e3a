"""Run a random program on simulated clusters, through the incarnations of the product.

`Incarnations` and `Rescue` decide when the workers start again, which values they read and what
replaces a lost one. Each incarnation is a `SeededCluster` with a `CoordinatorState` and replicas of
its own. So no message of the former incarnation can arrive, as with the sockets of a real cluster;
but its workers still run for a while, and must change nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from tests.properties.operation_model import Array, BareComponentWrite, BareFetch, BareProgramWrite
from tests.properties.steps import CrossRead
from tests.seeded.cluster import (
    FAILURES,
    ProgramRaises,
    SeededCluster,
)
from tests.seeded.faults import Faults, Interrupted
from tests.seeded.programs import (
    AssignComponents,
    Call,
    Create,
    Doing,
    Forget,
    Host,
    Merge,
    Restart,
    Save,
    SeededProgram,
    fitted,
)
from tests.seeded.replicas import NOTHING
from tests.seeded.takeover import TakeOver
from varsim.distribute.checkpoints.saving import Saved
from varsim.distribute.count_use import CountUse
from varsim.distribute.incarnations import Incarnations
from varsim.distribute.lost_workers import LostWorkers, OnWorkerLost
from varsim.errors import CallTimeout, CheckpointError, StartError, WorkerLost
from varsim.launch.launcher import LaunchOptions
from varsim.protocol.messages import Payload
from varsim.spec import Operation, VariableSpec
from varsim.sync.coordinator_events import ProgramCall
from varsim.texts.incarnations import NoRecovery, Recovery


class SeededStrategy:
    """The part of a strategy that `Incarnations` uses."""

    def __init__(self, count: int) -> None:
        self.devices = tuple(f"cpu:{i}" for i in range(count))
        self.specs: dict[int, VariableSpec] = {}  # index → spec, of the variables that are alive
        self.count_use = CountUse()

    def alive_variables(self) -> Sequence[Any]:
        return [SimpleNamespace(spec=spec) for spec in self.specs.values()]

    def renewed(self, devices: tuple[str, ...]) -> None:
        self.devices = devices


class SeededLauncher:
    """Starts an incarnation; sometimes it fails, or is interrupted."""

    def __init__(
        self,
        specs: Sequence[VariableSpec],
        faults: Faults,
        rng: random.Random,
        counts: Counter[str],
    ) -> None:
        self._specs = specs
        self._faults = faults
        self._rng = rng
        self._counts = counts
        self._last: SeededCluster | None = None

    def launch(self, options: LaunchOptions, _: Any) -> Any:
        """Return a cluster in place of a link."""
        if options.incarnation > 1:
            self._counts["next incarnation"] += 1
            if self._rng.random() < 0.03:
                self._counts["start fails"] += 1
                raise StartError("drawn")
            if self._rng.random() < 0.03:
                self._counts["interrupt of a start"] += 1
                raise Interrupted
        count = len(options.devices)
        self._last = SeededCluster(
            count, self._specs, self._faults, self._rng, self._counts, self._last
        )
        return self._last


def _coordinator(link: SeededCluster, *, calls_before: int, **_: Any) -> SeededCluster:
    """Return a cluster, which has the methods of a `Coordinator`."""
    link.calls_before = calls_before
    return link


class SeededIncarnations(Incarnations):
    """The product's incarnations, observed by the model of a take-over."""

    def __init__(self, take_over: TakeOver, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._take_over = take_over
        self.reported: list[Recovery] = []  # ends that the program must learn of

    def _finish(
        self, gone: Collection[int], removed: Collection[int] = (), *, in_call: bool = False
    ) -> Recovery:
        cluster: Any = self._coordinator
        lost, was_used = set(cluster.model.lost), not self._kept
        cluster.states.clear()
        recovery = super()._finish(gone, removed, in_call=in_call)
        if self.lost_workers.policy is OnWorkerLost.SHRINK and gone and not cluster.in_use.torn:
            assert lost == set(recovery.removed), "a lost replica is not removed"
        self._take_over.ended(cluster, recovery, was_used=was_used)
        self.reported.append(recovery)
        return recovery


class SeededRun:
    """Run a program with the faults and the order that `rng` draws, and check it by the models."""

    def __init__(self, program: SeededProgram, rng: random.Random, counts: Counter[str]) -> None:
        self._program = program
        self._rng = rng
        self._counts = counts
        self._faults = Faults(rng, counts)
        self._take_over = TakeOver(counts)
        self._strategy = SeededStrategy(program.num_replicas)
        self._lost_workers = LostWorkers(
            OnWorkerLost(rng.choice("fail restart restart shrink shrink".split())),
            rng.choice((0, 1, 3, 3, 3)),
        )
        self._incarnations = SeededIncarnations(
            self._take_over,
            self._strategy,
            SeededLauncher(program.specs, self._faults, rng, counts),
            LaunchOptions(0, self._strategy.devices),
            strict=False,
            stall_times=(None, None),
            lost_workers=self._lost_workers,
            supervisor=None,
        )
        self._clusters: list[SeededCluster] = []
        self._warnings = ""
        self._files: dict[str, Mapping[str, Array]] = {}
        self._depth = 0  # number of functions of merge_calls and host calls that run

    def run(self) -> None:
        """Run the program; then let all replicas finish, and compare everything."""
        with (
            mock.patch("varsim.distribute.incarnations.Coordinator", _coordinator),
            mock.patch("varsim.distribute.incarnations.warn", self._warn),
            mock.patch("varsim.distribute.rescue.contents.read", self._read_file),
        ):
            for doing in self._program.doings:
                with self._caught():
                    self._do(doing)
                for _ in range(10):
                    if isinstance(doing, Create) and doing.variable not in self._strategy.specs:
                        with self._caught():  # the next doings need the variable
                            self._do(doing)
            self._faults.stop()
            self._compare()
            self._incarnations.close()

    def _warn(self, text: str, _: str) -> None:
        self._warnings += text

    def _read_file(self, path: str) -> Any:
        if path not in self._files:
            raise CheckpointError("it was deleted")
        return SimpleNamespace(arrays=self._files[path])

    def _compare(self) -> None:
        """Compare everything, in the first incarnation in which no read notices a loss."""
        while True:
            with self._caught():
                cluster = self._cluster()
                cluster.settle()
                for index in [*self._strategy.specs]:
                    for doing in cluster.operations.reads(index):
                        with self._caught():
                            self._do(doing)
                if not self._incarnations.is_over:
                    break
        cluster.settle()
        cluster.compare()
        for former in self._clusters:
            former.compare_seen()

    @contextmanager
    def _caught(self) -> Iterator[None]:
        """Catch a failure as a program does, and check what it says of the take-over."""
        try:
            yield
        except (Interrupted, *FAILURES) as failure:
            self._counts[f"program goes on after {type(failure).__name__}"] += 1
            if isinstance(failure, WorkerLost | CallTimeout):
                self._check_aftermath(failure)
        for recovery in self._incarnations.reported:
            for lost in recovery.lost:
                assert str(lost) in self._warnings, f"no warning: {lost}"
        self._incarnations.reported.clear()
        self._warnings = ""

    def _check_aftermath(self, error: WorkerLost | CallTimeout) -> None:
        policy, aftermath = self._lost_workers.policy, error.aftermath
        restarts, most = self._incarnations.restarts, self._lost_workers.max_restarts
        assert restarts <= most
        if policy is OnWorkerLost.FAIL:
            assert aftermath is None
            return
        self._counts[f"{policy.value}: {type(aftermath).__name__}"] += 1
        if isinstance(aftermath, Recovery):
            assert self._incarnations.is_over
        else:
            assert isinstance(aftermath, NoRecovery)
            assert restarts == most or not aftermath.num_replicas

    # ------------------------------------------------------------ doings

    def _cluster(self) -> SeededCluster:
        """Return the present incarnation. If there is none, start one, and compare its values."""
        cluster: Any = self._incarnations.coordinator
        if cluster not in self._clusters:
            if self._clusters:
                self._take_over.started(cluster.model)
            self._clusters.append(cluster)
        return cluster

    def _do(self, doing: Doing, reader: int | None = None) -> None:
        cluster = self._cluster()
        fitting = fitted(doing, cluster.num_replicas)
        match fitting:
            case None:
                self._counts["the replica of an operation is gone"] += 1
            case Call():
                arguments = [NOTHING] * cluster.num_replicas
                call = ProgramCall("step", Payload(fitting), arguments)
                self._incarnations.run(call, self, ())
            case Create(variable=index, value=value):
                spec = self._program.specs[index]
                self._incarnations.create(spec, value.copy())
                self._strategy.specs[index] = spec
                self._take_over.created(index, value)
            case Save():
                self._save(fitting)
            case Restart(is_torn=is_torn):
                cluster.in_use.torn = is_torn
                self._counts["restart by the program"] += 1
                recovery = self._incarnations.restart()
                assert recovery.has_started
                self._cluster()
            case _ if fitting.variable not in self._strategy.specs:
                pass  # it could not be created
            case Forget(variable=index):
                del self._strategy.specs[index]
                self._take_over.dropped(index)
                self._incarnations.forget(index + 1)
            case CrossRead() | BareFetch():
                self._incarnations.look(cluster.operations.event(fitting, reader))
            case _:
                self._incarnations.write(cluster.operations.event(fitting, reader))
                self._note_written(cluster, fitting)

    def _note_written(self, cluster: SeededCluster, doing: Any) -> None:
        everyone = range(cluster.num_replicas)
        match doing:
            case _ if self._depth:
                assigned: Collection[int] = ()
            case BareProgramWrite(operation=Operation.ASSIGN):
                assigned = everyone
            case BareComponentWrite(operation=Operation.ASSIGN, replica_id=i):
                assigned = (i,)
            case AssignComponents(values=values):
                assigned = values
            case _:
                assigned = ()
        variable = cluster.model.variables[doing.variable]
        self._take_over.written(variable, doing.variable, assigned)

    def _save(self, save: Save) -> None:
        """Save all components, as `strategy.save` does."""
        components: dict[int, Sequence[Array]] = {}
        for index in [*self._strategy.specs]:
            cluster = self._cluster()
            everyone = tuple(range(cluster.num_replicas))
            event: Any = cluster.operations.event(BareFetch(index, everyone), None)
            values = self._incarnations.look(event).values
            components[index] = [value.copy() for value in values]
        path = f"file {len(self._files)}"
        names = {
            index + 1: tuple(f"{index}/{i}" for i in range(len(each)))
            for index, each in components.items()
        }
        arrays = {
            f"{index}/{i}": one for index, each in components.items() for i, one in enumerate(each)
        }
        if not save.is_deleted:
            self._files[path] = arrays
        self._incarnations.note_saved(Saved(path, names))
        self._take_over.saved(components, is_deleted=save.is_deleted)

    # ------------------------------------------------------------ the functions of running calls

    def merge(self, step: Merge) -> None:
        """Run the function of a merge_call."""
        self._depth += 1
        try:
            for doing in step.doings:
                self._do(doing)
        except FAILURES:
            if not step.catches:
                raise
            self._counts["failure is caught in a merge_call"] += 1
        finally:
            self._depth -= 1
        if step.raises:
            raise ProgramRaises

    def perform(self, replica_id: int, step: Host) -> bool:
        """Perform the request of a replica; return whether it fails."""
        self._depth += 1
        try:
            for doing in step.doings[replica_id] or ():
                self._do(doing, replica_id)
        except FAILURES:
            return True
        finally:
            self._depth -= 1
        return False
