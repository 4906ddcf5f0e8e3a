"""The names of modes, as users write them. Help, documents and errors take the names from here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

TENSORFLOW: Final = ("auto", "none", "on_write", "on_read")
"""The synchronizations of TensorFlow, in the order of `VariableSynchronization`."""

ADAPTIVE: Final = "adaptive"
"""This mode is short for two settings: `mode: auto` and `auto: adaptive`."""

FORMS: Final = {
    "bounded_staleness": "bounded_staleness:S",
    "central": "central",
    "compressed": "compressed:INNER:BY",
    "local_sgd": "local_sgd:K",
}
"""Keyword of a policy of varsim → the form of its name. Words in capitals stand for parameters."""

PLAIN: Final = ", ".join([*TENSORFLOW, *FORMS.values()])
"""The modes that varsim itself has, without `adaptive`."""

HELP: Final = (
    f"{PLAIN}, {ADAPTIVE}, or a policy of an installed package, for variables that {{}} creates "
    "without a synchronization; or NAME=MODE,NAME=MODE for named variables."
)
"""The help of `--mode`; braces stand for the program that creates the variables."""


def are_missing(words: Iterable[str]) -> str:
    """Return a clause about missing parameters: "K is missing", "INNER and BY are missing"."""
    *others, last = words
    if not others:
        return f"{last} is missing"
    return f"{', '.join(others)} and {last} are missing"
