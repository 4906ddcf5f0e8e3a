"""Define the bases of varsim's errors: their fields, and how they compose their texts.

`errors` has the errors themselves, and exports the names of this module.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

from varsim.texts.facts import Fact
from varsim.texts.incarnations import NoRecovery, Recovery, RecoveryAfterCall
from varsim.texts.losses import GOES_ON, Loss
from varsim.texts.stalls import StallFailure
from varsim.value_class import value_class


@value_class(eq=False)
class Fix:
    """A fix of an error: a legal change of the program, and the resulting value."""

    what: Fact  # the change
    outcome: Fact  # the effect of the change, with the resulting value if it is known
    value: Any = None  # the resulting value, an array; None for an unknown value

    @property
    def change(self) -> str:
        """Return the text of the change, as it is written in a program."""
        return str(self.what)

    @property
    def gives(self) -> str:
        """Return the text of the result."""
        return str(self.outcome)

    def __str__(self) -> str:
        return f"{self.what}: {self.outcome}"


class VarsimError(Exception):
    """Base of all errors that varsim raises."""

    definite: ClassVar[bool] = True
    """Whether it is certain that the failed operation changed no component of any variable."""

    fixes: tuple[Fix, ...] = ()
    """Legal changes of the program that fix the error, the smallest change first."""

    location: str = ""
    """The location of the failed operation, as file:line; empty if it is not known."""

    @property
    def fact(self) -> Fact | None:
        """Return the problem as a structured value; None if there is only a text."""
        return next((one for one in self.args if isinstance(one, Fact)), None)

    @property
    def recorded(self) -> str:
        """Return the text for a record of the failed operation."""
        return str(self)

    def fixed_by(self, fixes: Iterable[Fix]) -> Self:
        """Add fixes, at most `MAX_FIXES`, and return the same error."""
        self.fixes = tuple(fixes)[:MAX_FIXES]
        return self

    def __str__(self) -> str:
        return self._with_fixes(super().__str__())

    def _with_fixes(self, text: str) -> str:
        return "\n".join([text, *(f"  - {fix}" for fix in self.fixes)])


MAX_FIXES = 4
"""Largest number of fixes in the text of an error; `varsim explain` shows all fixes."""


class EndsIncarnation(VarsimError):
    """An error after which the workers of a strategy are incomplete.

    Attributes:
        aftermath: What the strategy does; None if its policy is to fail.
    """

    aftermath: Fact | None = None

    @property
    def recovery(self) -> Recovery | None:
        """Return how the strategy goes on, and what is lost; None if it does not go on."""
        return self.aftermath if isinstance(self.aftermath, Recovery) else None

    @property
    def recorded(self) -> str:
        """Return the text without a remedy, because what the strategy does next is not known."""
        return self.fact.recorded if isinstance(self.fact, Loss | StallFailure) else str(self)

    @property
    def after_run(self) -> str:
        """Return the text for a run that has ended, without what only its program could do."""
        if self.recovery is not None or not isinstance(self.fact, Loss | StallFailure):
            return str(self)
        match self.aftermath:
            case NoRecovery():
                return f"{self.fact.event}\n{self.aftermath.reason}"
            case None:
                return f"{self.fact.recorded}\n{GOES_ON}"
        return self.fact.recorded

    def __str__(self) -> str:
        if self.aftermath is None or not isinstance(self.fact, Loss | StallFailure):
            return super().__str__()
        goes_on_later = isinstance(self.aftermath, RecoveryAfterCall)
        said = self.fact.recorded if goes_on_later else self.fact.event
        return f"{said}\n{self.aftermath}"
