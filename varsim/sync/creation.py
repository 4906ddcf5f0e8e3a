"""Determine the settings of a new variable, or raise an error with fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from varsim.errors import Fix, VariableError
from varsim.spec import Array, Context, Operation, VariableAggregation, VariableSpec
from varsim.sync import policies
from varsim.sync.fixes import alternatives, are_few, created, if_legal, reads
from varsim.texts.facts import Fact
from varsim.texts.fixes import KEEPS_OWN, ChangeDtype


def in_force(
    asked: VariableSpec, initial: Array, num_replicas: int, *, strict: bool, adaptive: bool = False
) -> VariableSpec:
    """Return the spec with the settings that apply; for example, AUTO becomes ON_WRITE.

    Raises:
        VariableError: See `policies.resolve`. The fixes of the error are settings with which the
            variable can be created.
    """
    try:
        return policies.resolve(asked, strict=strict, adaptive=adaptive)
    except VariableError as error:
        raise error.fixed_by(_fixes(asked, initial, num_replicas, strict=strict)) from None


def adds_up(spec: VariableSpec, initial: Array, num_replicas: int) -> bool:
    """Return whether a read of a new variable gives a multiple of its initial value."""
    cell = policies.cell(spec, Context.CROSS_REPLICA, Operation.READ)
    is_sum = cell.gathers and spec.aggregation is VariableAggregation.SUM
    return is_sum and num_replicas > 1 and bool(np.any(initial))


def _fixes(
    asked: VariableSpec, initial: Array, num_replicas: int, *, strict: bool
) -> Iterator[Fix]:
    """Yield fixes with which the variable can be created: another dtype, other settings."""
    fractions = created(replace(asked, dtype=np.dtype("float32")), strict=strict)
    if fractions is not None and asked.dtype != fractions.dtype and asked.dtype.kind != "c":
        yield from _reads_at_first(ChangeDtype(fractions.dtype), fractions, initial, num_replicas)
    for change, other in alternatives(asked, strict=strict):
        yield from _reads_at_first(change, other, initial, num_replicas)


def _reads_at_first(
    change: Fact, spec: VariableSpec, initial: Array, num_replicas: int
) -> Iterator[Fix]:
    if not policies.is_readable(spec):
        yield Fix(change, KEEPS_OWN)
        return
    components = [initial.astype(spec.dtype)] * num_replicas
    yield from if_legal(partial(reads, change, spec, components if are_few([initial]) else None))
