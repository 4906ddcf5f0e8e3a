"""Read the recorded program from a history.

If a variable was created during a call, the recorded program creates it before that call.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np

from varsim.analysis.completeness import incompleteness, missing
from varsim.analysis.integrity import valid_events
from varsim.analysis.lens import value_read
from varsim.analysis.promises import promise_of
from varsim.analysis.unknown_policies import why_not_installed
from varsim.distribute.policies import POLICIES, know
from varsim.errors import ConfigError
from varsim.extension_dtypes import named
from varsim.spec import SCATTERS, Array, Context, Operand, Operation, Rows, VariableSpec
from varsim.sync import policies
from varsim.tracing.history import PROGRAM, Event, History, VariableRow
from varsim.whatif.recorded import (
    HOST_CALL,
    RELEASE,
    LeftOut,
    RecordedAction,
    RecordedArrival,
    RecordedCall,
    RecordedCreate,
    RecordedForget,
    RecordedManual,
    RecordedProgram,
    RecordedRead,
    RecordedRequest,
    RecordedWrite,
    RestoredStart,
    settings_of,
    spec_of,
)

_KINDS: Final = (
    "create forget call compress write read sync publish push ask obtain request release arrive "
    "answer raise finish"
)
_WHERE: Final = (
    "(kind IN ({}) OR kind = 'commit' AND replica IS NOT NULL)"  # commits end a sequence of writes
).format(", ".join(f"'{kind}'" for kind in _KINDS.split()))


def recorded_program(history: History) -> RecordedProgram:
    """Return the program in a history, as far as it was recorded.

    Raises:
        HistoryError: An event is invalid.
        ConfigError: The program cannot be played; the text says why.
    """
    last, _ = missing(history)
    where = _WHERE if last is None else f"{_WHERE} AND event <= {last:d}"
    builder = _Builder(history)
    for event in valid_events(history, where=where):
        builder.take(event)
    return builder.program(incompleteness(history))


@dataclass(slots=True)
class _OpenCall:
    """A call that has not finished yet."""

    call: RecordedCall
    # The program's actions until its next answer.
    pending: list[RecordedAction] = field(default_factory=list)
    # position → the program's actions in the merge_call
    bodies: dict[int, list[RecordedAction]] = field(default_factory=dict)
    # replica → the program's actions in the host call
    asked: dict[int, list[RecordedAction]] = field(default_factory=dict)
    # replica → its `sync`, whose arrival and result are the next events of the replica
    syncs: dict[int, Event] = field(default_factory=dict)


def why_left_out(row: VariableRow, run: Mapping[str, Any]) -> str:
    """Return why a replay cannot have a variable, as a clause; "" if it can.

    Args:
        run: The entries of the table `run`, which name the package of a policy.
    """
    spec = spec_of(row, settings_of(row))
    try:
        know(spec.synchronization)
    except ConfigError as error:
        if row.synchronization.partition(":")[0] in POLICIES.names():
            return f"its policy cannot be used here ({error})"
        return why_not_installed(row, run, POLICIES.group)
    return why_not_replayable(spec)


def why_not_replayable(spec: VariableSpec) -> str:
    """Return why a replay cannot show values and costs of a variable, as a clause; "" if it can.

    With bounded staleness, or if replicas write alone, both depend on the replicas' speeds, which a
    replay does not have.
    """
    if not policies.depends_on_speeds(spec):
        return ""
    return (
        f"with {spec.synchronization.name}, its values and its messages depend on how fast each "
        "replica runs, and a replay does not repeat speeds; run the program itself under both "
        "settings (varsim run … --mode), and compare the two reports"
    )


class _Builder:
    def __init__(self, history: History) -> None:
        self._num_replicas = history.num_replicas
        self._left_out = {
            number: LeftOut(row, why)
            for number, row in history.variables.items()
            if (why := why_left_out(row, history.run))
        }
        self._variables = {
            number: row for number, row in history.variables.items() if number not in self._left_out
        }
        specs = {n: spec_of(row, settings_of(row)) for n, row in self._variables.items()}
        self._specs = specs
        self._shares = {
            number: policies.cell(spec, Context.CROSS_REPLICA, Operation.ASSIGN).shares
            for number, spec in specs.items()
        }
        self._actions: list[RecordedAction] = []
        self._frames: list[_OpenCall] = []  # innermost last
        self._by_call: dict[int, _OpenCall] = {}
        self._created: set[int] = set()
        self._unknown: set[int] = set()
        self._steps = history.calls_before
        self._events = 0
        self._group: list[Event] = []  # consecutive writes to single components by the program
        self._synced: Event | None = None  # a sync of the program, whose writes follow
        self._history = history

    def take(self, event: Event) -> None:
        """Add the action of an event."""
        if self._group and not self._belongs(event):
            self._end_group()
        if event.variable in self._left_out:
            return
        if event.process != PROGRAM:
            frame = self._by_call.get(event.call or 0)
            if frame is not None:
                self._of_replica(frame, event)
            return
        if self._synced is not None and event.kind not in {"write", "commit"}:
            self._synced = None
        match event.kind:
            case "write" if _is_result(self._synced, event):
                pass  # the replay of the sync writes it
            case "sync" | "push" | "obtain":
                self._now().append(self._manual(event))
                self._synced = event if event.kind == "sync" else None
            case "create":
                self._create(event)
            case "forget":
                assert event.variable is not None
                self._now().append(RecordedForget(event.variable))
            case "read":
                self._need(event.variable)
                self._now().append(self._read(event))
            case "write" if event.replica is not None:
                self._group.append(event)
            case "write":
                self._need(event.variable)
                self._now().append(self._write(event, (event,)))
            case "call":
                self._call(event)
            case "answer":
                self._answer(event)
            case "finish":
                self._finish(event)

    def program(self, problem: str) -> RecordedProgram:
        """Return the program without unfinished calls."""
        if self._group:
            self._end_group()
        return RecordedProgram(
            num_replicas=self._num_replicas,
            variables=self._variables,
            actions=tuple(self._actions),
            events=self._events,
            unknown=frozenset(self._unknown),
            problem=problem,
            calls_before=self._history.calls_before,
            left_out=self._left_out,
            counts_replicas=self._history.counts_replicas is not False,
        )

    # ------------------------------------------------------------ the program

    def _now(self) -> list[RecordedAction]:
        """Return the list for the next action of the program."""
        return self._frames[-1].pending if self._frames else self._actions

    def _create(self, event: Event) -> None:
        assert event.variable is not None
        self._created.add(event.variable)
        value = _value_of(event)
        if value is None:
            self._unknown.add(event.variable)
        start = None
        if value is not None and event.variable in self._history.kept:
            start = self._start(event.variable, (value,) * self._num_replicas)
        self._actions.append(RecordedCreate(event.variable, value, start))

    def _start(self, variable: int, components: tuple[Array, ...]) -> RestoredStart:
        promise = promise_of(self._variables[variable])
        value = value_read([np.ravel(one) for one in components], promise)
        shape = components[0].shape
        return RestoredStart(components, None if value is None else value.reshape(shape))

    def _take_start(self, group: Sequence[Event]) -> bool:
        """Add the components that a restart put back to the creation of their variable.

        Return whether the events are such writes, and their values are known.
        """
        create = self._actions[-1] if self._actions else None
        if (
            not isinstance(create, RecordedCreate)
            or create.start is None
            or create.variable != group[0].variable
            or len(group) < self._num_replicas
            or not all(map(self._history.puts_back, group))
        ):
            return False
        components = tuple(_value_of(one) for one in group)
        known = tuple(one for one in components if one is not None)
        start = self._start(create.variable, known) if len(known) == len(components) else None
        self._actions[-1] = replace(create, start=start)
        return start is not None

    def _need(self, variable: int | None) -> None:
        """Create a variable at the start of the program, if its creation was not recorded."""
        if variable is None or variable in self._created:
            return
        self._created.add(variable)
        self._unknown.add(variable)
        self._actions.append(RecordedCreate(variable, None))

    def _call(self, event: Event) -> None:
        assert event.call is not None
        if event.begins_step:
            self._steps = event.call
        present = event.present or self._num_replicas
        call = RecordedCall(event.call, tuple([] for _ in range(present)))
        frame = self._by_call[event.call] = _OpenCall(call)
        self._frames.append(frame)

    def _answer(self, event: Event) -> None:
        frame = self._by_call.get(event.call or 0)
        if frame is None:
            return
        done, frame.pending = frame.pending, []
        if event.operation == "host_result" and event.replica is not None:
            frame.asked.pop(event.replica, []).extend(done)
        elif event.operation == "merged" and event.position is not None:
            frame.bodies.setdefault(event.position, []).extend(done)

    def _finish(self, event: Event) -> None:
        frame = self._by_call.pop(event.call or 0, None)
        if frame is None:
            return
        while self._frames.pop() is not frame:
            pass
        if event.note is not None:
            frame.call.failed.append(event.note)
        self._now().append(frame.call)
        self._now().extend(frame.pending)  # the actions in a merge_call that raised an error

    def _belongs(self, event: Event) -> bool:
        """Return whether an event continues a write to all components with the next component."""
        last = self._group[-1]
        return (event.process, event.kind, event.variable, event.location, event.operation) == (
            PROGRAM, "write", last.variable, last.location, last.operation,
        ) and event.replica == len(self._group)  # fmt: skip

    def _end_group(self) -> None:
        group, self._group = self._group, []
        if self._take_start(group):
            return
        self._need(group[0].variable)
        if [one.replica for one in group] == list(range(self._num_replicas)) and len(group) > 1:
            self._now().append(self._write(group[0]._replace(replica=None), tuple(group)))
        else:
            self._now().extend(self._write(one, (one,)) for one in group)

    # ------------------------------------------------------------ replicas

    def _of_replica(self, frame: _OpenCall, event: Event) -> None:
        if event.process >= len(frame.call.replicas):
            return  # only a damaged record has an event of a replica that had joined
        own = frame.call.replicas[event.process]
        match event.kind:
            case "sync":
                frame.syncs[event.process] = event
                own.append(self._manual(event))
            case "publish" | "push" | "ask":
                own.append(self._manual(event))
            case "arrive" if _is_arrival(frame.syncs.get(event.process), event):
                pass  # the replay of the sync arrives
            case "write" if _is_result(frame.syncs.get(event.process), event):
                del frame.syncs[event.process]
            case "request":
                own.append(_request(event, event.operation or ""))
            case "release":
                own.append(_request(event, RELEASE))
            case "read":
                self._need(event.variable)
                own.append(self._read(event._replace(replica=None)))
            case "compress" | "write" if not self._is_made_by_policy(event):
                self._need(event.variable)
                own.append(self._write(event._replace(replica=None), (event,)))
            case "arrive":
                own.append(self._arrive(frame, event))
            case "raise":
                frame.call.raised.add(event.process)

    def _is_made_by_policy(self, event: Event) -> bool:
        """Return whether a replica's policy contributes another value than the program wrote."""
        if event.position is None or event.variable is None:
            return False
        spec, operation = self._specs[event.variable], Operation(event.operation)
        return policies.cell(spec, Context.REPLICA, operation).writes_itself

    def _arrive(self, frame: _OpenCall, event: Event) -> RecordedArrival:
        self._events += 1
        body: list[RecordedAction] = []
        kind, name = event.operation or "", event.note
        if kind == HOST_CALL:
            frame.asked[event.process] = body
        elif event.position is not None and event.members is None:
            body = frame.bodies.setdefault(event.position, body)
        return RecordedArrival(
            event.event, event.process, self._steps, event.location or "", kind, name, body,
            event.group,
        )  # fmt: skip

    # ------------------------------------------------------------ reads and writes

    def _read(self, event: Event) -> RecordedRead:
        assert event.variable is not None
        self._events += 1
        return RecordedRead(
            event.event, event.variable, event.process, self._steps, event.location or "",
            event.replica, event, event.occurrences,
        )  # fmt: skip

    def _manual(self, event: Event) -> RecordedManual:
        assert event.variable is not None
        self._need(event.variable)
        self._events += 1
        named_in_column = event.kind in {"sync", "ask", "obtain"}
        operation = (event.operation or "") if named_in_column else event.kind
        delta = _value_of(event) if event.kind == "push" else None
        return RecordedManual(
            event.event, event.variable, event.process, self._steps, event.location or "",
            operation, event.replica, delta, event.group,
        )  # fmt: skip

    def _write(self, event: Event, each: tuple[Event, ...]) -> RecordedWrite:
        assert event.variable is not None
        self._events += 1
        operands = tuple(_operand_of(one) for one in each)
        if any(operand is None for operand in operands):
            self._unknown.add(event.variable)
        operation = Operation(event.operation)
        if operation in SCATTERS and event.shape is None:
            raise ConfigError(
                f"variable {self._variables[event.variable].name!r} has sparse writes, and an "
                "earlier version of varsim recorded this run without their rows: record it again"
            )
        shares = (
            event.process == PROGRAM
            and event.replica is None
            and operation is Operation.ASSIGN
            and self._shares[event.variable]
        )
        return RecordedWrite(
            event.event, event.variable, event.process, self._steps, event.location or "",
            event.replica, operation, operands, tuple(_shape_of(one) for one in each),
            self._is_of_component(event, operation), shares,
        )  # fmt: skip

    def _is_of_component(self, event: Event, operation: Operation) -> bool:
        """Return whether the program wrote rows of a component: `v.values[i].scatter_add`.

        The settings of some variables, such as those of ON_READ, allow no other sparse write.
        """
        if operation not in SCATTERS or event.variable is None:
            return False
        context = Context.CROSS_REPLICA if event.process == PROGRAM else Context.REPLICA
        return policies.cell(self._specs[event.variable], context, operation).refused is not None


def _is_arrival(sync: Event | None, event: Event) -> bool:
    """Return whether a replica arrives at the collective of its sync."""
    return sync is not None and (sync.position, sync.group) == (event.position, event.group)


def _is_result(sync: Event | None, event: Event) -> bool:
    """Return whether a write stores the result of a sync."""
    return (
        sync is not None
        and event.operation == Operation.ASSIGN.value
        and event.variable == sync.variable
        and event.location == sync.location
    )


def _request(event: Event, operation: str) -> RecordedRequest:
    return RecordedRequest(event.location or "", operation, event.note or "", event.group)


def _shape_of(event: Event) -> tuple[int, ...] | None:
    return None if event.shape is None else tuple(json.loads(event.shape))


def _value_of(event: Event) -> Array | None:
    shape = _shape_of(event)
    if event.value is None or event.dtype is None or shape is None:
        return None
    return np.frombuffer(event.value, named(event.dtype)).reshape(shape)


def _operand_of(event: Event) -> Operand | None:
    """Return the value or the rows of a write; None if they were not recorded."""
    value = _value_of(event)
    if value is None or event.indices is None:
        return value
    return Rows(np.frombuffer(event.indices, np.int64), value)
