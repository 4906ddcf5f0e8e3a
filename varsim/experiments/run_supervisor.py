"""Observe the strategies of a run, from the start of their workers to their end."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.supervision import Choices
from varsim.errors import StartError
from varsim.experiments.active_run import ActiveRun
from varsim.experiments.key_locations import WrongKey
from varsim.experiments.observed import Observed
from varsim.experiments.store import RunFiles
from varsim.experiments.strategies import ObservedStrategy
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Link
from varsim.launch.watched_channel import WatchedChannel
from varsim.location import warn
from varsim.texts.incarnations import Recovery
from varsim.transport.transport import AUTO

AnyStrategy = MirroredStrategy | ParameterServerStrategy


class RunSupervisor:
    """A supervisor that observes the strategy of a workload, and each of its incarnations."""

    def __init__(self, run: ActiveRun, began_s: float) -> None:
        self._run = run
        self._began_s = began_s
        self._observed: dict[int, Observed] = {}  # strategy_id → its present incarnation
        self._launching_s = 0.0
        self._here = Path.cwd()  # read now, because a program may change the working directory
        self.launching_s = 0.0  # the time of all launches
        self._losses: list[tuple[Recovery, str]] = []  # not yet reported, with their locations

    def choose(self, said: Choices) -> Choices:
        """Return the settings: those of a workload's strategy come from the experiment.

        Raises:
            WrongKey: The experiment names a launcher or a transport that servers do not have.
        """
        if said.has_servers:
            self._check_servers(said)
        return said

    def _check_servers(self, said: Choices) -> None:
        """Refuse settings that a strategy with parameter servers would silently not have."""
        named = self._run.experiment.named_backends
        where = f"the {said.strategy} at {said.location}"
        if named.get("launcher", said.backends.launcher) != said.backends.launcher:
            raise WrongKey(
                ("launcher",),
                f"{where} has parameter servers, which varsim starts only on the program's "
                f"machine: omit the launcher {named['launcher']} and its hosts; or use a "
                "MirroredStrategy, whose variables can be on several hosts",
            )
        transport = named.get("transport", said.backends.transport)
        if transport not in (AUTO, said.backends.transport):
            raise WrongKey(
                ("transport",),
                f"{where} has only the transport {said.backends.transport}, not {transport}: omit "
                "transport",
            )

    def made(self, strategy: AnyStrategy, location: str) -> None:  # noqa: ARG002
        """Apply the experiment's settings to the strategy's variables.

        They are settings of synchronisation, which have no effect on a parameter server.
        """
        if isinstance(strategy, MirroredStrategy):
            self._run.settings.watch(strategy)

    def launching(self, strategy: AnyStrategy, options: LaunchOptions) -> LaunchOptions:
        """Let the workers write their logs and traces into the run's folder."""
        self.report_losses()
        self._launching_s = time.perf_counter()
        observed = self._observed.get(strategy.strategy_id)
        if observed is None or observed.has_workers:  # else this is another try of the same start
            observed = self._observed[strategy.strategy_id] = self._run.observe(strategy)
        files = RunFiles(self._here / observed.files.path)
        seed = self._run.experiment.seed if options.seed is None else options.seed
        ours = observed.recording(options, self._run.experiment, files)
        if ours.trace is not None and observed.incarnation > 1:
            self._note_place(observed, files)
        return replace(ours, log_dir=files.logs, seed=seed)

    def _note_place(self, observed: Observed, files: RunFiles) -> None:
        try:
            files.note_place(self._run.number_of(observed), observed.incarnation)
        except OSError as error:
            raise StartError(
                f"the folder of the record cannot be written: {error}\n"
                "  Free space there, or choose another folder for the run with --out."
            ) from error

    def linked(self, strategy: AnyStrategy, link: Link) -> Link:
        """Let the watcher of the run follow the strategy, if it follows any."""
        observed = self._observed[strategy.strategy_id]
        observed.hosts, observed.exchange = link.hosts, link.exchange_name
        observed.count_traffic = link.traffic
        watcher = self._run.watcher
        number = self._run.number_of(observed)
        followed = None if watcher is None else watcher.follow(strategy, number)
        if followed is None:
            return link
        return replace(link, channel=WatchedChannel(link.channel, followed))

    def launched(self, strategy: AnyStrategy) -> None:
        """Report the start of the run when the first strategy has workers."""
        self.launching_s += time.perf_counter() - self._launching_s
        observed = self._observed[strategy.strategy_id]
        observed.has_workers = True
        if observed is self._run.strategies[0]:
            self._run.launched(self._began_s)

    def ending(self, strategy: MirroredStrategy) -> None:
        """Measure the variables of an incarnation that ends after lost workers."""
        observed = self._observed[strategy.strategy_id]
        assert isinstance(observed, ObservedStrategy), "servers are not started again"
        observed.end()

    def going_on(
        self,
        strategy: MirroredStrategy,  # noqa: ARG002
        recovery: Recovery,
        location: str,
    ) -> None:
        """Keep the report until it is known whether the workload catches the error.

        If it does not, the workload is called again, with new variables: then the values that the
        report lists are not missing.
        """
        self._losses.append((recovery, location))

    def report_losses(self) -> None:
        """Warn of the losses after which the workload goes on by itself."""
        for recovery, location in self._losses:
            warn(str(recovery).strip(), location)
        self._losses = []

    def forget_losses(self) -> None:
        """Report none of the losses so far, because the workload is called again."""
        self._losses = []

    def closing(self, strategy: AnyStrategy) -> None:
        """Measure the strategy's variables, because this is not possible later."""
        observed = self._observed[strategy.strategy_id]
        if sys.exception() is None:
            observed.look()
        else:
            observed.take_a_last_look()


class ScriptSupervisor(RunSupervisor):
    """A supervisor that applies the experiment to a script's strategies, and observes them."""

    def __init__(self, run: ActiveRun, began_s: float) -> None:
        super().__init__(run, began_s)
        self._locations: dict[int, str] = {}

    def choose(self, said: Choices) -> Choices:
        """Return the experiment's value of each setting, or else the script's value.

        Raises:
            WrongKey: Both the script and the experiment name devices; or the experiment names a
                launcher or a transport that parameter servers do not have.
        """
        super().choose(said)
        experiment = self._run.experiment
        asked = experiment.model_fields_set
        sets_auto = "auto" in asked or experiment.parsed_mode.adaptive
        number = next((key for key in ("workers", "devices") if getattr(experiment, key)), None)
        devices = said.devices
        if number is not None:
            if said.decided:
                raise WrongKey(
                    (number,),
                    f"the {said.strategy} at {said.location} {said.decided}: "
                    f"omit {number}, or write {said.strategy}() there",
                )
            devices = experiment.device_names
        return replace(
            said,
            devices=devices,
            backends=replace(said.backends, **experiment.named_backends),
            strict=experiment.strict if "strict" in asked else said.strict,
            auto=experiment.auto_in_force if sets_auto else said.auto,
            uneven=experiment.uneven or said.uneven,
            stall_times=(
                _first(experiment.stall_warn_s, said.stall_times[0]),
                _first(experiment.stall_fail_s, said.stall_times[1]),
            ),
            link_loss_s=_first(experiment.link_loss_s, said.link_loss_s),
            lost_workers=said.lost_workers.changed(
                experiment.on_worker_lost, experiment.max_restarts
            ),
        )

    def made(self, strategy: AnyStrategy, location: str) -> None:
        """Apply the experiment's settings to the strategy's variables."""
        super().made(strategy, location)
        self._locations[strategy.strategy_id] = location

    def going_on(self, strategy: MirroredStrategy, recovery: Recovery, location: str) -> None:
        """Warn at once, because a script is not called again."""
        super().going_on(strategy, recovery, location)
        self.report_losses()

    def launching(self, strategy: AnyStrategy, options: LaunchOptions) -> LaunchOptions:
        """Let the workers write their logs and traces into the run's folder."""
        ours = super().launching(strategy, options)
        if options.trace is None and options.server_trace is None:
            return ours
        judged = ""
        if options.server_trace is not None:  # this record needs no merge
            judged = f": `varsim check {options.server_trace.directory}` judges that trace"
        self._run.warn(
            f"the strategy at {self._locations[strategy.strategy_id]} has its own trace=, so "
            f"the run has no record of it{judged}"
        )
        return replace(ours, trace=options.trace, server_trace=options.server_trace)


def _first(one: float | None, other: float | None) -> float | None:
    return other if one is None else one
