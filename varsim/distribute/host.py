"""Perform the requests of replicas in the program's process during a call."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, assert_never

import numpy as np

from varsim.distribute.context import Frame, current_frame, entered
from varsim.distribute.host_requests import (
    CreateVariable,
    DescribeVariable,
    HostRequest,
    LogMetrics,
    ReadVariable,
    WriteVariable,
)
from varsim.distribute.metrics import receive
from varsim.distribute.plain_use import PlainUses
from varsim.distribute.ports import StrategyPort
from varsim.distribute.structure_walks import leaves_of
from varsim.distribute.values import is_distributed, regroup_arguments, select_replica
from varsim.distribute.variable import Variable, create
from varsim.errors import CreationError
from varsim.launch.link import Codec
from varsim.location import on_behalf_of
from varsim.protocol.messages import HostCall, MergeCall, Payload, Report
from varsim.sync import policies
from varsim.tracing.trace import Trace


class RunHost:
    """Serves the replicas of one `strategy.run`."""

    def __init__(
        self,
        strategy: StrategyPort,
        codec: Codec,
        warn_once: Callable[[str, str], None],
        present: int,
        recorder: Trace | None = None,
        plain_uses: PlainUses | None = None,
    ) -> None:
        self._strategy = strategy
        self._warn_once = warn_once  # called with text and location
        self._codec = codec
        self._recorder = recorder  # writes the trace of the program's process
        self._plain_uses = PlainUses() if plain_uses is None else plain_uses
        self._joined = strategy.num_replicas_in_sync - present  # how many replicas have joined
        self._around = current_frame()  # the frame in which the program called `run`
        self._created: list[tuple[str | None, Any]] = []  # names and variables of replica 0
        self._merged: list[Variable] = []  # kept alive, because merge functions have returned them
        self._next_creation = [0] * len(strategy.devices)

    def merge(self, merge_calls: Sequence[MergeCall]) -> list[Payload]:
        """Call replica 0's function, as the program, with the arguments of all present replicas."""
        count = self._strategy.num_replicas_in_sync
        function = self._codec.unpack(merge_calls[0].function)
        arguments = [self._codec.unpack(merge_call.arguments) for merge_call in merge_calls]
        args, kwargs = regroup_arguments(arguments, self._joined)
        with entered(Frame(self._strategy)):
            result = function(self._strategy, *args, **kwargs)
        self._merged += [leaf for leaf in leaves_of(result) if isinstance(leaf, Variable)]
        if not is_distributed(result):
            return [self._codec.pack(result)] * len(arguments)
        return [self._codec.pack(select_replica(result, i, count)) for i in range(len(arguments))]

    def perform(self, replica_id: int, host_call: HostCall) -> tuple[Payload, bool]:
        """Perform a replica's request; return the result, and True if it is an exception."""
        request = self._codec.unpack(host_call.request)
        try:
            with entered(self._around), on_behalf_of(host_call.location):
                result = self._do(replica_id, request)
                self._plain_uses.note(self._recorder, replica_id, host_call, request)
        except Exception as error:  # the requesting replica raises it again
            # Not by an assignment, which the exception's class may refuse.
            BaseException.with_traceback(error, None)
            return self._codec.pack(error), True
        return self._codec.pack(result), False

    def show(self, replica_id: int, text: str, *, is_error: bool) -> None:
        """Print a replica's output, with the replica's id before each line."""
        stream = sys.stderr if is_error else sys.stdout
        for line in text.splitlines():
            stream.write(f"[replica {replica_id}] {line}\n")
        stream.flush()  # a pipe would keep the lines

    def report(self, replica_id: int, report: Report) -> None:
        """Print a replica's output; show each of its warnings once for all replicas."""
        if report.output:
            self.show(replica_id, report.output, is_error=False)
        for text, location in report.warnings:
            self._warn_once(text, location)

    def warn(self, text: str, location: str) -> None:
        """Show a warning of the coordinator."""
        self._warn_once(text, location)

    def _do(self, replica_id: int, request: HostRequest) -> Any:
        match request:
            case ReadVariable(variable=variable):
                return np.array(variable.read_value())
            case WriteVariable(variable=variable):
                return variable.write_operand(request.operation, request.operand)
            case DescribeVariable(variable=variable):
                return repr(variable)
            case CreateVariable(arguments=arguments):
                return self._create(replica_id, arguments)
            case LogMetrics(step=step, values=values):
                return receive(step, values)
            case _:
                assert_never(request)

    def _create(self, replica_id: int, kwargs: dict[str, Any]) -> Any:
        """Create a variable for replica 0; return the same variables to the other replicas."""
        index = self._next_creation[replica_id]
        self._next_creation[replica_id] += 1
        name = kwargs["name"]
        if replica_id == 0:
            with entered(Frame(self._strategy)):
                variable: Any = create(**kwargs)
            if self._joined:
                policies.check_joining((variable.spec,))
            self._created.append((name, variable))
        if index >= len(self._created) or self._created[index][0] != name:
            theirs = repr(self._created[index][0]) if index < len(self._created) else "none"
            raise CreationError(
                f"replica {replica_id} creates variable {name!r} as variable {index + 1} of this "
                f"call, but replica 0 created {theirs}: all replicas must create the same "
                "variables in the same order. It is better to create them under strategy.scope()."
            )
        return self._created[index][1]
