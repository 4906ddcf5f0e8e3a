"""What recorded messages mean: each becomes the events that it tells of."""

from __future__ import annotations

import json
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from varsim.protocol.buckets import arrange, size_of, unpack
from varsim.protocol.messages import (
    Abort,
    AllGather,
    AllReduce,
    Answered,
    Ask,
    Commit,
    Component,
    Contribution,
    Create,
    Demand,
    Fetch,
    Forget,
    Layout,
    MergeCall,
    Merged,
    Message,
    Raised,
    Reduced,
    Returned,
    Start,
    Waiting,
    Write,
)
from varsim.spec import Array, VariableSpec
from varsim.tracing.absent import Absent
from varsim.tracing.history import VariableRow

Fields = dict[str, Any]
"""Columns of an event that are not its number, its process or its time."""

Emit = Callable[[Fields], int]
"""Makes an event of its fields, and returns its number."""

Sent = list[tuple[Message, list[int]]]
"""The messages of an envelope, and the events that its sending was."""

_ANSWERS: Final = {Reduced: "reduced", Merged: "merged", Answered: "answered"}
_MEETINGS: Final = {AllReduce: "all_reduce", AllGather: "all_gather", MergeCall: "merge_call"}


class Variables:
    """The variables that a history tells of."""

    def __init__(self) -> None:
        self.specs: dict[int, VariableSpec] = {}

    def rows(self) -> Iterator[VariableRow]:
        """As the table has them."""
        for variable_id, spec in sorted(self.specs.items()):
            yield VariableRow(
                variable_id,
                spec.name,
                json.dumps(spec.shape),
                spec.dtype.name,
                spec.requested.name,
                spec.synchronization.name,
                spec.aggregation.name,
                int(spec.trainable),
                spec.created_at,
            )


class FromProgram:
    """What the coordinator sends. To several replicas it is one event, and several deliveries."""

    def __init__(self, variables: Variables, absent: Absent, meetings: Meetings) -> None:
        self._variables = variables
        self._absent = absent
        self._meetings = meetings
        self._once: dict[tuple[object, ...], int] = {}  # what was told, and in which event
        self._to_one: defaultdict[tuple[int, int], int] = defaultdict(int)

    def writes_to_one(self, variable_id: int, replica_id: int) -> None:
        """The program writes a component: the next commit to it is for it alone."""
        self._to_one[variable_id, replica_id] += 1

    def tell(self, replica_id: int, message: Message, emit: Emit) -> list[int]:
        """The events that sending this message is, or that sending it to others was."""
        match message:
            case Create(spec=spec, value=value):
                self._variables.specs[spec.variable_id] = spec
                kept = _kept(value, self._absent)
                fields = {"kind": "create", "variable": spec.variable_id, "version": 0}
                place = {"place": spec.created_at}
                return [self._first(("create", spec.variable_id), fields | place | kept, emit)]
            case Forget(variable_ids=variable_ids):
                fields = {"kind": "forget"}
                return [
                    self._first(("forget", i), fields | {"variable": i}, emit) for i in variable_ids
                ]
            case Start(call_id=call_id):
                return [self._first(("call", call_id), {"kind": "call", "call": call_id}, emit)]
            case Abort(call_id=call_id, reason=reason):
                fields = {"kind": "abort", "call": call_id, "note": reason}
                return [self._first(("abort", call_id), fields, emit)]
            case Fetch(variable_id=variable_id):
                return [emit({"kind": "fetch", "variable": variable_id, "replica": replica_id})]
            case Commit():
                return self._commit(replica_id, message, emit)
            case Reduced(call_id=call_id, index=index) | Merged(call_id=call_id, index=index):
                note = _ANSWERS[type(message)]
                fields = {"kind": "answer", "call": call_id, "meeting": index, "note": note}
                return [self._first((note, call_id, index), fields, emit)]
            case Answered(call_id=call_id):
                fields = {"kind": "answer", "call": call_id, "replica": replica_id}
                return [emit(fields | {"note": _ANSWERS[Answered]})]
        return []

    def _first(self, what: tuple[object, ...], fields: Fields, emit: Emit) -> int:
        """The event of what is told to all, made when the first is told."""
        if what not in self._once:
            self._once[what] = emit(fields)
        return self._once[what]

    def _commit(self, replica_id: int, commit: Commit, emit: Emit) -> list[int]:
        ids, versions = commit.variable_ids.tolist(), commit.versions.tolist()
        specs = [self._variables.specs.get(variable_id) for variable_id in ids]
        values = _split(commit.value, specs) if len(ids) > 1 else [commit.value]
        call = commit.call_id if commit.call_id > 0 else None
        events = []
        for variable_id, version, value in zip(ids, versions, values, strict=True):
            whose = self._whose(variable_id, version, replica_id)
            key = "commit", variable_id, version, whose
            if key not in self._once:
                meeting = None if call is None else self._meetings.settle(call, variable_id)
                self._once[key] = emit(
                    {
                        "kind": "commit",
                        "call": call,
                        "variable": variable_id,
                        "operation": commit.operation.value,
                        "version": version,
                        "meeting": meeting,
                        "replica": whose,
                        **_kept(value, self._absent),
                    }
                )
            events.append(self._once[key])
        return events

    def _whose(self, variable_id: int, version: int, replica_id: int) -> int | None:
        to_all = "commit", variable_id, version, None
        if to_all in self._once or not self._to_one[variable_id, replica_id]:
            return None
        self._to_one[variable_id, replica_id] -= 1
        return replica_id


class Meetings:
    """At which meeting points of a call each variable was written, and is not committed yet."""

    def __init__(self) -> None:
        self._open: dict[int, defaultdict[int, deque[int]]] = {}  # call → variable → indices
        self._seen: dict[int, int] = {}  # call → how many meeting points are known

    def write(self, call: int, variable_id: int, index: int) -> None:
        """A replica has written; the first that does makes the meeting known."""
        if index >= self._seen.get(call, 0):
            self._open.setdefault(call, defaultdict(deque))[variable_id].append(index)
            self._seen[call] = index + 1

    def settle(self, call: int, variable_id: int) -> int | None:
        """The meeting that the next commit of a variable ends."""
        waiting = self._open[call][variable_id] if call in self._open else None
        return waiting.popleft() if waiting else None

    def end(self, call: int) -> None:
        """Nothing more of a call will be settled."""
        self._open.pop(call, None)
        self._seen.pop(call, None)


class FromReplica:
    """What one replica sends."""

    def __init__(self, variables: Variables, absent: Absent, meetings: Meetings) -> None:
        self._variables = variables
        self._absent = absent
        self._meetings = meetings
        self._layouts: dict[int, tuple[Write, ...]] = {}
        self._withheld: defaultdict[int, deque[Fields]] = defaultdict(deque)  # by variable

    def withheld(self, variable_id: int, value: Fields) -> None:
        """The next write of a variable that is sent without a value had this one."""
        self._withheld[variable_id].append(value)

    def tell(self, message: Message, emit: Emit) -> list[int]:
        """The events that sending this message is."""
        match message:
            case Layout(layout_id=layout_id, writes=writes):
                self._layouts[layout_id] = writes
            case Contribution():
                return list(self._writes(message, emit))
            case Component(variable_id=variable_id, version=version, value=value):
                fields = {"kind": "component", "variable": variable_id, "version": version}
                return [emit(fields | _kept(value, self._absent))]
            case Waiting(call_id=call, variable_id=variable_id, place=place):
                fields = {"kind": "wait", "call": call, "variable": variable_id, "place": place}
                return [emit(fields)]
            case Demand(call_id=call, part=part, place=place):
                fields = {"kind": "wait", "call": call, "variable": part.variable_id}
                return [emit(fields | {"place": place})]
            case AllReduce() | AllGather() | MergeCall():
                fields = {"kind": "meet", "call": message.call_id, "meeting": message.index}
                note = _MEETINGS[type(message)]
                return [emit(fields | {"place": message.place, "note": note})]
            case Ask(call_id=call, place=place):
                return [emit({"kind": "meet", "call": call, "place": place, "note": "question"})]
            case Returned(call_id=call):
                self._withheld.clear()
                return [emit({"kind": "return", "call": call})]
            case Raised(call_id=call, traceback=story):
                self._withheld.clear()  # what was written last is not sent any more
                last = story.rstrip().rpartition("\n")[2]
                return [emit({"kind": "raise", "call": call, "note": last})]
        return []

    def _writes(self, message: Contribution, emit: Emit) -> Iterator[int]:
        writes = self._layouts.get(message.layout_id, ())
        specs = self._variables.specs
        if not writes or any(write.variable_id not in specs for write in writes):
            return  # of a trace that has lost its beginning
        values = unpack(writes, arrange(writes, specs), message.buckets)
        for index, (write, value) in enumerate(
            zip(writes, values, strict=True), start=message.index
        ):
            self._meetings.write(message.call_id, write.variable_id, index)
            if value.shape == write.shape:
                fields = _kept(value, self._absent)
            else:  # those that do not count travel without values
                withheld = self._withheld[write.variable_id]
                fields = withheld.popleft() if withheld else {}
            yield emit(
                {
                    "kind": "write",
                    "call": message.call_id,
                    "variable": write.variable_id,
                    "operation": write.operation.value,
                    "meeting": index,
                    "place": write.place,
                    **fields,
                }
            )


def installed(message: Commit, causes: Iterable[int], emit: Emit) -> None:
    """A replica applies a commit."""
    ids, versions = message.variable_ids.tolist(), message.versions.tolist()
    for variable_id, version, cause in zip(ids, versions, causes, strict=True):
        emit(
            {
                "kind": "install",
                "variable": variable_id,
                "version": version,
                "operation": message.operation.value,
                "cause": cause,
            }
        )


def _split(value: Array, specs: Iterable[VariableSpec | None]) -> list[Array]:
    parts: list[Array] = []
    start = 0
    for spec in specs:
        assert spec is not None, "a commit comes after the variable"
        end = start + size_of(spec.shape)
        parts.append(value[start:end].reshape(spec.shape))  # type: ignore[arg-type]  # no open ones
        start = end
    return parts


def _kept(value: Array, absent: Absent) -> Fields:
    fields: Fields = {"dtype": value.dtype.name, "shape": json.dumps(value.shape)}
    if absent.is_absent(value):
        return fields
    content = value.tobytes()
    return fields | {"digest": zlib.crc32(content), "value": content}
