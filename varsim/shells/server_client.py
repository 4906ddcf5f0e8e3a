"""Read and write the variables of parameter servers, from a worker or from the program."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from varsim.launch.link import Codec
from varsim.location import user_location
from varsim.protocol.parameter_servers import (
    AskForCosts,
    ServedAnswer,
    ServedCosts,
    ServedRead,
    ServedRefusal,
    ServedRequest,
    ServedScatter,
    ServedValue,
    ServedVersion,
    ServedWrite,
)
from varsim.spec import Array, Operand, Operation, Rows
from varsim.sync.read_versions import ReadVersions

Ask = Callable[[int, ServedRequest], ServedAnswer]
"""Sends a request to a server, given the server's number, and waits for the answer."""


class ServerClient:
    """One client of all servers. Each operation waits for the answer of the server."""

    def __init__(self, ask: Ask, codec: Codec, process: int) -> None:
        self.process = process
        """The number of the worker; PROGRAM for the program."""
        self._ask = ask
        self._codec = codec
        self._next_request = count(1).__next__
        self._versions = ReadVersions()

    def begin(self, closure_id: int) -> None:
        """Begin a closure; 0 for another operation of the program."""
        self._versions.begin(closure_id)

    def read(self, server: int, variable_id: int) -> Array:
        """Return the value of a variable; read-only.

        Raises:
            ServerLost: The server's process has ended.
        """
        request = ServedRead(
            request_id=self._next_request(),
            closure_id=self._versions.closure_id,
            variable_id=variable_id,
            location=user_location(),
        )
        answer = self._answer(server, request)
        assert isinstance(answer, ServedValue)
        self._versions.read(variable_id, answer.version)
        answer.value.setflags(write=False)
        return answer.value

    def write(self, server: int, variable_id: int, operation: Operation, operand: Operand) -> None:
        """Apply an operation to a variable, after all writes that have arrived before.

        Raises:
            VariableError: The variable cannot take the operand; nothing has changed.
            ServerLost: The server's process has ended; the write may have happened before.
        """
        about = {
            "request_id": self._next_request(),
            "closure_id": self._versions.closure_id,
            "variable_id": variable_id,
            "read_version": self._versions.of(variable_id),
        }
        request: ServedRequest
        if isinstance(operand, Rows):
            request = ServedScatter(
                operation=operation, rows=operand, location=user_location(), **about
            )
        else:
            request = ServedWrite(
                operation=operation, value=operand, location=user_location(), **about
            )
        answer = self._answer(server, request)
        assert isinstance(answer, ServedVersion)
        self._versions.wrote(variable_id, operation, answer.version)

    def costs(self, server: int, variable_id: int) -> ServedCosts:
        """Return what happened to a variable until now.

        Raises:
            ServerLost: The server's process has ended.
        """
        request = AskForCosts(request_id=self._next_request(), variable_id=variable_id)
        answer = self._answer(server, request)
        assert isinstance(answer, ServedCosts)
        return answer

    def _answer(self, server: int, request: ServedRequest) -> ServedAnswer:
        answer = self._ask(server, request)
        assert answer.request_id == request.request_id, "one request at a time"
        if isinstance(answer, ServedRefusal):
            raise self._codec.unpack_exception(answer.exception)
        return answer
