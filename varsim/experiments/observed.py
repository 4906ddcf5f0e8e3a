"""One strategy of a run: the files of its processes, and the measurements of its variables."""

from __future__ import annotations

from typing import Final

from varsim.distribute.mirrored import MirroredStrategy
from varsim.errors import VarsimError
from varsim.experiments.measure import measure_variables
from varsim.experiments.settings import AppliedSettings
from varsim.experiments.store import RunFiles
from varsim.interrupts import within
from varsim.report.summary import Judgement, VariableSummary

LAST_LOOK_S: Final = 1.0
"""After a run that failed or was interrupted, how long its variables' values may take to come.

Replicas may be busy in the workload's code, and the user waits after pressing Ctrl-C.
"""


class Observed:
    """A strategy that a run watches until its workers end."""

    def __init__(
        self, strategy: MirroredStrategy, settings: AppliedSettings, files: RunFiles
    ) -> None:
        self.strategy = strategy
        self.files = files
        self.variables: list[VariableSummary] = []
        self.verdict: Judgement | None = None
        self._settings = settings
        self._measured = False

    @property
    def calls(self) -> int:
        """How often strategy.run was called."""
        return self.strategy.coordinator.state.calls if self.strategy.has_workers else 0

    def measure(self) -> None:
        """Measures its variables, whose workers answer. Does nothing the second time.

        Raises:
            VarsimError: A worker has ended.
        """
        if not self._measured:
            self.variables = measure_variables(self.strategy, self._settings)
            self._measured = True

    def look(self) -> None:
        """Measures its variables; without their values if workers do not answer any more."""
        if not self.strategy.has_workers:  # they could not be started, and the script went on
            return
        try:
            self.measure()
        except VarsimError:
            self._measure_without_values()

    def take_a_last_look(self) -> None:
        """Measures its variables in bounded time, as far as that is still possible."""
        if self._measured or not self.strategy.has_workers:
            return
        try:
            with within(LAST_LOOK_S):
                self.measure()
        except Exception:  # the cluster is no more, or busy, or was left in the middle of a step
            self._measure_without_values()

    def _measure_without_values(self) -> None:
        self.variables = measure_variables(self.strategy, self._settings, with_values=False)
        self._measured = True
