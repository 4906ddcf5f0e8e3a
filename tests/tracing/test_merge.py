"""The merge of traces into a history: the events of each message, and their causal order."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import pytest

import varsim as tf
from tests.processes.conftest import cluster
from tests.tracing.rewriting import rewrite
from varsim.analysis.outcome import Outcome, overall
from varsim.analysis.sampled import statistics_of
from varsim.analysis.verdict import judge
from varsim.errors import TraceError, WorkerLost
from varsim.protocol.buckets import arrange
from varsim.protocol.codec import encode
from varsim.protocol.messages import (
    Abort,
    Commit,
    Component,
    Contribution,
    Create,
    Fetch,
    Layout,
    Message,
    Payload,
    Report,
    Returned,
    Start,
    Waiting,
    Write,
)
from varsim.spec import Operation, VariableAggregation, VariableSpec, VariableSynchronization
from varsim.tracing.history import PROGRAM, Event, open_history
from varsim.tracing.merge import merge
from varsim.tracing.recorded_values import FRAME_LIMIT_BYTES
from varsim.tracing.samples import MOST_ELEMENTS, Statistics
from varsim.tracing.trace import Trace, TraceOptions
from varsim.tracing.trace_format import RecordKind, file_name

ON_WRITE, MEAN = VariableSynchronization.ON_WRITE, VariableAggregation.MEAN
ADD, ASSIGN = Operation.ASSIGN_ADD, Operation.ASSIGN
NOTHING = Payload(None)
IDLE = "ended without closing it, and the program did not need it any more"
END_BYTES = len(msgpack.packb((RecordKind.ENDED, 2**60)))


class TracedCluster:
    """The traces of a program and of two replicas, with methods that record envelopes in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        options = TraceOptions(folder)
        self.program, *self.replicas = [Trace(options, i, 2) for i in (PROGRAM, 0, 1)]
        self.specs: dict[int, VariableSpec] = {}

    def down(self, replica: int, *messages: Message) -> None:
        """Send an envelope from the program to a replica."""
        self.program.sent(replica, encode(messages), messages)
        self.replicas[replica].received(PROGRAM)

    def up(self, replica: int, *messages: Message) -> None:
        """Send an envelope from a replica to the program."""
        self.replicas[replica].sent(PROGRAM, encode(messages), messages)
        self.program.received(replica)

    def all(self, *messages: Message) -> None:
        """Send the same messages to all replicas."""
        frames = encode(messages)
        for replica, trace in enumerate(self.replicas):
            self.program.sent(replica, frames, messages)
            trace.received(PROGRAM)

    def variable(
        self, number: int, aggregation: VariableAggregation = MEAN, size: int | None = None
    ) -> None:
        """Create a float32 variable."""
        shape = () if size is None else (size,)
        spec = VariableSpec(
            number,
            f"v{number}",
            shape,
            np.dtype("f4"),
            ON_WRITE,
            ON_WRITE,
            aggregation,
            True,
            "p:1",
        )
        self.specs[number] = spec
        self.all(Create(spec=spec, value=np.zeros(shape, "f4")))

    def contribution(self, call: int, *written: tuple[int, float | None]) -> list[Message]:
        """Return the messages of a replica that adds values.

        None stands for a value that is not sent.
        """
        writes = tuple(Write(number, ADD, (), f"p:{10 + number}") for number, _ in written)
        buckets = []
        for bucket in arrange(writes, self.specs):
            numbers = [written[position][1] for position in bucket.positions]
            if None in numbers:
                buckets.append(np.empty(0, "f4"))
            else:
                buckets.append(np.array(numbers, "f4").reshape(bucket.shape))
        layout = Layout(layout_id=0, writes=writes)
        return [
            layout,
            Contribution(call_id=call, position=0, layout_id=0, buckets=tuple(buckets)),
        ]

    def step(self, call: int, *of_replicas: tuple[tuple[int, float | None], ...]) -> None:
        """Let all replicas begin a call, write, and return."""
        self.all(Start(call_id=call, function_id="f", arguments=NOTHING, present=2))
        for replica, written in enumerate(of_replicas):
            returned = Returned(call_id=call, result=NOTHING, report=Report())
            self.up(replica, *self.contribution(call, *written), returned)

    def history(self) -> list[Event]:
        """Merge the traces, check the order of the events, and return the events."""
        for trace in (self.program, *self.replicas):
            trace.close()
        merge(self.folder, self.folder)
        with open_history(self.folder) as history:
            self.run = history.run
            events = list(history.events())
        _check_order(events)
        return events


def _check_order(events: list[Event]) -> None:
    """Check that events are numbered from 1, and per process from 0, and follow their causes."""
    assert list(range(1, len(events) + 1)) == [event.event for event in events]
    for process in {event.process for event in events}:
        numbers = [event.number for event in events if event.process == process]
        assert list(range(len(numbers))) == numbers
    assert all(event.cause is None or event.cause < event.event for event in events)


def commit(call: int, version: int, value: float | list[float], *ids: int) -> Commit:
    return Commit(
        call_id=call,
        settled=1,
        variable_ids=np.array(ids, np.int64),
        versions=np.full(len(ids), version, np.int64),
        operation=ASSIGN,
        value=np.array(value, "f4"),
    )


def number_of(event: Event) -> float | None:
    return None if event.value is None else float(np.frombuffer(event.value, "f4")[0])


def of_kind(events: list[Event], kind: str, *columns: str) -> list[Any]:
    found = [event for event in events if event.kind == kind]
    return [tuple(getattr(event, column) for column in columns) for event in found]


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[TracedCluster]:
    made = TracedCluster(tmp_path)
    yield made
    for trace in (made.program, *made.replicas):
        trace.close()


def test_a_merge_consists_of_writes_then_a_commit_then_installs(traced: TracedCluster) -> None:
    traced.variable(1)
    traced.step(1, ((1, 2.0),), ((1, 4.0),))
    traced.all(commit(1, 1, 3.0, 1))
    traced.program.finished(1, None)
    events = traced.history()
    (made,) = [event for event in events if event.kind == "commit"]
    written = [event for event in events if event.kind == "write"]

    assert [(0, 1, 0, "p:11", "assign_add"), (1, 1, 0, "p:11", "assign_add")] == of_kind(
        events, "write", "process", "call", "position", "location", "operation"
    )
    assert [2.0, 4.0] == [number_of(event) for event in written]
    assert (1, 1, 0, None, 3.0) == (
        made.call,
        made.version,
        made.position,
        made.replica,
        number_of(made),
    )
    assert [(0, 1, made.event), (1, 1, made.event)] == of_kind(
        events, "install", "process", "version", "cause"
    )
    assert traced.run["complete"]


def test_each_write_of_a_call_has_its_own_position(traced: TracedCluster) -> None:
    """This holds for two writes of one variable, and for variables in the same commit."""
    traced.variable(1)
    traced.variable(2)
    traced.step(1, ((1, 1.0), (2, 2.0), (1, 3.0)), ((1, 1.0), (2, 2.0), (1, 3.0)))
    traced.all(commit(1, 1, [1.0, 2.0], 1, 2))
    traced.all(commit(1, 2, 4.0, 1))
    events = traced.history()

    assert [(1, 0), (2, 1), (1, 2)] * 2 == of_kind(events, "write", "variable", "position")
    assert [(1, 1, 0), (2, 1, 1), (1, 2, 2)] == of_kind(
        events, "commit", "variable", "version", "position"
    )
    values = [number_of(event) for event in events if event.kind == "commit"]
    assert [1.0, 2.0, 4.0] == values


def test_a_write_whose_value_is_not_sent_has_no_value(traced: TracedCluster) -> None:
    traced.variable(1, VariableAggregation.ONLY_FIRST_REPLICA)
    traced.step(1, ((1, 5.0),), ((1, None),))
    written = [event for event in traced.history() if event.kind == "write"]

    assert [5.0, None] == [number_of(event) for event in written]


def test_a_commit_to_one_component_names_its_replica(traced: TracedCluster) -> None:
    traced.variable(1)
    traced.program.wrote(1, 1, ASSIGN, "p:5", np.array(7, "f4"))
    traced.down(1, commit(0, 1, 7.0, 1))
    traced.program.wrote(1, None, ASSIGN, "p:6", np.array(8, "f4"))
    for replica_id in (0, 1):  # their components have had 0 and 1 commits
        traced.down(replica_id, commit(0, 1 + replica_id, 8.0, 1))
    events = traced.history()

    assert [(PROGRAM, 1, "p:5"), (PROGRAM, None, "p:6")] == of_kind(
        events, "write", "process", "replica", "location"
    )
    assert [(None, 1, 1), (None, 1, 0), (None, 2, 1)] == of_kind(
        events, "commit", "call", "version", "replica"
    )


def test_late_commits_are_before_the_end_of_their_call(traced: TracedCluster) -> None:
    traced.variable(1)
    traced.step(1, ((1, 2.0),), ((1, 4.0),))
    late = commit(1, 1, 3.0, 1)
    traced.program.decided([0], [late])
    traced.program.finished(1, None)
    traced.program.read(1, None, 1, "p:9", np.array(3, "f4"))
    traced.all(late)
    kinds = [event.kind for event in traced.history() if event.process == PROGRAM]

    assert ["commit", "finish", "read"] == kinds[-3:]


def test_a_fetch_comes_before_its_component(traced: TracedCluster) -> None:
    traced.variable(1)
    traced.down(0, Fetch(request_id=1, variable_id=1))
    found = Component(request_id=1, variable_id=1, version=0, value=np.array(0, "f4"))
    traced.up(0, found)
    events = traced.history()
    (asked,) = [event.event for event in events if event.kind == "fetch"]
    ((sent, cause),) = of_kind(events, "component", "event", "cause")

    assert asked == cause
    assert [(0, sent)] == of_kind(events, "receive", "replica", "cause")


def test_reads_waits_and_aborts_have_the_number_of_their_call(traced: TracedCluster) -> None:
    traced.variable(1)
    traced.all(Start(call_id=4, function_id="f", arguments=NOTHING, present=2))
    traced.replicas[0].read(1, 0, 0, "p:2", np.array(0, "f4"))
    traced.up(0, Waiting(call_id=4, variable_id=1, position=0, location="p:3"))
    traced.all(Abort(call_id=4, reason="a reason"))
    traced.program.lost(1, "was killed")
    events = traced.history()

    assert [(0, 4, "p:2")] == of_kind(events, "read", "process", "call", "location")
    assert [(0, 4, "p:3")] == of_kind(events, "wait", "process", "call", "location")
    assert [(4, "a reason")] == of_kind(events, "abort", "call", "note")
    assert [(1, "was killed")] == of_kind(events, "lost", "replica", "note")


def test_a_commit_beside_large_arguments_has_its_variables_and_values(
    traced: TracedCluster,
) -> None:
    """Small arrays are packed into one frame, and the frame is larger than recorded values."""
    traced.variable(1)
    traced.variable(2)
    for number in (1, 2):
        traced.step(number, ((1, 2.0), (2, 4.0)), ((1, 2.0), (2, 4.0)))
        part = np.zeros(FRAME_LIMIT_BYTES // 8, np.uint8)
        large = Payload([None], tuple(part for _ in range(9)))
        start = Start(call_id=number + 1, function_id="f", arguments=large, present=2)
        values = np.array([2.0 * number, 4.0 * number], "f4")
        numbers, versions = np.array([1, 2]), np.array([number, number])
        traced.all(
            Commit(
                call_id=number,
                settled=2,
                variable_ids=numbers,
                versions=versions,
                operation=Operation.ASSIGN,
                value=values,
            ),
            start,
        )
    events = traced.history()

    assert [2.0, 4.0, 4.0, 8.0] == [
        float(np.frombuffer(one.value or b"", "f4")[0]) for one in events if one.kind == "commit"
    ]
    assert [1, 2, 2, 3] == [one.call for one in events if one.kind == "call"]


def test_many_commits_in_one_envelope_are_recorded(traced: TracedCluster) -> None:
    size = FRAME_LIMIT_BYTES // 8
    for number in (1, 2, 3):
        traced.variable(number, size=size)
    traced.all(
        *(
            Commit(
                call_id=0,
                settled=0,
                variable_ids=np.array([number]),
                versions=np.array([1]),
                operation=Operation.ASSIGN,
                value=np.full(size, number, "f4"),
            )
            for number in (1, 2, 3)
        )
    )

    assert [1, 2, 3] == [one.variable for one in traced.history() if one.kind == "commit"]


def test_a_large_value_is_recorded_as_a_sample(traced: TracedCluster) -> None:
    traced.variable(1, size=FRAME_LIMIT_BYTES)
    (made,) = [event for event in traced.history() if event.kind == "create"]
    zeros = np.zeros(FRAME_LIMIT_BYTES, "f4")

    assert ("float32", f"[{FRAME_LIMIT_BYTES}]", zlib.crc32(zeros), None) == (
        made.dtype,
        made.shape,
        made.digest,
        made.value,
    )
    assert zeros[:MOST_ELEMENTS].tobytes() == made.elements
    assert Statistics(0, 0, 0.0, 0.0, 0.0) == statistics_of(made)


@pytest.mark.parametrize("shift_s", [-3600, -0.001, 5])
def test_a_cause_precedes_its_effect_whatever_the_clocks_show(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shift_s: float
) -> None:
    traced, now = TracedCluster(tmp_path), time.monotonic_ns
    for number, trace in enumerate(traced.replicas):
        shift_ns = max(int(shift_s * 1e9) * number, -now() // 2)  # no clock shows less than 0
        note = trace._note

        def shifted(*what: Any, note: Any = note, shift_ns: int = shift_ns) -> None:
            monkeypatch.setattr(time, "monotonic_ns", lambda: now() + shift_ns)
            note(*what)
            monkeypatch.setattr(time, "monotonic_ns", now)

        monkeypatch.setattr(trace, "_note", shifted)
    traced.variable(1)
    for call in range(1, 4):
        traced.step(call, ((1, 2.0),), ((1, 4.0),))
        traced.all(commit(call, call, 3.0, 1))
    events = traced.history()  # this checks the order

    assert 6 == len(of_kind(events, "install"))
    assert traced.run["complete"]


@pytest.mark.parametrize("what", ["gone", "open", "torn"])
def test_a_trace_without_an_end_makes_the_history_incomplete(
    traced: TracedCluster, what: str
) -> None:
    traced.variable(1)
    traced.step(1, ((1, 2.0),), ((1, 4.0),))
    traced.replicas[1].close()
    path = traced.folder / file_name(1)
    if what == "gone":
        path.unlink()
    else:
        rewrite(path, lambda content: content[: -12 if what == "open" else -40])
    events = traced.history()

    assert not traced.run["complete"]
    assert [0] == [event.process for event in events if event.kind == "write"][:1]


def test_an_unclosed_trace_has_the_reason_for_its_workers_end(
    traced: TracedCluster,
) -> None:
    """The program records the loss after the last record of the worker."""
    traced.variable(1)
    why = "was ended by varsim, because it made no progress for 1.5 s"
    traced.program.lost(1, why)
    for replica, trace in enumerate(traced.replicas):
        trace.close()
        rewrite(traced.folder / file_name(replica), lambda content: content[:-END_BYTES])
    traced.history()

    said = "the record of replica"
    assert [
        f"{said} 0 was not closed: its worker {IDLE}",
        f"{said} 1 was not closed: its worker {why}",
    ] == sorted(traced.run["missing"])


@pytest.mark.parametrize("program", ["ended", "killed"])
def test_an_unclosed_trace_says_that_its_replica_had_not_returned(
    traced: TracedCluster, program: str
) -> None:
    """This is only known if the program has closed its own record."""
    traced.step(1, (), ())
    traced.all(Start(call_id=2, function_id="f", arguments=NOTHING, present=2))
    traced.up(0, Returned(call_id=2, result=NOTHING, report=Report()))
    for process, trace in ((PROGRAM, traced.program), *enumerate(traced.replicas)):
        trace.close()
        if process != PROGRAM or program == "killed":
            rewrite(traced.folder / file_name(process), lambda content: content[:-END_BYTES])
    traced.history()

    idle = f": its worker {IDLE}"
    running = ": it had not returned from call 2 when the program ended its workers"
    kill = ", as after a kill"
    said = [one for one in sorted(traced.run["missing"]) if "replica" in one]
    assert [
        f"the record of replica 0 was not closed{idle if program == 'ended' else kill}",
        f"the record of replica 1 was not closed{running if program == 'ended' else kill}",
    ] == said
    assert (program == "ended") == ("cut_short" in traced.run)


@pytest.mark.parametrize(
    "damaged",
    [[2, "yesterday", -1, []], [3, 10**15, [-1]], [3, 10**15], [5], 7],
    ids=["no time", "no peer", "no peer at all", "only a kind", "no record"],
)
def test_a_record_without_a_causal_position_ends_its_trace(
    traced: TracedCluster, damaged: object
) -> None:
    traced.variable(1)
    traced.program.close()
    for trace in traced.replicas:
        trace.close()
    path = traced.folder / file_name(0)
    more = msgpack.packb(damaged)
    rewrite(path, lambda content: content[:-END_BYTES] + more + content[-END_BYTES:])

    assert ["create"] == [event.kind for event in traced.history()]
    assert not traced.run["complete"]


def test_without_the_trace_of_the_program_no_history_is_written(tmp_path: Path) -> None:
    (tmp_path / file_name(PROGRAM)).write_bytes(b"nothing")
    with pytest.raises(TraceError, match="its beginning is damaged, or another version"):
        merge(tmp_path, tmp_path)
    assert not (tmp_path / "history.db").exists()


# ---------------------------------------------------------------- real workers


@pytest.mark.processes
def test_the_history_of_worker_processes_is_valid(tmp_path: Path) -> None:
    with cluster(2, trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            w = tf.Variable([1.0, 2.0], name="w", aggregation=tf.VariableAggregation.MEAN)
            seen = tf.Variable(
                0,
                name="seen",
                synchronization=tf.VariableSynchronization.ON_READ,
                aggregation=tf.VariableAggregation.SUM,
            )

        def step() -> None:
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            w.assign_add(np.array([replica, 1.0], np.float32))
            seen.assign_add(replica + 1)
            w.assign_sub(w.read_value() / 2)

        for _ in range(3):
            strategy.run(step)
        assert 9 == seen.numpy()
        w.assign([0.0, 0.0])
        w.values[1].assign([5.0, 5.0])
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        events = list(history.events())
        verdicts = judge(history)
        assert history.run["complete"]

    _check_order(events)
    assert Outcome.VALID is overall(verdicts), [v for v in verdicts if v.outcome.value != "VALID"]
    digests = {
        (event.variable, event.version): event.digest
        for event in events
        if event.kind == "commit" and event.replica is None
    }
    reads = [event for event in events if event.kind == "read" and event.variable == 1]
    assert all(digests[event.variable, event.version] == event.digest for event in reads)


@pytest.mark.processes
def test_the_history_has_the_events_of_a_killed_worker(tmp_path: Path) -> None:
    with cluster(2, trace=TraceOptions(tmp_path)) as strategy:
        with strategy.scope():
            v = tf.Variable(3.0, aggregation=tf.VariableAggregation.SUM)

        def step() -> None:
            import os
            import signal

            v.assign_add(v.read_value())
            if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
                v.read_value()
                os.kill(os.getpid(), signal.SIGKILL)

        with pytest.raises(WorkerLost):
            strategy.run(step)
    merge(tmp_path, tmp_path)
    with open_history(tmp_path) as history:
        events = list(history.events())
        verdicts = judge(history)

        assert not history.run["complete"]
    assert [(1, "was killed by SIGKILL")] == of_kind(events, "lost", "replica", "note")
    assert {"begin", "write", "wait"} <= {event.kind for event in events if event.process == 1}
    assert Outcome.INVALID is not overall(verdicts)


def test_begin_events_have_the_numbers_of_rows(tmp_path):
    traced = TracedCluster(tmp_path)
    traced.program.shares(1, (3, 0))
    traced.step(1, (), ())
    traced.step(2, (), ())

    begins = [(e.call, e.process, e.note) for e in traced.history() if e.kind == "begin"]
    assert [(1, 0, "3 of 3 rows"), (1, 1, "0 of 3 rows"), (2, 0, None), (2, 1, None)] == begins
