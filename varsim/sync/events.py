"""What happens to a state besides messages: the answers to its actions."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.spec import Array


@dataclass(frozen=True, slots=True, eq=False)
class ReductionDone:
    """The value that a `Reduce` asked for; it belongs to the state from now on."""

    token: int
    value: Array
