"""What the processes have recorded about a run as a whole, for the table `run` of a history."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class RunFacts:
    """Facts about a run; the handlers get the members of records."""

    simulated: bool = False  # whether the record is of a simulated cluster
    _uses: dict[str, None] = field(default_factory=dict)
    _continued: dict[str, Any] | None = None

    def counted(self, process: int, what: str, location: str) -> None:  # noqa: ARG002
        """Add a use of the number of replicas by the program."""
        self._uses[f"{what} at {location}"] = None

    def continued(self, process: int, calls: int, kept: list[int]) -> None:  # noqa: ARG002
        """Set the calls and the variables of earlier incarnations."""
        self._continued = {"calls": calls, "kept": kept}

    def entries(self) -> Iterator[tuple[str, Any]]:
        """Yield the keys and values of the table `run`."""
        yield "counted", list(self._uses)
        if self.simulated:
            yield "simulated", True
        if self._continued is not None:
            yield "continued", self._continued
