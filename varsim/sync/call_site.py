"""Describe the function of a call, and the location where the program called it."""

from __future__ import annotations

from typing import Final

from varsim.value_class import value_class


@value_class
class CallSite:
    """The function of a call and the location of the call, for errors."""

    function: str = "a function"
    defined_at: str = ""  # file:line of the function; empty if it is not known
    called_at: str = ""  # file:line of strategy.run
    is_script: bool = False  # whether the function is a whole script; then it has the script's name
    is_own: bool = False  # whether varsim itself makes the call; see `protocol.messages.OWN_CALLS`

    @property
    def described(self) -> str:
        """Return the function and its location."""
        return f"{self.function} ({self.defined_at})" if self.defined_at else self.function

    def __str__(self) -> str:
        if self.is_script:
            return f"script {self.function}"
        called = f" at {self.called_at}" if self.called_at else ""
        return f"{self.described}, called by strategy.run{called},"


UNKNOWN: Final = CallSite()
"""The site of a call whose function and location are not known."""
