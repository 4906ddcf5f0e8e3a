"""Which synchronization a new variable gets, or the error that says what it could be instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from varsim.errors import Fix, VariableError
from varsim.spec import Array, VariableSpec
from varsim.sync import policies
from varsim.sync.fixes import alternatives, are_few, created, if_legal, reads


def in_force(
    asked: VariableSpec, initial: Array, num_replicas: int, *, strict: bool, adaptive: bool = False
) -> VariableSpec:
    """Return the spec of a variable with the settings that are in force.

    Raises:
        VariableError: As `policies.resolve`, with what can be created, and would read at first.
    """
    try:
        return policies.resolve(asked, strict=strict, adaptive=adaptive)
    except VariableError as error:
        raise error.fixed_by(_fixes(asked, initial, num_replicas, strict=strict)) from None


def _fixes(
    asked: VariableSpec, initial: Array, num_replicas: int, *, strict: bool
) -> Iterator[Fix]:
    """Other settings, and a dtype with fractions, with which it can be created."""
    fractions = created(replace(asked, dtype=np.dtype("float32")), strict=strict)
    if fractions is not None and asked.dtype != fractions.dtype:
        yield from _reads_at_first("dtype=float32", fractions, initial, num_replicas)
    for change, other in alternatives(asked, strict=strict):
        yield from _reads_at_first(change, other, initial, num_replicas)


def _reads_at_first(
    change: str, spec: VariableSpec, initial: Array, num_replicas: int
) -> Iterator[Fix]:
    if not policies.is_readable(spec):
        yield Fix(change, "every replica keeps a value of its own")
        return
    components = [initial.astype(spec.dtype)] * num_replicas
    yield from if_legal(partial(reads, change, spec, components if are_few([initial]) else None))
