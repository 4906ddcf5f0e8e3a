"""Texts of each policy for documents and `varsim explain`, and warnings when it is first used."""

from __future__ import annotations

from typing import Final

from varsim.spec import CustomSynchronization, Synchronization, VariableSynchronization
from varsim.value_class import value_class


@value_class
class PolicyText:
    """The texts of one policy.

    Attributes:
        summary: The effect of the policy, in one sentence.
        warning: The warning when a program creates such a variable; empty for none.
    """

    summary: str
    warning: str = ""


_TEXTS: Final = {
    VariableSynchronization.ON_WRITE: PolicyText(
        "ON_WRITE: all replicas have one value, on which they agree at every write."
    ),
    VariableSynchronization.AUTO: PolicyText(
        'AUTO under auto="adaptive": the values are those of ON_WRITE, but writes are exchanged '
        "only before a read."
    ),
    VariableSynchronization.ON_READ: PolicyText(
        "ON_READ: each replica has its own value; a cross-replica read combines these values."
    ),
    VariableSynchronization.NONE: PolicyText(
        "NONE: each replica has its own value; only the program synchronises these values.",
        "synchronization=NONE gives every replica its own value, and varsim does not synchronise "
        "these values by itself. TensorFlow refuses NONE under a strategy (as strict=True does). "
        "Your program must handle the components itself: read them with "
        "strategy.experimental_local_results(v), combine them with "
        "strategy.reduce(op, v, axis=None), make them equal with v.sync(op), and save each "
        "component.",
    ),
}


def text_of(synchronization: Synchronization, summary: str = "") -> PolicyText:
    """Return the texts of a policy.

    Args:
        summary: The summary of a policy that TensorFlow does not have.
    """
    if isinstance(synchronization, CustomSynchronization):
        return PolicyText(summary)
    return _TEXTS[synchronization]


_NEVER_SYNCHRONISED: Final = (
    "NONE: each replica keeps its own values, and nothing synchronises them. TensorFlow refuses "
    "NONE under a strategy."
)


def short_warning(warning: str) -> str:
    """Return a warning for the user of a built-in workload, who cannot change its lines.

    Args:
        warning: The warning for the author of the line that creates a variable.
    Returns:
        A sentence that is the same for all variables; "" if there is no such sentence.
    """
    is_of_none = warning.endswith(_TEXTS[VariableSynchronization.NONE].warning)
    return _NEVER_SYNCHRONISED if is_of_none else ""
