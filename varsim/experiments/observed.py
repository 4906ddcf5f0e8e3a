"""Define what a run does with the strategies that its program creates: record, measure, close."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from varsim.distribute.faults import Fault
from varsim.errors import StartError, VarsimError
from varsim.experiments.config import Experiment
from varsim.experiments.store import RunFiles
from varsim.interrupts import within
from varsim.launch.launcher import LaunchOptions
from varsim.private import make_private_folder
from varsim.report.summary import Judgement, LockUse, PlainVariable, VariableSummary
from varsim.tracing.host_traffic import HostTraffic
from varsim.tracing.trace import TraceOptions

LAST_LOOK_S: Final = 1.0
"""Longest wait for the values of variables after a failure or an interrupt.

Processes may be busy with the workload's code, and the user waits after Ctrl-C.
"""


class Observed(ABC):
    """One start of a strategy's processes in a run, with its files and its measurements.

    Attributes:
        devices: The names of the workers' devices.
        incarnation: The number of this start of the strategy's workers.
        servers: The number of parameter servers.
        takes_faults: Whether faults can be injected into the strategy.
        has_workers: Whether the processes have started.
    """

    devices: Sequence[str]
    incarnation = 1
    servers = 0
    takes_faults = False

    def __init__(self, strategy: Any, files: RunFiles) -> None:
        self.strategy = strategy
        self.files = files
        self.has_workers = False
        self.variables: list[VariableSummary] = []
        self.locks: list[LockUse] = []
        self.outside_scope: list[PlainVariable] = []
        self.verdict: Judgement | None = None
        self.hosts: Sequence[str] = ()  # as in `Link.hosts`
        self.count_traffic: Callable[[], HostTraffic | None] | None = None  # as in `Link.traffic`
        self.recorded_traffic: HostTraffic | None = None  # with delays; None before the merge
        self.exchange = ""  # as in `Link.exchange_name`
        self._measured = False

    @abstractmethod
    def recording(
        self, options: LaunchOptions, experiment: Experiment, files: RunFiles
    ) -> LaunchOptions:
        """Return the options with which the processes record what the experiment says.

        Args:
            files: The files of this start, by an absolute path.
        Raises:
            StartError: The folder of the records cannot be created.
        """

    @abstractmethod
    def _measure(self, *, partly: bool) -> None:
        """Measure the variables.

        Args:
            partly: Whether to leave out what is lost, instead of raising an error.
        Raises:
            VarsimError: A process does not answer.
        """

    def measure(self) -> None:
        """Measure the variables once, if there are workers. The workers must be able to answer.

        Raises:
            VarsimError: A worker has ended.
        """
        if self.has_workers and not self._measured:
            self._measure(partly=False)
            self._measured = True

    def look(self) -> None:
        """Measure the variables. Leave out the values that cannot be read any more."""
        if self.has_workers and not self._measured:
            self._measured = True
            with suppress(VarsimError):
                self._measure(partly=True)

    def take_a_last_look(self) -> None:
        """Measure the variables in limited time. Leave out the values that cannot be read."""
        if self.has_workers and not self._measured:
            self._measured = True
            # The cluster may have ended, or be busy, or be interrupted within a step.
            with suppress(Exception), within(LAST_LOOK_S):
                self._measure(partly=True)

    @property
    def traffic(self) -> HostTraffic | None:
        """Return what hosts sent to each other; None if all workers ran on the program's host."""
        if self.recorded_traffic is not None or self.count_traffic is None:
            return self.recorded_traffic
        return self.count_traffic()

    @property
    def calls(self) -> int:
        """Return the number of calls of strategy.run until now."""
        return 0

    @property
    def closures(self) -> int:
        """Return the number of closures that the program has scheduled until now."""
        return 0

    @property
    def closures_ended(self) -> int:
        """Return the number of closures that have ended until now, and were not cancelled."""
        return 0

    @property
    def interrupted_call(self) -> int | None:
        """Return the number of the last call, if an interrupt has ended it."""
        return None

    @property
    def interrupted_in(self) -> str:
        """Return what each replica did in this call, in lines; "" if no call was interrupted."""
        return ""

    @property
    def faults(self) -> list[str]:
        """Return the faults that have happened in this incarnation."""
        return []

    @abstractmethod
    def inject(self, faults: Sequence[Fault], seed: int, folder: Path) -> None:
        """Inject faults, if the strategy takes any."""

    @abstractmethod
    def at_step(self, step: int) -> None:
        """Tell the faults which step of the workload begins."""

    def missed_faults(self) -> list[str]:
        """Return a sentence for each fault that did not happen."""
        return []

    @abstractmethod
    def start_no_more(self) -> None:
        """Start no workers any more, even if some are lost from now on."""


def trace_options(experiment: Experiment, folder: Path) -> TraceOptions | None:
    """Return the options of a run's traces, and create their folder; None without traces.

    Raises:
        StartError: The folder cannot be created.
    """
    options = experiment.trace.options(folder)
    if options is not None:
        try:
            make_private_folder(folder)
        except OSError as error:
            raise StartError(
                f"the folder of the traces cannot be created: {error}\n"
                "  Free space there, or choose another folder for the run with --out."
            ) from error
    return options
