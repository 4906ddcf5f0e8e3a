"""Read `varsim check --fail-on`: the kinds of finding that set the exit code."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import click

from varsim.analysis.asked_kinds import kinds_in, meant_by, words
from varsim.analysis.unexplained import DIFFERENCE
from varsim.cli.exit_codes import WrongUse
from varsim.nearest import listed

if TYPE_CHECKING:
    from varsim.analysis.examination import Examination
    from varsim.analysis.served import ServedExamination


def complete(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Offer words to a shell."""
    return [word for word in words() if word.startswith(incomplete)]


def asked_for(texts: Iterable[str]) -> frozenset[str]:
    """Return the words of all options, each of which may be a list with commas.

    Raises:
        WrongUse: A word is not a kind of finding.
    """
    asked: set[str] = set()
    for text in texts:
        parts = [part for part in text.split(",") if part.strip()]
        if not parts:  # an empty variable of a shell script must not succeed silently
            raise WrongUse(f"--fail-on {text!r} does not name a kind of finding; `any` means all")
        for part in parts:
            try:
                asked |= meant_by(part)
            except ValueError as error:
                raise WrongUse(f"--fail-on {error}") from None
    return frozenset(asked)


def named(found: Examination | ServedExamination, kind: str) -> str:
    """Return a requested kind with what was found of it, for the error."""
    if kind != DIFFERENCE or found.compared is None:
        return kind
    compared = found.compared
    parts = [one.variable for one in compared.unexplained]
    parts += [
        f"{one.name} (returned by the program)" for one in compared.returned if one.unexplained
    ]
    parts += [
        one.variable or f"{one.operation} at {one.location}"
        for one in compared.collectives
        if one.count and not compared.is_meant(one)
    ]
    return f"{kind} of {listed(dict.fromkeys(parts))}"


def seen(found: Examination | ServedExamination, asked: frozenset[str]) -> list[str]:
    """Return the requested kinds that were found."""
    kinds = kinds_in(found.findings, asked)
    if found.compared is not None and found.compared.differs and DIFFERENCE in asked:
        kinds.append(DIFFERENCE)
    return sorted(kinds)


_NOT_OF_SERVERS: Final = frozenset({DIFFERENCE, "failed-call"})
"""What is never searched for in records of parameter servers, although it can happen there."""


def not_looked_for(
    found: Examination | ServedExamination, asked: frozenset[str]
) -> tuple[list[str], str]:
    """Return the requested kinds that were not searched for, and why.

    Their absence proves nothing.
    """
    from varsim.analysis.served import ServedExamination

    if isinstance(found, ServedExamination):
        return sorted(asked & _NOT_OF_SERVERS), "because the record has only reads and writes"
    if found.num_replicas == 1:
        return [], ""
    unseen = {kind.word for kind in found.kinds_left_out}
    if found.compared is None:
        unseen.add(DIFFERENCE)
    why = "without an oracle" if found.compared is None else "because no rule could be tried"
    return sorted(asked & unseen), why
