"""The message of compressed contributions. Each of them is for the merge of one write."""

from __future__ import annotations

from dataclasses import dataclass

from varsim.protocol.parts import Message, Write
from varsim.spec import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompressedContribution(Message):
    """Replica → coordinator: this replica's compressed value for the merge of one write.

    The replica continues without waiting for the commit. With assign, the value is not compressed:
    `parts` is the value. With assign_add and assign_sub, `parts` is what the variable's compressor
    has made of the change and of the residual before it.
    """

    call_id: int
    position: int
    write: Write  # `write.shape` is the shape of the component
    parts: tuple[Array, ...]  # flat arrays; docs/protocol.md describes them for each compressor
    change_norm: float  # the Euclidean norm of the change, without the residual; 0 for an assign
    residual_norm: float  # the Euclidean norm of the residual after this contribution
