"""NONE: each replica has its own value, and only the program synchronises these values.

TensorFlow refuses such a variable (difference D1 in docs/semantics.md).
"""

from __future__ import annotations

from typing import Final

from varsim.spec import Operation, VariableSynchronization
from varsim.sync.policies.cell import Reason, Refuse
from varsim.sync.policies.cells import Broadcast, Local
from varsim.sync.policies.manual import Manual
from varsim.sync.policies.policy import Become, TablePolicy, on_every_write, rows

LOCAL_ONLY: Final = Reason("local_only", shows_components=False)
"""Why a read is refused: there is no single value. The components are not fetched."""

POLICY: Final = TablePolicy(
    rows=rows(
        replica={
            Operation.READ: Local(),
            **on_every_write(Local()),
        },
        cross_replica={
            Operation.READ: Refuse(LOCAL_ONLY),
            **on_every_write(Broadcast(per_component=True)),
        },
    ),
    becomes=Become(VariableSynchronization.NONE, unless_strict=True),
    manual=Manual(),  # with NONE, synchronising is the duty of the program
)
