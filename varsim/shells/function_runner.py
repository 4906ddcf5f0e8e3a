"""Define what a replica needs to store and run the program's functions."""

from __future__ import annotations

from typing import Protocol

from varsim.protocol.messages import Create, Define, Forget, Start
from varsim.sync.replica_events import FunctionRaises, FunctionReturns, FunctionUnwinds

FunctionEnd = FunctionReturns | FunctionRaises | FunctionUnwinds
"""How the function of a call ends."""


class FunctionRunner(Protocol):
    """Stores and runs the program's functions for a replica."""

    def define(self, define: Define) -> None:
        """Store a function, to which later calls refer by its id."""

    def create(self, create: Create) -> None:
        """Prepare for a new variable, whose policy may be a custom one."""

    def forget(self, forget: Forget) -> None:
        """Drop the functions and the variable handles that the program has dropped."""

    def run(self, start: Start) -> FunctionEnd:
        """Call a function in replica context; the function uses the methods of the `Replica`."""

    def location(self) -> str:
        """Return the program's current line, as file:line."""
