"""Define the conditions that an operation of the program can wait for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from varsim.errors import VarsimError
from varsim.sync.stragglers import Straggler, Stragglers
from varsim.value_class import value_class


@dataclass(slots=True, eq=False)
class Request:
    """A wait for the answer to a request. An error also ends the wait."""

    answer: Any = None
    error: VarsimError | None = None
    done: bool = False

    @property
    def until_s(self) -> None:
        """Return None: this wait has no deadline."""
        return

    def end(self, answer: Any = None, error: VarsimError | None = None) -> None:
        """Record an answer or an error."""
        self.answer, self.error, self.done = answer, error, True

    def is_over(self, now_s: float) -> bool:  # noqa: ARG002  # only `Departure` uses the time
        """Return whether the operation can continue."""
        return self.done


@value_class(eq=False)
class Departure:
    """A wait for replicas to leave abandoned calls.

    The wait is over when all replicas have left, or at its deadline.
    """

    stragglers: Stragglers
    replica_ids: Collection[int]
    until_s: float

    @property
    def late(self) -> list[Straggler]:
        """Return the replicas that have not left."""
        return self.stragglers.given_up(self.replica_ids)

    def is_over(self, now_s: float) -> bool:
        """Return whether the operation can continue."""
        return now_s >= self.until_s or not self.late


Wait = Request | Departure
