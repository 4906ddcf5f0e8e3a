"""Observe a strategy with parameter servers: its records, and what its variables cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from varsim.distribute.faults import Fault
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.experiments.config import Experiment
from varsim.experiments.observed import Observed, trace_options
from varsim.experiments.store import RunFiles
from varsim.experiments.strategies import lens_of_copy
from varsim.launch.launcher import LaunchOptions
from varsim.location import warn
from varsim.report.summary import Lens, ServedUse, VariableSummary
from varsim.shells.parameter_cluster import ServedStatistics

ON_SERVER = "server"
"""The synchronization in force in summaries: the variable's own setting has no effect."""


class ObservedServers(Observed):
    """The workers and servers of a `ParameterServerStrategy` in a run, which start once."""

    strategy: ParameterServerStrategy

    def __init__(self, strategy: ParameterServerStrategy, files: RunFiles) -> None:
        super().__init__(strategy, files)
        self.devices = ("cpu:0",) * strategy.num_workers
        self.servers = strategy.num_servers

    @property
    def closures(self) -> int:
        """Return the number of closures that the program has scheduled."""
        return self.strategy.num_scheduled

    @property
    def closures_ended(self) -> int:
        """Return the number of closures that have returned or raised an exception."""
        return self.strategy.num_ended

    def recording(
        self, options: LaunchOptions, experiment: Experiment, files: RunFiles
    ) -> LaunchOptions:
        """Let each server record into the folder itself: the record needs no merge."""
        trace = trace_options(experiment, files.path)
        if trace is not None and trace.window is not None:
            warn(
                "trace.steps has no effect on parameter servers, which have no calls of "
                "strategy.run: they record all operations"
            )
        return replace(options, server_trace=trace)

    def inject(self, faults: Sequence[Fault], seed: int, folder: Path) -> None:
        """Inject nothing: faults apply to calls, which closures are not."""

    def at_step(self, step: int) -> None:
        """Do nothing, because there are no faults."""

    def start_no_more(self) -> None:
        """Do nothing, because lost workers are not replaced."""

    def _measure(self, *, partly: bool) -> None:  # noqa: ARG002  # nothing is lost in part
        self.variables = [_summary(one) for one in self.strategy.statistics()]


def _summary(one: ServedStatistics) -> VariableSummary:
    spec, costs = one.spec, one.costs
    return VariableSummary(
        name=spec.name,
        free=False,
        requested=spec.requested.name,
        synchronization=ON_SERVER,
        aggregation=spec.aggregation.name,
        shape=list(spec.shape),
        dtype=spec.dtype.name,
        writes=costs.writes,
        reads=costs.reads,
        merges=0,
        messages=2 * (costs.reads + costs.writes),  # a request and its answer
        size_bytes=costs.read_bytes + costs.written_bytes,
        waited_s=0.0,
        lens=_lens(one),
        served=ServedUse(
            server=one.server,
            read_bytes=costs.read_bytes,
            written_bytes=costs.written_bytes,
            based_writes=costs.based_writes,
            stale_writes=costs.stale_writes,
            behind=costs.behind / max(1, costs.based_writes),
            most_behind=costs.most_behind,
        ),
    )


def _lens(one: ServedStatistics) -> Lens | None:
    """Return the value at the end; None if the program had dropped the variable."""
    for value in one.costs.values:
        return lens_of_copy(value)
    return None
