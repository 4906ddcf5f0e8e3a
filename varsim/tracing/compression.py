"""Decode compressed contributions into events of the history."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

from varsim.protocol.messages import CompressedContribution
from varsim.spec import Operation, VariableSpec
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.compressed_parts import restored
from varsim.tracing.layout import LayoutError
from varsim.tracing.rows import Form, HistoryRows, kept, kept_part, recorded

LIMIT_BYTES: Final = 2**20
"""Size limit of a restored value: it can be much larger than the parts that were recorded."""

_CONTRIBUTIONS: Final = Form("variable", "operation", "position", "location", "value")


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
    if parts and absent.is_absent(parts[0]):
        shown = kept_part(dtype, write.shape, absent.parts_of(parts[0]))
    elif message.is_whole:
        if [part.shape for part in parts] != [(size,)]:
            raise LayoutError(f"{len(parts)} parts, where a whole value of {size} elements is")
        shown = kept(parts[0].reshape(write.shape), absent)
    elif size * dtype.itemsize <= LIMIT_BYTES:
        shown = kept(restored(parts, size, dtype).reshape(write.shape), absent)
    columns = write.variable_id, operation.value, message.position, write.location, *shown
    return rows.add_all("write", _CONTRIBUTIONS, [columns], call=message.call_id)
