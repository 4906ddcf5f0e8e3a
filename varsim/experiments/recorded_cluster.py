"""A cluster for one test, with a record that is judged at the end of the test."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from varsim.analysis.asked_kinds import meant_by
from varsim.analysis.examination import Examination, examine
from varsim.analysis.failures import DONE, Ending
from varsim.analysis.findings.model import Finding
from varsim.analysis.outcome import Outcome
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import ConfigError
from varsim.experiments.applied_settings import AppliedSettings
from varsim.experiments.loading import Override, load_experiment
from varsim.experiments.recording import write_history
from varsim.experiments.store import RunFiles
from varsim.experiments.strategies import strategy_of
from varsim.nearest import did_you_mean
from varsim.private import make_private_folder
from varsim.report.space_time import cell, space_time, who, without_column
from varsim.tracing.history import HISTORY, PROGRAM, Event, History, open_history
from varsim.tracing.trace import OFF

KEYS: Final = (
    *("workers", "devices", "mode", "variables", "seed", "launcher", "transport", "exchange"),
    *("auto", "trace", "uneven", "strict", "stall_warn_s", "stall_fail_s", "link_loss_s"),
    *("on_worker_lost", "max_restarts"),
)
"""The keys of an experiment that a test can set. The test itself is the program."""

_LAST_EVENTS: Final = 24
_WIDEST: Final = 100  # columns of the diagram: enough for the program and four replicas


class RecordedCluster:
    """A strategy with a record, and the settings of an experiment for the variables of a test."""

    def __init__(
        self,
        folder: Path,
        *,
        fail_on: object = (),
        simulated: object = False,
        **settings: Any,
    ) -> None:
        """Prepare a strategy, whose workers start when they are first needed.

        Args:
            folder: The directory of the record and of the workers' logs.
            fail_on: Kinds of findings with which `check` fails: a text, or a sequence of texts.
            simulated: True or False: whether the replicas take turns in this process, without
                worker processes.
            settings: Keys of an experiment: see `KEYS`.
        Raises:
            ConfigError: A key or a value is wrong.
            ValueError: There is no such kind of finding.
        """
        for key in settings:
            if key not in KEYS:
                known = [*KEYS, "simulated", "fail_on"]
                raise ConfigError(f"there is no setting {key!r}{did_you_mean(key, known)}")
        if not isinstance(simulated, bool):
            raise ConfigError(f"simulated={simulated!r}: expected True or False")
        said = [Override((key,), value, f"{key}={value!r}") for key, value in settings.items()]
        experiment = load_experiment(None, said)
        self.fail_on = frozenset[str]().union(*map(meant_by, _kinds(fail_on)))
        if self.fail_on and experiment.trace.level == OFF:
            raise ConfigError(
                f"fail_on={fail_on!r} needs a record, and trace={settings['trace']!r} records "
                "nothing: remove one of them"
            )
        self._files = RunFiles(folder)
        make_private_folder(self._files.logs)
        self._stack = ExitStack()
        if simulated:
            from varsim.testing.simulation import simulated_cluster

            self._stack.enter_context(simulated_cluster())
        self.strategy: MirroredStrategy = self._stack.enter_context(
            strategy_of(experiment, experiment.device_names, self._files)
        )
        settings_of = AppliedSettings(experiment, self.strategy)
        self._stack.enter_context(variable_creator_scope(settings_of))

    @property
    def path(self) -> Path:
        """Return the directory of the record, for `varsim check` and `varsim lens`."""
        return self._files.path

    def close(self) -> None:
        """End the workers. The values of the variables cannot be read afterwards."""
        self._stack.close()

    @cached_property
    def history(self) -> History:
        """End the workers, and return the open record.

        Raises:
            ConfigError: There is no record, because the test used no strategy, or it is damaged.
        """
        self.close()
        problem = write_history(self._files)
        if problem is not None:
            raise ConfigError(f"the record cannot be read: {problem}")
        if not self._has_record:
            raise ConfigError("there is no record: the test used no strategy, or its trace is off")
        return self._open.enter_context(open_history(self.path))

    @property
    def _has_record(self) -> bool:
        """Return whether there is a record, or what is left of one."""
        return (self.path / HISTORY).is_file() or self._files.has_unmerged_traces

    @cached_property
    def _open(self) -> ExitStack:
        return ExitStack()

    @cached_property
    def examination(self) -> Examination:
        """Return the result of `varsim check` on the record, which ends the workers."""
        return examine(self.history, ending=Ending(status=DONE))

    @property
    def verdict(self) -> Outcome:
        """Return whether varsim kept its promises: VALID, INVALID or UNKNOWN."""
        return self.examination.outcome

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Return what looks wrong in the program of the test."""
        return self.examination.findings

    def story(self) -> str:
        """End the workers; return the last event of each process, and the last events of all.

        Returns:
            A text of several lines; "" if nothing was recorded.
        """
        try:
            history = self.history
        except ConfigError as error:
            return str(error) if self._has_record else ""
        last = {
            one.process: one
            for one in history.events("event IN (SELECT max(event) FROM events GROUP BY process)")
        }
        if not last:
            return "the record has no events"
        names = {number: row.name for number, row in history.variables.items()}
        lines = []
        processes = range(PROGRAM, history.num_replicas)
        for process in processes:
            one = last.get(process)
            said = "no event is recorded" if one is None else cell(one, names) + _place(one)
            lines.append(f"{who(process)}: {said}")
        events = list(history.events("event > ?", (history.last_event - _LAST_EVENTS,)))
        absent = without_column(events, processes)
        diagram = [*space_time(events, names, widest=_WIDEST), *([absent] if absent else [])]
        lines += ["", *diagram, ""]
        return "\n".join([*lines, f"the whole record: varsim check {self.path}"])

    def finish(self) -> None:
        """End the workers, and close the record."""
        self.close()
        self._open.close()


def _kinds(fail_on: object) -> Sequence[str]:
    """Return the kinds of findings that `fail_on` names.

    Raises:
        ConfigError: It is neither a text nor a sequence of texts.
    """
    match fail_on:
        case str():
            return [fail_on]
        case list() | tuple() | set() | frozenset() if all(isinstance(one, str) for one in fail_on):
            return [*fail_on]
    raise ConfigError(f"fail_on={fail_on!r}: expected kinds of findings, as in ['conflict']")


def _place(event: Event) -> str:
    call = "" if event.call is None else f", in call {event.call}"
    return call + ("" if event.location is None else f", at {event.location}")
