"""Count and record how replicas use plain variables, which were created outside the scope."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from varsim.distribute.host_requests import HostRequest, ReadVariable, WriteVariable
from varsim.distribute.variable import Variable
from varsim.protocol.messages import HostCall
from varsim.spec import VariableSpec
from varsim.tracing import notices
from varsim.tracing.trace import Trace


@dataclass(slots=True)
class PlainUse:
    """How the replicas of a strategy use one plain variable."""

    spec: VariableSpec
    writes: int = 0
    reads: int = 0


class PlainUses:
    """The plain variables that the replicas of a strategy use, by name and line of creation."""

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str], PlainUse] = {}

    def all(self) -> list[PlainUse]:
        """Return the uses, in the order in which the variables were first used."""
        return list(self._uses.values())

    def note(
        self, trace: Trace | None, replica_id: int, host_call: HostCall, request: HostRequest
    ) -> None:
        """Count and record a replica's request, if it has read or written a plain variable.

        Args:
            trace: The trace of the program's process; None if nothing is recorded.
        """
        match request:
            case ReadVariable(variable=variable):
                operation = notices.READ
            case WriteVariable(variable=variable):
                operation = request.operation.value
            case _:
                return
        if variable.container is not None:  # a component of a distributed variable
            return
        use = self._use_of(variable)
        if operation == notices.READ:
            use.reads += 1
        else:
            use.writes += 1
        if trace is not None:
            about = operation, host_call.location, use.spec.name, use.spec.created_at
            value = np.asarray(variable.convert())
            notices.plain(trace, host_call.call_id, replica_id, *about, value)

    def _use_of(self, variable: Variable) -> PlainUse:
        key = variable.spec.name, variable.spec.created_at
        return self._uses.setdefault(key, PlainUse(variable.spec))
