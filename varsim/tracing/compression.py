"""Restore the values of compressed contributions, as docs/protocol.md defines their parts.

`sync.compression` has the code of the engine. This module shares no code with it. If the engine is
wrong, contributions and commits in the history disagree, and the judge reports this.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from varsim.protocol.messages import CompressedContribution
from varsim.spec import Array, Operation, VariableSpec
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.outboxes import LayoutError
from varsim.tracing.rows import Form, HistoryRows, kept, recorded

LIMIT_BYTES: Final = 2**20
"""Size limit of a restored value: it can be much larger than the parts that were recorded."""

_CONTRIBUTIONS: Final = Form("variable", "operation", "position", "location", "value")


def restored(parts: Sequence[Array], size: int, dtype: np.dtype[Any]) -> Array:
    """Return the flat value that parts describe. The first part shows which compressor made them.

    Raises:
        LayoutError: There are no such parts of a value of this size.
    """
    match [(part.dtype.name, part.ndim) for part in parts]:
        case [("float16", 1)] if parts[0].size == size:
            return parts[0].astype(dtype)
        case [("int32", 1), (name, 1)] if name == dtype.name and len(parts[0]) == len(parts[1]):
            dense = np.zeros(size, dtype)
            inside = (parts[0] >= 0) & (parts[0] < size)
            if inside.all():
                dense[parts[0]] = parts[1]
                return dense
        case [("uint8", 1), (name, 1)] if (
            name == dtype.name and len(parts[1]) == 2 and len(parts[0]) == math.ceil(size / 8)
        ):
            return parts[1][1 - np.unpackbits(parts[0])[:size].astype(np.intp)]
    raise LayoutError(f"{len(parts)} parts that no compressor makes of {size} elements")


def compressed_write(
    message: CompressedContribution,
    specs: Mapping[int, VariableSpec],
    rows: HistoryRows,
    absent: AbsentMemory,
) -> Sequence[int]:
    """Add the `write` event of a compressed contribution, with the value that its parts describe.

    Raises:
        LayoutError: There are no such parts.
    """
    write, parts = message.write, message.parts
    spec = specs.get(write.variable_id)
    if spec is None:
        return ()  # the beginning of the trace is missing
    if min(write.shape, default=0) < 0:
        raise LayoutError(f"a value of shape {write.shape}")
    size, dtype = math.prod(write.shape), spec.dtype
    shown = recorded(dtype, write.shape, None, None)
    operation = write.operation
    if operation is Operation.ASSIGN and not message.is_whole:
        operation = Operation.ASSIGN_ADD  # a change since the last exchange
    if message.is_whole:
        if [part.shape for part in parts] != [(size,)]:
            raise LayoutError(f"{len(parts)} parts, where a whole value of {size} elements is")
        shown = kept(parts[0].reshape(write.shape), absent)
    elif size * dtype.itemsize <= LIMIT_BYTES and not any(map(absent.is_absent, parts)):
        shown = kept(restored(parts, size, dtype).reshape(write.shape), absent)
    columns = write.variable_id, operation.value, message.position, write.location, *shown
    return rows.add_all("write", _CONTRIBUTIONS, [columns], call=message.call_id)
