"""Decode recorded messages into events of the history."""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from varsim.protocol.messages import (
    Abort,
    Combine,
    Commit,
    Component,
    ComponentCommit,
    CompressedContribution,
    Contribution,
    Create,
    Fetch,
    Forget,
    FreshCopy,
    Granted,
    HostCall,
    HostResult,
    Join,
    Joined,
    Layout,
    MergeCall,
    Merged,
    Message,
    Passed,
    Raised,
    Reduced,
    Returned,
    Scatter,
    ScatterCommit,
    SetPolicyState,
    SharedValue,
    Start,
    SyncRequest,
    Waiting,
)
from varsim.protocol.tracebacks import class_of, exception_in, location_in
from varsim.spec import (
    Array,
    CustomSynchronization,
    Operation,
    VariableAggregation,
    VariableSpec,
)
from varsim.tracing import collective_rows
from varsim.tracing.absent import AbsentMemory
from varsim.tracing.compression import compressed_write
from varsim.tracing.deliveries import (
    NO_REPLICA,
    CommitDeliveries,
    Deliveries,
    Events,
    Positions,
)
from varsim.tracing.history import VariableRow
from varsim.tracing.layout import packed
from varsim.tracing.manual import OneSidedRows, state_set
from varsim.tracing.outboxes import RecordedOutbox, side_by_side
from varsim.tracing.requests import ANSWERS, REQUESTS, request_of
from varsim.tracing.rows import (
    NO_ROWS,
    Form,
    HistoryRows,
    Kept,
    KeptRows,
    kept,
    kept_rows,
)

_CONTRIBUTIONS: Final = Form("variable", "operation", "position", "location", "value")
_COMMITS: Final = Form("variable", "operation", "version", "position", "value")
_COMMITS_TO_ONE: Final = Form("variable", "operation", "version", "position", "value", "replica")
_SPARSE_CONTRIBUTIONS: Final = Form("variable", "operation", "position", "location", "rows")
_SPARSE_COMMITS: Final = Form("variable", "operation", "version", "position", "rows")
_SPARSE_COMMITS_TO_ONE: Final = Form(
    "variable", "operation", "version", "position", "rows", "replica"
)
_INSTALLS: Final = Form("variable", "operation", "version", "cause")


class RecordedVariables:
    """The variables of a history."""

    def __init__(self) -> None:
        self.specs: dict[int, VariableSpec] = {}

    def rows(self) -> Iterator[VariableRow]:
        """Yield the rows of the table `variables`."""
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

    def policies(self) -> dict[str, dict[str, str]]:
        """Return the entries of the table `run` about the policies that varsim does not provide."""
        used = (spec.synchronization for spec in self.specs.values())
        custom = [one for one in used if isinstance(one, CustomSynchronization) and one.source]
        found: dict[str, dict[str, str]] = {}
        for one in custom:
            key = "policy_files" if one.definition else "policies"
            found.setdefault(key, {})[one.name.partition(":")[0]] = one.source
        return found


class OpenCollectives:
    """The positions of the merges that are not committed yet, for each call and variable."""

    def __init__(self) -> None:
        self._open: dict[int, defaultdict[int, deque[int]]] = {}  # call → variable → indices
        self._seen: dict[int, int] = {}  # call → number of known positions

    def write(self, call: int, first: int, variable_ids: Iterable[int]) -> None:
        """Add the writes of a replica, from a position on; ignore positions that are known."""
        seen = self._seen.get(call, 0)
        index = first
        for index, variable_id in enumerate(variable_ids, start=first):
            if index >= seen:
                self._open.setdefault(call, defaultdict(deque))[variable_id].append(index)
        self._seen[call] = max(seen, index + 1)

    def settle(self, call: int | None, variable_id: int) -> int | None:
        """Return the position of the merge that the next commit of a variable ends."""
        waiting = self._open[call][variable_id] if call in self._open else None
        return waiting.popleft() if waiting else None

    def end(self, call: int) -> None:
        """Drop a call."""
        self._open.pop(call, None)
        self._seen.pop(call, None)


class FromProgram:
    """Decodes what the coordinator sends. A message to several replicas is one event."""

    def __init__(
        self,
        variables: RecordedVariables,
        collectives: OpenCollectives,
        num_replicas: int,
        rows: HistoryRows,
        absent: AbsentMemory,
    ) -> None:
        self._variables = variables
        self._collectives = collectives
        self._rows = rows
        self._absent = absent
        self._num_replicas = num_replicas
        self._present: dict[int, int] = {}  # call with joined replicas → number of present ones
        self._to_all = Deliveries()
        self._commits = CommitDeliveries(num_replicas)
        self._exchanged: dict[int, tuple[int, int | None]] = {}
        """Variable → the version and the position of its last exchange."""
        self.writes_to_one = self._commits.writes_to_one

    def decided(self, replica_id: int, message: Message) -> None:
        """Create the events of a commit that is sent to a replica, or to several, later."""
        if isinstance(message, Commit | ScatterCommit):
            self._commit(replica_id, message, is_sent=False)
        else:
            self.events_of(NO_REPLICA, message)

    def events_of(self, replica_id: int, message: Message) -> Events:
        """Return the events of a message; another replica may have received the message before."""
        match message:
            case Commit() | ScatterCommit():
                return self._commit(replica_id, message)
            case ComponentCommit():
                return self._component_commit(replica_id, message)
            case Start():
                return self._call(replica_id, message)
            case Reduced():
                answered = self._answered(replica_id, message)
                results = collective_rows.obtained(message, replica_id, self._rows, self._absent)
                return (*answered, *results)
            case Merged() | Joined():
                return self._answered(replica_id, message)
            case Create(spec=spec, value=value):
                return self._create(replica_id, spec, value)
            case Forget(variable_ids=variable_ids):
                everyone = self._num_replicas
                once = [
                    self._once(replica_id, "forget", everyone, variable=one) for one in variable_ids
                ]
                return [event for events in once for event in events]
            case Abort(call_id=call_id, reason=reason):
                everyone = self._num_replicas
                return self._once(replica_id, "abort", everyone, call=call_id, note=reason)
            case Fetch(variable_id=variable_id):
                return (self._rows.add("fetch", variable=variable_id, replica=replica_id),)
            case SetPolicyState():
                of = self._variables.specs.get(message.variable_id)
                return (state_set(message, replica_id, of, self._rows, self._absent),)
            case HostResult() | SharedValue() | Granted() | Passed() | FreshCopy():
                add, what = self._rows.add, ANSWERS[type(message)]
                return (add("answer", call=message.call_id, replica=replica_id, operation=what),)
        return ()

    def _answered(self, replica_id: int, message: Reduced | Merged | Joined) -> Events:
        call, operation = message.call_id, ANSWERS[type(message)]
        receivers = self._present.get(call, self._num_replicas)
        said = {"note": str(message.last)} if isinstance(message, Joined) else {}
        columns = {"call": call, "position": message.position, "operation": operation, **said}
        if isinstance(message, Reduced) and message.group:
            columns["members"] = collective_rows.members_of(message.group)
            receivers = sum(member < receivers for member in message.group)
        return self._once(replica_id, "answer", receivers, **columns)

    def _call(self, replica_id: int, start: Start) -> Events:
        call, present = start.call_id, start.present
        columns = {"call": call}
        if present < self._num_replicas:
            self._present[call] = columns["present"] = present
        return self._once(replica_id, "call", present, **columns)

    def end(self, call: int) -> None:
        """Drop a call."""
        self._present.pop(call, None)

    def _once(self, replica_id: int, kind: str, receivers: int, **columns: Any) -> Events:
        what = kind, *columns.values()
        return self._to_all.first(
            replica_id, what, receivers, lambda: (self._rows.add(kind, **columns),)
        )

    def _create(self, replica_id: int, spec: VariableSpec, value: Array) -> Events:
        number = spec.variable_id
        self._variables.specs[number] = spec

        def make() -> Events:
            shown, location = kept(value, self._absent), spec.created_at
            add = self._rows.add
            return (add("create", variable=number, version=0, location=location, value=shown),)

        return self._to_all.first(replica_id, ("create", number), self._num_replicas, make)

    def _commit(
        self, replica_id: int, commit: Commit | ScatterCommit, *, is_sent: bool = True
    ) -> Events:
        """Return the events of the commit of a merge, or of the program's write."""
        ids, versions = _versions_of(commit)
        if is_sent and self._commits.take_to_one(replica_id, ids, versions):
            return self._new_commit(commit, (None,), replica_id)
        call, settle = _call_of(commit), self._collectives.settle
        return self._commits.events(
            replica_id,
            ids,
            versions,
            lambda: [settle(call, one) for one in ids.tolist()],
            lambda positions, *whose: self._new_commit(commit, positions, *whose),
            is_sent=is_sent,
        )

    def _new_commit(
        self, commit: Commit | ScatterCommit, positions: Positions, *whose: int
    ) -> Events:
        if isinstance(commit, ScatterCommit):
            return self._new_scatter_commit(commit, positions, *whose)
        return self._new_dense_commit(commit, positions, *whose)

    def _new_scatter_commit(
        self, commit: ScatterCommit, positions: Positions, *whose: int
    ) -> Events:
        shown = kept_rows(commit.rows, self._absent)
        operation = commit.operation._value_
        columns = commit.variable_id, operation, commit.version, positions[0], *shown, *whose
        form = _SPARSE_COMMITS_TO_ONE if whose else _SPARSE_COMMITS
        return self._rows.add_all("commit", form, [columns], call=_call_of(commit))

    def _component_commit(self, replica_id: int, commit: ComponentCommit) -> Events:
        """Return the event of one replica's new component in an exchange."""
        number, version, whose = commit.variable_id, commit.version, commit.replica_id

        def make() -> Events:
            if self._exchanged.get(number, (0, None))[0] != version:
                position = self._collectives.settle(commit.call_id, number)
                self._exchanged[number] = version, position
            shown = kept(commit.value, self._absent)
            operation, position = Operation.ASSIGN._value_, self._exchanged[number][1]
            columns = number, operation, version, position, *shown, whose
            return self._rows.add_all("commit", _COMMITS_TO_ONE, [columns], call=commit.call_id)

        return self._to_all.first(replica_id, ("exchange", number, version, whose), 1, make)

    def _new_dense_commit(self, commit: Commit, positions: Positions, *whose: int) -> Events:
        ids, versions = commit.variable_ids.tolist(), commit.versions.tolist()
        operation = commit.operation._value_
        columns = [
            (i, operation, version, position, *shown, *whose)
            for i, version, position, shown in zip(
                ids, versions, positions, self._values(commit, ids), strict=True
            )
        ]
        form = _COMMITS_TO_ONE if whose else _COMMITS
        return self._rows.add_all("commit", form, columns, call=_call_of(commit))

    def _values(self, commit: Commit, ids: Sequence[int]) -> list[Kept]:
        if len(ids) == 1:
            return [kept(commit.value, self._absent)]
        shapes = [self._variables.specs[i].shape for i in ids]
        return side_by_side(commit.value, shapes, self._absent)


class FromReplica:
    """Decodes what one replica sends."""

    def __init__(
        self,
        variables: RecordedVariables,
        collectives: OpenCollectives,
        rows: HistoryRows,
        absent: AbsentMemory,
        replica_id: int,
    ) -> None:
        self._replica_id = replica_id
        self._variables = variables
        self._collectives = collectives
        self._rows = rows
        self._absent = absent
        self.one_sided = OneSidedRows(rows, absent)
        self._outboxes: dict[int, RecordedOutbox] = {}
        self._withheld: defaultdict[int, deque[Kept]] = defaultdict(deque)  # variable_id → values
        self._withheld_rows: defaultdict[int, deque[KeptRows]] = defaultdict(deque)

    def withheld(self, variable_id: int, value: Kept) -> None:
        """Store the value of the variable's next write. The message of this write has no value."""
        self._withheld[variable_id].append(value)

    def withheld_rows(self, variable_id: int, rows: KeptRows) -> None:
        """Store the rows of the variable's next sparse write, whose message has no rows."""
        self._withheld_rows[variable_id].append(rows)

    def events_of(self, message: Message) -> Events:
        """Return the events of a message."""
        rows = self._rows
        match message:
            case Contribution():
                return self._writes(message)
            case Scatter():
                return self._sparse_write(message)
            case CompressedContribution(call_id=call, position=position, write=write):
                self._collectives.write(call, position, [write.variable_id])
                return compressed_write(message, self._variables.specs, rows, self._absent)
            case Returned(call_id=call):
                self._drop_withheld()
                return (rows.add("return", call=call),)
            case Waiting(call_id=call, variable_id=variable, location=location):
                return (rows.add("wait", call=call, variable=variable, location=location),)
            case Layout(layout_id=layout_id, writes=writes):
                specs = self._variables.specs
                if all(write.variable_id in specs for write in writes):
                    self._outboxes[layout_id] = RecordedOutbox(writes, packed(writes, specs))
            case Component(variable_id=variable, version=version, value=value):
                shown = kept(value, self._absent)
                return (rows.add("component", variable=variable, version=version, value=shown),)
            case SyncRequest(call_id=call, delta=delta, location=location):
                return (rows.add("wait", call=call, variable=delta.variable_id, location=location),)
            case Combine() | MergeCall() | Join():
                if isinstance(message, Combine):
                    self.one_sided.synced(message)
                return collective_rows.arrived(message, rows, self._absent)
            case _ if isinstance(message, REQUESTS):
                return (rows.add(**request_of(message)),)
            case HostCall(call_id=call, location=location):
                return (rows.add("arrive", call=call, location=location, operation="host_call"),)
            case Raised(call_id=call, traceback=traceback):
                self._drop_withheld()  # unsent writes are dropped
                where, said = location_in(traceback), exception_in(traceback)
                error = class_of(said)
                return (rows.add("raise", call=call, location=where, error=error, note=said),)
        return self.one_sided.sent(message)

    def _drop_withheld(self) -> None:
        self._withheld.clear()
        self._withheld_rows.clear()

    def _writes(self, message: Contribution) -> Events:
        outbox = self._outboxes.get(message.layout_id)
        if outbox is None:
            return ()  # the beginning of the trace is missing
        self._collectives.write(message.call_id, message.position, outbox.variable_ids)
        columns = outbox.columns(message.position, message.buckets, self._absent, self._withheld)
        return self._rows.add_all("write", _CONTRIBUTIONS, columns, call=message.call_id)

    def _sparse_write(self, message: Scatter) -> Events:
        write, call = message.write, message.call_id
        number = write.variable_id
        self._collectives.write(call, message.position, [number])
        if self._is_withheld(number):
            withheld = self._withheld_rows.get(number)
            shown = withheld.popleft() if withheld else NO_ROWS
        else:
            shown = kept_rows(message.rows, self._absent)
        columns = number, write.operation._value_, message.position, write.location, *shown
        return self._rows.add_all("write", _SPARSE_CONTRIBUTIONS, [columns], call=call)

    def _is_withheld(self, variable_id: int) -> bool:
        """Return whether this replica's contributions to a variable are not used, and not sent."""
        spec = self._variables.specs.get(variable_id)
        first_only = VariableAggregation.ONLY_FIRST_REPLICA
        return self._replica_id > 0 and spec is not None and spec.aggregation is first_only


def _versions_of(commit: Commit | ScatterCommit) -> tuple[Array, Array]:
    """Return the ids of the variables that a commit changes, and their new versions."""
    if isinstance(commit, ScatterCommit):
        return np.array([commit.variable_id]), np.array([commit.version])
    return commit.variable_ids, commit.versions


def _call_of(commit: Commit | ScatterCommit) -> int | None:
    """Return the call to which the merge of a commit belongs; None if it belongs to none."""
    return commit.call_id if commit.call_id > 0 else None


def installed(
    message: Commit | ScatterCommit | ComponentCommit, causes: Events, rows: HistoryRows
) -> None:
    """Add the `install` events of a replica that has received a commit."""
    if isinstance(message, ScatterCommit | ComponentCommit):
        number, operation = message.variable_id, Operation.ASSIGN
        if isinstance(message, ScatterCommit):
            operation = message.operation
        columns = [(number, operation._value_, message.version, causes[0])]
        rows.add_all("install", _INSTALLS, columns)
        return
    ids, versions = message.variable_ids.tolist(), message.versions.tolist()
    each = zip(ids, versions, causes, strict=True)
    columns = [(i, message.operation._value_, version, cause) for i, version, cause in each]
    rows.add_all("install", _INSTALLS, columns)
