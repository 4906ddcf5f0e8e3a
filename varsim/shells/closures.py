"""The closures that a program has scheduled, and their results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from varsim.protocol.messages import Payload, Raised
from varsim.sync.call_site import CallSite
from varsim.value_class import value_class


@dataclass(slots=True, eq=False)
class Outcome:
    """What a closure has become. The fields are None as long as it waits or runs."""

    what: str
    """The function of the closure, and its location."""

    result: Payload | None = None
    raised: tuple[int, Raised] | None = None
    """The worker, and what it has sent."""

    cancelled: str | None = None
    """Why the closure is not run, or did not end."""

    was_sent: bool = False
    """Whether a worker has got the closure, and can have begun it."""

    @property
    def is_known(self) -> bool:
        """Return whether the closure has ended."""
        return not (self.result is None and self.raised is None and self.cancelled is None)


@value_class(eq=False)
class Closure:
    """A function with arguments, for one run on any worker.

    Attributes:
        kept: The objects to which the function and the arguments refer by name.
        outcome: What becomes of it; it outlives the closure, and keeps no arguments.
    """

    closure_id: int
    function_id: str
    function: Payload
    arguments: Payload
    site: CallSite
    kept: tuple[Any, ...]
    outcome: Outcome
