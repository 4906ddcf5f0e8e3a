"""Keep the state of a run that has not ended, and report the run's progress to a watcher."""

from __future__ import annotations

import operator
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Protocol

import varsim
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.experiments.applied_settings import AppliedSettings
from varsim.experiments.config import Experiment
from varsim.experiments.metric_log import MetricLog
from varsim.experiments.observed import Observed
from varsim.experiments.observed_servers import ObservedServers
from varsim.experiments.run_ending import failure_of
from varsim.experiments.store import SUMMARY, RunDirectory
from varsim.experiments.strategies import ObservedStrategy
from varsim.interrupts import Interrupts
from varsim.launch.watched_channel import WaitWatcher
from varsim.report.formatting import SAME_WARNING
from varsim.report.json_values import plain
from varsim.report.summary import Carried, Failure, Phase, Plain, RunStatus, Summary
from varsim.texts import saving
from varsim.tracing.progress import Tell

_VARIABLE: Final = "variable "
"""The beginning of a warning that can be the same for several variables."""


class RunWatcher(Protocol):
    """A receiver of the progress of a run."""

    def started(self, summary_so_far: Summary) -> None:
        """Report that the workers are ready, before the workload begins."""

    def follow(
        self, strategy: MirroredStrategy | ParameterServerStrategy, number: int
    ) -> WaitWatcher | None:
        """Return what is called around the waits for the strategy's processes; None if nothing.

        Args:
            number: The number of the strategy in the run, from 1.
        """

    def progressed(self, step: int, total: int, metrics: dict[str, Plain]) -> None:
        """Report that the workload has done a step."""

    def turned_to(self, part: Phase) -> None:
        """Report the beginning of a phase that is before or after the workload."""

    def done(self, fraction: float) -> None:
        """Report the finished fraction of the phase, from 0 to 1. Some phases do not report it."""

    def warned(self, text: str) -> None:
        """Report a warning about the workload. The same text is reported only once."""

    def failed(self, failure: Failure) -> None:
        """Report the failure of the program, as soon as it is known."""

    def interrupted(self) -> None:
        """Report that Ctrl-C has ended the program."""

    def measured(self, summaries: Sequence[Summary]) -> None:
        """Report a summary for each strategy, before anything is written, merged or judged."""

    def unfinished(self, text: str) -> None:
        """Report a result that could not be written or judged, with the reason and the remedy."""

    def finished(self, summaries: Sequence[Summary]) -> None:
        """Report the final summary of each strategy."""


@dataclass
class ActiveRun:
    """A run that has not ended."""

    experiment: Experiment
    keys: dict[str, Any]  # the keys of the experiment, with the defaults
    directory: RunDirectory
    started: datetime
    watcher: RunWatcher | None
    interrupts: Interrupts
    part: Phase = Phase.START_UP
    status: RunStatus = RunStatus.DONE
    interrupted: list[Phase] = field(default_factory=list)
    failure: Failure | None = None
    settings: AppliedSettings = field(init=False)
    metric_log: MetricLog = field(init=False)
    checked: bool = False  # whether `check_settings` was called
    # The report of the run is about the first strategy.
    strategies: list[Observed] = field(default_factory=list)
    step: int = 0
    total: int | None = None
    metrics: dict[str, Plain] = field(default_factory=dict)
    first_metrics: dict[str, Plain] = field(default_factory=dict)
    result: dict[str, Plain] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    carried: Carried | None = None
    advice: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)  # phase → duration
    resumed: str = ""  # the run and the step from which this run continues
    no_oracle: str = ""  # why the run has no oracle
    oracle_result: dict[str, Plain] | None = None
    unfinished: dict[str, str] = field(default_factory=dict)  # file → why it was not written
    _saved: bool = False  # whether a summary was written
    _calls_before: int = 0  # the calls of a workload that was called before
    _warned_first: dict[str, str] = field(default_factory=dict)  # warning → the first variable

    def __post_init__(self) -> None:
        self.settings = AppliedSettings(self.experiment)
        self.metric_log = MetricLog(self.directory.path, self.calls, self.leave_unfinished)

    def calls(self) -> int:
        """Return how many calls of strategy.run, or closures, the program has begun.

        If a workload is called again after lost workers, the calls of its last time count.
        """
        return sum(one.calls + one.closures for one in self.strategies) - self._calls_before

    def follow(self, experiment: Experiment) -> None:
        """Replace the experiment's settings, before a program runs."""
        self.experiment = experiment
        self.settings = AppliedSettings(experiment)

    def observe(self, strategy: MirroredStrategy | ParameterServerStrategy) -> Observed:
        """Observe a strategy.

        The first strategy uses the run's own files. Each further strategy uses a new folder.
        """
        number = len(self.strategies) + 1
        files = self.directory if number == 1 else self.directory.strategy(number)
        observed: Observed
        if isinstance(strategy, ParameterServerStrategy):
            observed = ObservedServers(strategy, files)
        else:
            observed = ObservedStrategy(strategy, self.settings, files)
        if self.experiment.faults and observed.incarnation == 1:
            faults, seed = self.experiment.parsed_faults, self.experiment.seed
            observed.inject(faults, seed, self.directory.path)
        self.strategies.append(observed)
        return observed

    @contextmanager
    def doing(self, part: Phase) -> Iterator[Tell | None]:
        """Run the block as a phase. Yield the function that reports the finished fraction."""
        self.part = part
        if self.watcher is not None and part is not Phase.TRAINING:
            self.watcher.turned_to(part)
        began_s = time.perf_counter()
        try:
            yield None if self.watcher is None else self.watcher.done
        finally:
            self.seconds[part.value] = time.perf_counter() - began_s

    def cut_short(self) -> None:
        """Record that Ctrl-C has ended the current phase."""
        self.interrupted.append(self.part)
        if self.status is RunStatus.DONE:
            self.status = RunStatus.INTERRUPTED
        if self.watcher is not None and self.part is Phase.TRAINING:
            self.watcher.interrupted()

    def fail(self, error: BaseException) -> None:
        """Record and report that the program has failed."""
        self.status, self.failure = RunStatus.FAILED, failure_of(error)
        if self.watcher is not None:
            self.watcher.failed(self.failure)

    def launched(self, began_s: float) -> None:
        """Record that the first workers are ready."""
        self.interrupts.enable()
        self.seconds[Phase.START_UP.value] = time.perf_counter() - began_s
        self.part = Phase.TRAINING
        self.metric_log.start_clock()
        if self.watcher is not None:
            self.watcher.started(self.summary())

    def progress(self, step: int, total: int, **metrics: float) -> None:
        """Handle the progress that the workload reports after each step."""
        self.interrupts.enable()  # a workload that caught a SIGINT can be interrupted again
        self.check_settings()
        self.step, self.total = _whole("step", step), _whole("total", total)
        self._keep(metrics)
        if metrics:
            self.metric_log.log_numbers(self.step, metrics)
        for observed in self.strategies:
            observed.at_step(self.step + 1)
        if self.watcher is not None:
            self.watcher.progressed(self.step, self.total, self.metrics)

    def log(self, step: int | None, values: Mapping[str, float]) -> None:
        """Handle metrics that the program logs; their last values are shown with the progress."""
        self._keep(values)
        self.metric_log.log(step, values)

    def _keep(self, metrics: Mapping[str, float]) -> None:
        """Keep the first and the last value of each metric."""
        found = plain(dict(metrics))
        self.metrics = self.metrics | found  # a watcher has the earlier ones
        for name, value in found.items():
            self.first_metrics.setdefault(name, value)

    def warn_of_missed_faults(self) -> None:
        """Warn of the faults of the experiment that did not happen."""
        for observed in self._last_incarnations:
            for text in observed.missed_faults():
                self.warn(text)
        if self.experiment.faults and not any(one.takes_faults for one in self.strategies):
            self.warn("no fault was injected: faults apply to replicas, and this program has none")

    def warn_of_unused_settings(self) -> None:
        """Warn of settings of replicas, if all strategies have parameter servers instead."""
        if not self.strategies or not all(one.servers for one in self.strategies):
            return
        for key in self.experiment.set_for_replicas:
            problem = "no effect: it applies to replicas, and parameter servers have none"
            self.warn(self.experiment.locations.located((key,), problem))

    @property
    def _last_incarnations(self) -> list[Observed]:
        """Return the last incarnation of each strategy."""
        return list({one.strategy.strategy_id: one for one in self.strategies}.values())

    def check_settings(self) -> None:
        """Check that the experiment names only variables that the program has; check only once.

        Raises:
            WrongKey: No variable matches a name or a pattern of the experiment.
        """
        if not self.checked:
            self.checked = True
            self.settings.check()

    def start_no_more(self) -> None:
        """Let no strategy start workers any more, because the run ends."""
        for observed in self._last_incarnations:
            observed.start_no_more()

    def begin_again(self, logged: int = 0) -> None:
        """Forget the variables of a workload that is called a second time, after lost workers.

        Args:
            logged: The number of lines of the metric series that stay; the steps of later lines are
                repeated.
        """
        self._calls_before += self.calls()
        self.metric_log.keep(logged)
        self.settings.begin_again()
        self.checked = False
        self.step, self.metrics = 0, {}

    def take_a_last_look(self) -> None:
        """Measure the strategies whose workers still answer after a failure or an interrupt."""
        for observed in self.strategies:
            observed.take_a_last_look()

    def warn(self, text: str, location: str = "") -> None:
        """Keep a warning, unless the same warning was kept before.

        Args:
            location: The file:line in the program; empty if the warning is not about a line.
        """
        prefix = f"{location}: " if location else ""
        if prefix + text in self.warnings:
            return
        self.warnings.append(prefix + text)
        who, _, what = text.partition("\n")[0].partition(": ")
        shown = text
        if what and who.startswith(_VARIABLE):
            first = self._warned_first.setdefault(what, who)
            if first != who:
                shown = f"{who}{SAME_WARNING}{first.removeprefix(_VARIABLE)}"
        if self.watcher is not None:
            self.watcher.warned(prefix + shown)

    def measured(self) -> None:
        """Report the measurements."""
        if self.watcher is not None:
            self.watcher.measured(self.summaries())

    def finished(self) -> None:
        """Report the final summaries. If they could not be written, report this first."""
        if self.watcher is not None:
            if SUMMARY in self.unfinished:
                self.watcher.unfinished(self.unfinished[SUMMARY])
            self.watcher.finished(self.summaries())

    def leave_unfinished(self, file: Path, text: str) -> None:
        """Keep and report the reason why a file was not written or not judged."""
        self.unfinished[str(file)] = text
        if self.watcher is not None:
            self.watcher.unfinished(text)

    def save(self) -> None:
        """Save a summary for each strategy, in the folder of the strategy's record.

        If this fails, the results in memory are not affected, and `unfinished` has the reason.
        """
        self.unfinished.pop(SUMMARY, None)
        folders = [self.directory, *(observed.files for observed in self.strategies[1:])]
        for files, summary in zip(folders, self.summaries(), strict=True):
            try:
                files.save(summary)
                self._saved = True
            except OSError as error:
                text = saving.summary_not_written(str(files.path), error, earlier=self._saved)
                self.unfinished.setdefault(SUMMARY, text)

    def summaries(self) -> list[Summary]:
        """Return a summary for each strategy, or one summary if there is no strategy."""
        return [self.summary(), *map(self.summary_of, self.strategies[1:])]

    def summary(self) -> Summary:
        """Return the summary of the run, with the measurements of the first strategy."""
        return self.summary_of(self.strategies[0] if self.strategies else None)

    def summary_of(self, observed: Observed | None) -> Summary:
        """Return the summary of the run, with the measurements of this strategy."""
        experiment = self.experiment
        devices = experiment.device_names if observed is None else observed.devices
        files = self.directory if observed is None else observed.files
        last = None if observed is None else self._last_of(observed)
        return Summary(
            status=self.status,
            interrupted=[part.value for part in self.interrupted],
            failure=self.failure,
            varsim=varsim.__version__,
            started=self.started.isoformat(timespec="seconds"),
            directory=str(files.path),
            experiment=self.keys,
            devices=list(devices),
            hosts=[] if observed is None else list(observed.hosts),
            traffic=None if observed is None else observed.traffic,
            exchange="" if observed is None else observed.exchange,
            seconds=self.seconds,
            step=self.step,
            total_steps=self.total,
            calls=0 if observed is None else observed.calls,
            closures=0 if observed is None else observed.closures,
            closures_ended=0 if observed is None else observed.closures_ended,
            servers=0 if observed is None else observed.servers,
            interrupted_call=None if observed is None else observed.interrupted_call,
            interrupted_in="" if observed is None else observed.interrupted_in,
            metrics=self.metrics,
            first_metrics=self.first_metrics,
            result=self.result,
            variables=[] if observed is None else observed.variables,
            locks=[] if observed is None else observed.locks,
            outside_scope=[] if observed is None else observed.outside_scope,
            warnings=self.warnings,
            verdict=None if observed is None else observed.verdict,
            advice=self.advice,
            no_oracle=self.no_oracle,
            oracle_result=self.oracle_result,
            carried=self.carried,
            unfinished=list(self.unfinished.values()),
            resumed=self.resumed,
            strategy=1 if observed is None else self.number_of(observed),
            incarnation=1 if observed is None else observed.incarnation,
            incarnations=1 if last is None else last.incarnation,
            unstarted=last is not None and not last.has_workers,
            faults=[] if observed is None else observed.faults,
        )

    def number_of(self, observed: Observed) -> int:
        """Return the number of the strategy in the run, from 1; its incarnations share it."""
        numbers = list(dict.fromkeys(one.strategy.strategy_id for one in self.strategies))
        return numbers.index(observed.strategy.strategy_id) + 1

    def _last_of(self, observed: Observed) -> Observed:
        """Return the last incarnation of a strategy."""
        return [one for one in self.strategies if one.strategy is observed.strategy][-1]


def _whole(name: str, number: Any) -> int:
    """Return a workload's number of steps as an int.

    Raises:
        TypeError: `number` is not a whole number.
    """
    if isinstance(number, float) and number.is_integer():
        return int(number)
    try:
        return operator.index(number)
    except TypeError:
        raise TypeError(
            f"job.progress({name}={number!r}): give a whole number of steps, as in "
            "job.progress(step + 1, total, loss=0.3)"
        ) from None
