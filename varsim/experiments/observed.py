"""One strategy of a run: the settings that its variables get, its files, and what is measured."""

from __future__ import annotations

from typing import Final

from varsim.distribute.mirrored import MirroredStrategy
from varsim.errors import VarsimError
from varsim.experiments.config import Experiment
from varsim.experiments.interrupts import OutOfTime, within
from varsim.experiments.measure import measure_variables
from varsim.experiments.settings import AppliedSettings
from varsim.experiments.store import RunFiles
from varsim.report.summary import VariableSummary

LAST_LOOK_S: Final = 1.0
"""After a run that failed or was interrupted, how long its variables' values may take to come.

Replicas may be busy in the workload's code, and whoever pressed Ctrl-C is waiting.
"""


class Observed:
    """A strategy that a run watches, from its first variable until its workers end."""

    def __init__(
        self, experiment: Experiment, strategy: MirroredStrategy, files: RunFiles, place: str = ""
    ) -> None:
        self.strategy = strategy
        self.files = files
        self.place = place  # where the program made it; "" if the run has
        self.settings = AppliedSettings(experiment, strategy)
        self.variables: list[VariableSummary] = []
        self._checked = False
        self._measured = False

    def check_settings(self) -> None:
        """Once: whether the experiment fits the variables that the program has.

        Raises:
            WrongKey: A name that it mentions is no variable's.
        """
        if not self._checked:
            self._checked = True
            self.settings.check()

    def measure(self) -> None:
        """Measures its variables, whose workers answer. Does nothing the second time.

        Raises:
            VarsimError: A worker has ended.
        """
        if not self._measured:
            self.variables = measure_variables(self.strategy, self.settings)
            self._measured = True

    def take_a_last_look(self) -> None:
        """Measures its variables in bounded time, as far as that is still possible."""
        if self._measured:
            return
        try:
            with within(LAST_LOOK_S):
                self.measure()
        except (VarsimError, OutOfTime):  # the cluster is no more, or busy
            self.variables = measure_variables(self.strategy, self.settings, with_values=False)
            self._measured = True
