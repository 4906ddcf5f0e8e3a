"""Save and restore all variables of a strategy, by their names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from varsim.distribute.checkpoints.contents import Contents
from varsim.distribute.checkpoints.restoration import Restoration
from varsim.distribute.checkpoints.saving import require_program, write
from varsim.distribute.variable import Variable
from varsim.errors import UnmatchedCheckpoint
from varsim.spec import Array
from varsim.texts import checkpoints as texts


def named(variables: Sequence[Variable]) -> dict[str, Variable]:
    """Return name → variable. The second of two equal names gets the suffix `_1`, and so on."""
    by_name: dict[str, Variable] = {}
    for variable in variables:
        name = first = variable.name.removesuffix(":0")
        number = 0
        while name in by_name:
            number += 1
            name = f"{first}_{number}"
        by_name[name] = variable
    return by_name


def save(
    variables: Sequence[Variable],
    path: str | os.PathLike[str],
    *,
    exact: bool,
    extra: Mapping[str, Any] | None = None,
    more: Mapping[str, Array] | None = None,
) -> str:
    """Save variables to a file, and return its path without the suffix; see `Strategy.save`.

    Args:
        extra: Plain JSON values to keep with the variables.
        more: Arrays to keep with the variables.
    """
    require_program("strategy.save")
    return write(path, named(variables), exact=exact, extra=extra, more=more)


def restore(variables: Sequence[Variable], path: str | os.PathLike[str]) -> Contents:
    """Restore variables from a file, and return its contents; see `Strategy.restore`."""
    require_program("strategy.restore")
    return restore_from(Restoration(os.fspath(path)), variables)


def restore_from(restoration: Restoration, variables: Sequence[Variable]) -> Contents:
    """Restore variables from a checkpoint that was read; see `Strategy.restore`."""
    restoration.expect_partial()
    check_names(restoration, variables)
    restoration.match(named(variables))
    return restoration.contents


def check_names(restoration: Restoration, variables: Sequence[Variable]) -> None:
    """Check that a checkpoint and a strategy have the same variables.

    Raises:
        UnmatchedCheckpoint: A variable has no value, or a value has no variable.
    """
    here, saved = named(variables).keys(), restoration.contents.nodes[0].children.keys()
    for only, text in ((saved - here, texts.NOT_CONSUMED), (here - saved, texts.NOT_MATCHED)):
        if only:
            names = texts.names_of(sorted(only))
            raise UnmatchedCheckpoint(text.format(path=restoration.path, names=names))
