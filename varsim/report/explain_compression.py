"""Compute a worked example of compressed changes with the engine's functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from varsim.spec import Array, Context, Operation, VariableSpec
from varsim.sync import policies
from varsim.sync.compression import packed

CHANGE: Final = (0.3, -0.1, 3.2, -2.3)
"""The change that the replica of the example makes again and again."""

TIMES: Final = 3
"""The number of changes in the example."""


@dataclass(frozen=True, slots=True)
class CompressionStep:
    """One compressed change of one replica.

    Attributes:
        total: The change and the residual before it.
        restored: The change that the other replicas get.
        residual: What `restored` lacks; the replica adds it to its next change.
        size_bytes: The size of the parts that the replica sends.
        whole_bytes: Their size without compression.
    """

    total: Array
    restored: Array
    residual: Array
    size_bytes: int
    whole_bytes: int


def compression_steps(spec: VariableSpec) -> Iterator[CompressionStep]:
    """Yield the steps of the example; nothing if the policy of a spec compresses nothing."""
    by = policies.cell(spec, Context.REPLICA, Operation.ASSIGN_ADD).compressor
    if by is None:
        return
    change, residual = np.array(CHANGE, spec.dtype), np.zeros(len(CHANGE), spec.dtype)
    for _ in range(TIMES):
        made = packed(by, change, residual)
        size_bytes = sum(part.nbytes for part in made.parts)
        yield CompressionStep(
            change + residual, made.restored, made.residual, size_bytes, change.nbytes
        )
        residual = made.residual
