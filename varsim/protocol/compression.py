"""The message of compressed contributions. Each of them is for the merge of one write."""

from __future__ import annotations

import numpy as np

from varsim.protocol.parts import Message, Write
from varsim.spec import Array
from varsim.value_class import value_class


@value_class(kw_only=True, eq=False)
class CompressedContribution(Message):
    """Replica → coordinator: this replica's compressed value for the merge of one write.

    The replica continues without waiting for the commit. If the value is whole, which is only
    possible with assign, `parts` is the value. Otherwise `parts` is what the variable's compressor
    has made of the change and of the residual before it. Under LocalSGD, the change is that of the
    component since the last exchange, and the operation is assign.
    """

    call_id: int
    position: int
    write: Write  # `write.shape` is the shape of the component
    parts: tuple[Array, ...]  # flat arrays; docs/protocol.md describes them for each compressor
    change_norm: float  # the Euclidean norm of the change, without the residual; 0 if it is whole
    residual_norm: float  # the Euclidean norm of the residual after this contribution

    @property
    def is_whole(self) -> bool:
        """Return whether the value is not compressed. A float16 is always compressed."""
        return len(self.parts) == 1 and self.parts[0].dtype != np.float16
