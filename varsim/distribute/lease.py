"""Record how long a distributed variable exists, in the program and on a replica."""

from __future__ import annotations

import weakref
from typing import Final, Generic, TypeVar

from varsim.distribute.variable import Variable
from varsim.errors import DroppedVariable
from varsim.location import user_location

V = TypeVar("V", bound=Variable)

VARIABLES_END: Final = (
    "A variable that is created in strategy.run and not returned ends with the call. Create it in "
    "`with strategy.scope():`, and keep it in the program."
)


class Lease(Generic[V]):
    """The right to use the components of a distributed variable; all copies of an object share it.

    In the program the components are kept until the lease is freed with the last of its holders. On
    a replica the holders are handles, which keep nothing: the lease is over when the program has
    dropped the variable.
    """

    def __init__(self) -> None:
        self.is_over = False
        self._holders: list[weakref.ref[V]] = []

    def hold(self, variable: V) -> None:
        """Add a variable object that uses the components."""
        self._holders.append(weakref.ref(variable))

    def holders(self) -> list[V]:
        """Return the variable objects that still use the components."""
        return [held for ref in self._holders if (held := ref()) is not None]

    def holder(self) -> V | None:
        """Return one of the variable objects that still use the components."""
        return next(iter(self.holders()), None)

    def end(self) -> None:
        """Record that the program has dropped the variable: each later use raises an error."""
        self.is_over = True
        for variable in self.holders():
            vars(variable).pop("variable_id", None)  # it was stored at its first use

    def check(self, name: str) -> None:
        """Raise an error if the program has dropped the variable.

        Raises:
            DroppedVariable: Only this replica still has a reference to the variable.
        """
        if self.is_over:
            location = user_location()
            at = f" at {location}" if location else ""
            raise DroppedVariable(
                f"variable {name!r}{at}: it does not exist any more, because only "
                f"a replica has kept it and the program has not\n  {VARIABLES_END}"
            )
