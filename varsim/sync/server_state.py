"""Decide what a parameter server does: it has variables, and answers requests in their order.

The state handles one request completely before the next one. So each write is atomic. Two requests
of one client, such as the read and the assign of `v.assign(v + 1)`, are not: other writes can
arrive in between. The server counts the versions between them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from varsim.errors import DroppedVariable, VariableError
from varsim.protocol.messages import Create, Forget
from varsim.protocol.parameter_servers import (
    AskForCosts,
    ServedCosts,
    ServedCreated,
    ServedRead,
    ServedRequest,
    ServedScatter,
    ServedValue,
    ServedVersion,
    ServedWrite,
)
from varsim.spec import Array, Operand, Operation, Rows, VariableSpec
from varsim.sync import reduce, scatter
from varsim.sync.components import check_operand
from varsim.value_class import value_class

NOT_READ = -1
"""In place of a version: the closure has not read the variable before it writes it."""


@value_class
class RequestArrives:
    """A message has arrived: a request, or the creation or the end of variables.

    Attributes:
        process: The worker that sent it; PROGRAM for the program.
    """

    process: int
    message: Create | Forget | ServedRequest


@value_class(eq=False)
class Refused:
    """A request is refused; no variable has changed."""

    request_id: int
    error: Exception


@value_class(kw_only=True, eq=False)
class Served:
    """One operation in the order of the server, for the record.

    Attributes:
        process: The worker that made the request; `PROGRAM` for the program.
        closure_id: The closure; 0 for the program.
        operation: None for a read.
        version: The version that was read, or that the write made; 0 for the initial value.
        read_version: The version that the same closure had read last; NOT_READ if none.
        value: The value that was read, or the operand.
    """

    process: int
    closure_id: int
    variable_id: int
    operation: Operation | None
    version: int
    read_version: int
    location: str
    value: Operand


ServerAction = ServedCreated | ServedValue | ServedVersion | ServedCosts | Refused | Served
"""An answer to the client whose request is handled, or an entry of the record."""


@dataclass(slots=True)
class ServedCounts:
    """What happened to one variable on its server.

    Attributes:
        based_writes: The number of writes whose closure had read the variable before.
        stale_writes: The number of writes whose closure had read an older version.
        most_behind: The largest number of writes of others between such a read and its write.
        behind: The sum of these numbers.
    """

    reads: int = 0
    writes: int = 0
    read_bytes: int = 0
    written_bytes: int = 0
    based_writes: int = 0
    stale_writes: int = 0
    most_behind: int = 0
    behind: int = 0


@dataclass(slots=True)
class _Variable:
    spec: VariableSpec
    value: Array  # read-only, unless `is_owned`
    is_owned: bool = False  # whether no answer refers to the array, so rows can change in place
    version: int = 0


class ServerState:
    """The variables of one parameter server."""

    def __init__(self) -> None:
        self._variables: dict[int, _Variable] = {}
        self.counts: dict[int, ServedCounts] = {}
        """Variable → what happened to it; a dropped variable keeps its counts."""

    def handle(self, event: RequestArrives) -> list[ServerAction]:
        """Handle a message; return the entry of the record, and the answer as the last action."""
        match event.message:
            case Create():
                return self._create(event.process, event.message)
            case Forget(variable_ids=variable_ids):
                for variable_id in variable_ids:
                    self._variables.pop(variable_id, None)
                return []
            case AskForCosts(request_id=request_id, variable_id=variable_id):
                return [self._costs(request_id, variable_id)]
            case request:
                return self._request(event.process, request)

    def _create(self, process: int, create: Create) -> list[ServerAction]:
        """Store a new variable. A second creation of the same variable changes nothing."""
        spec = create.spec
        created = ServedCreated(variable_id=spec.variable_id)
        if spec.variable_id in self._variables:
            return [created]
        self._variables[spec.variable_id] = _Variable(spec, create.value)
        self.counts[spec.variable_id] = ServedCounts()
        return [
            Served(
                process=process,
                closure_id=0,
                variable_id=spec.variable_id,
                operation=Operation.CREATE,
                version=0,
                read_version=NOT_READ,
                location=spec.created_at,
                value=create.value,
            ),
            created,
        ]

    def _costs(self, request_id: int, variable_id: int) -> ServedCosts:
        held = self._variables.get(variable_id)
        if held is not None:  # the answer refers to the array
            held.is_owned = False
        values = () if held is None else (held.value,)
        counts = asdict(self.counts[variable_id])
        return ServedCosts(request_id=request_id, values=values, **counts)

    def _request(
        self, process: int, request: ServedRead | ServedWrite | ServedScatter
    ) -> list[ServerAction]:
        held = self._variables.get(request.variable_id)
        if held is None:
            error: Exception = DroppedVariable(
                f"a closure uses variable {request.variable_id} at {request.location}, but the "
                "program has dropped it: keep the variable until the closure has ended"
            )
            return [Refused(request.request_id, error)]
        try:
            return list(self._served(process, request, held))
        except VariableError as refused:
            return [Refused(request.request_id, refused)]

    def _served(
        self, process: int, request: ServedRead | ServedWrite | ServedScatter, held: _Variable
    ) -> Iterator[ServerAction]:
        value: Operand
        operation: Operation | None = None
        read_version = NOT_READ
        if isinstance(request, ServedRead):
            value = self._read(held)
        else:
            value = request.rows if isinstance(request, ServedScatter) else request.value
            operation, read_version = request.operation, request.read_version
            self._write(held, operation, value, read_version)
        yield Served(
            process=process,
            closure_id=request.closure_id,
            variable_id=request.variable_id,
            operation=operation,
            version=held.version,
            read_version=read_version,
            location=request.location,
            value=value,
        )
        if operation is None:
            assert isinstance(value, np.ndarray)
            yield ServedValue(request_id=request.request_id, version=held.version, value=value)
        else:
            yield ServedVersion(request_id=request.request_id, version=held.version)

    def _read(self, held: _Variable) -> Array:
        counts = self.counts[held.spec.variable_id]
        counts.reads += 1
        counts.read_bytes += held.value.nbytes
        held.is_owned = False
        held.value.setflags(write=False)
        return held.value

    def _write(self, held: _Variable, operation: Operation, operand: Operand, read: int) -> None:
        check_operand(held.spec, operation, held.value.shape, operand)
        if isinstance(operand, Rows):
            if not held.is_owned:
                held.value, held.is_owned = np.array(held.value, order="C"), True
            scatter.apply_rows(operation, held.value, operand)
        else:
            held.value, held.is_owned = reduce.apply(operation, held.value, operand), False
        counts = self.counts[held.spec.variable_id]
        counts.writes += 1
        counts.written_bytes += operand.nbytes
        if read != NOT_READ:
            counts.based_writes += 1
            counts.stale_writes += held.version > read
            counts.behind += held.version - read
            counts.most_behind = max(counts.most_behind, held.version - read)
        held.version += 1
