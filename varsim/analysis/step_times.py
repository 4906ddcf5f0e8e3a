"""How long each call took, who was on its critical path, and who waited, as `findings.waits` says.

The critical path of a call consists of the work of the last replica before each collective. A wait
is counted if it is noticeable, and only as far as the last replica had more work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.waits import Waits
from varsim.analysis.observer import EventObserver
from varsim.tracing.history import Event


@dataclass(frozen=True, slots=True)
class StepTime:
    """The time of one call, in seconds."""

    step: int  # number of the call, from 1, those of earlier incarnations included
    took_s: float
    critical: Mapping[int, float]  # replica → its work on the critical path
    waited: Mapping[int, float]  # replica → its waits for others


class StepTimes(Waits):
    """Measures the calls of a history. Its times show nothing in a simulated cluster."""

    def __init__(self, context: FindingContext, calls_before: int = 0) -> None:
        """Prepare for one history.

        Args:
            calls_before: The number of the program's calls in earlier incarnations.
        """
        super().__init__(context)
        self.simulated = context.simulated
        self.steps: list[StepTime] = []
        self._step = calls_before
        self._began: float | None = None  # when the call began; None outside of calls
        self._critical: defaultdict[int, float] = defaultdict(float)
        self._waits: defaultdict[int, float] = defaultdict(float)

    @property
    def observers(self) -> tuple[EventObserver, ...]:
        """Return the observers that need the events, in the required order."""
        return self.context.presence, self

    def on_call(self, event: Event) -> None:
        """Begin to measure a call of the program."""
        super().on_call(event)
        self._step += event.begins_step
        if event.begins_step and not self.simulated:
            self._began = event.time_s
            self._critical.clear()
            self._waits.clear()

    def charged(self, last: int, work_s: float, waited: Mapping[int, float]) -> None:
        """Add a collective to the call."""
        self._critical[last] += work_s
        for replica_id, waited_s in waited.items():
            self._waits[replica_id] += waited_s

    def on_finish(self, event: Event) -> None:
        """End the measurement of a call."""
        super().on_finish(event)
        if self._began is not None and event.ends_step:
            took_s = event.time_s - self._began
            found = StepTime(self._step, took_s, dict(self._critical), dict(self._waits))
            self.steps.append(found)
            self._began = None
