"""A wrong message raises only a ProtocolError. `make fuzz` tries a million wrong messages."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from tests.effort import many
from tests.fuzzing import frame_cases, judged, state_cases
from tests.sync.build import (
    ADD,
    ASSIGN,
    NOTHING,
    V,
    W,
    array,
    arrive,
    combine,
    commit,
    coordinator,
    returned,
    spec,
    start,
)
from tests.sync.build import replica as running
from varsim.errors import ProtocolError
from varsim.protocol.messages import (
    Combination,
    Combine,
    CombineKind,
    Contribution,
    Delta,
    DeltaPart,
    HostResult,
    Layout,
    Left,
    Merged,
    PullDeltas,
    Reduced,
    SyncRequest,
    Waiting,
    Write,
    WriteCounts,
)
from varsim.spec import Operation, ReduceOp
from varsim.sync.coordinator_state import CoordinatorState
from varsim.sync.replica_state import ReplicaState


@pytest.mark.parametrize("kind", [CoordinatorState, ReplicaState])
def test_wrong_messages_raise_no_other_error(kind):
    outcome = judged(state_cases(kind, Random(1), range(1)), many(1_000))
    assert not outcome.crashes, str(outcome)
    assert outcome.refused > outcome.accepted / 20


def test_damaged_frames_raise_no_other_error():
    outcome = judged(frame_cases(Random(2)), many(2_000))
    assert not outcome.crashes, str(outcome)
    assert outcome.refused > outcome.accepted


def int64(*values):
    return np.array(values, np.int64)


LAYOUT = Layout(layout_id=0, writes=(Write(W, ADD, (), "a.py:1"),))


def contribution(*buckets, position=0):
    return Contribution(call_id=1, position=position, layout_id=0, buckets=buckets)


def write_counts(*ids, counts=(1,)):
    one = int64(*counts)
    return WriteCounts(
        call_id=1,
        variable_ids=int64(*ids),
        counts=one,
        operations=one,
        sparse=one,
        row_bytes=one,
    )


def delta(variable_id=W, count=1, parts=()):
    return Delta(variable_id, 0, count, 1, 0, 0, parts)


TO_COORDINATOR = {
    "another position": ([LAYOUT, contribution(array(1.0), position=1)], "at collective 1 instead"),
    "another dtype": ([LAYOUT, contribution(array(1.0, "int8"))], "an array of int8"),
    "another shape": ([LAYOUT, contribution(array([1.0]))], r"float32\[1\] instead of"),
    "too few arrays": ([LAYOUT, contribution()], "0 arrays instead of 1"),
    "an id out of range": ([Layout(layout_id=64, writes=LAYOUT.writes)], "id 64 of a layout"),
    "a layout without writes": (
        [Layout(layout_id=0, writes=()), contribution()],
        "a layout has no writes",
    ),
    "a local write": (
        [Layout(layout_id=0, writes=(Write(V, ADD, (), ""),)), contribution(array(1.0))],
        "'v' is not merged",
    ),
    "a read in a layout": (
        [Layout(layout_id=0, writes=(Write(W, Operation.READ, (), ""),)), contribution(array(1.0))],
        "read of shape",
    ),
    "an unknown variable": (
        [Waiting(call_id=1, variable_id=9, position=0, location="")],
        "a wait names variable 9",
    ),
    "two ends": ([returned(), returned()], "although it has ended"),
    "a message of a waiting replica": (
        [LAYOUT, Waiting(call_id=1, variable_id=W, position=0, location=""), returned()],
        "although it waits",
    ),
    "leaves without a structure": (
        [
            Combine(
                call_id=1,
                position=0,
                how=Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM),
                structure=(),
                leaves=(array(1.0),),
                weight=None,
                label=None,
                location="",
            )
        ],
        "1 leaves, and its structure has 0",
    ),
    **{
        f"a group of {group}": (
            [combine(Combination(CombineKind.ALL_REDUCE, ReduceOp.SUM, group=group), 1.0)],
            "replica 0 cannot be in a collective of the group",
        )
        for group in ((1,), (0, 1), (0, 0), (-1, 0), (0, 7))
    },
    "columns of other lengths": ([write_counts(W, V)], "not lists of int64 of one length"),
    "a variable twice": ([write_counts(W, W, counts=(1, 1))], "contain a variable twice"),
    "no deferred variable": (
        [SyncRequest(call_id=1, delta=delta(parts=(DeltaPart(ASSIGN, ()),)), location="")],
        "variable 1 has no deferred writes",
    ),
}


@pytest.mark.parametrize("name", TO_COORDINATOR)
def test_the_coordinator_refuses(name):
    messages, problem = TO_COORDINATOR[name]
    state = coordinator(spec(), spec(variable_id=V, synchronization=spec().synchronization.ON_READ))
    *before, last = messages
    for message in before:
        arrive(state, 0, message)
    with pytest.raises(ProtocolError, match=problem):
        arrive(state, 0, last)
    state.validate()
    assert [] == arrive(state, 0, Left(call_id=1))


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (start(2), "call 2 starts while call 1 runs"),
        (Reduced(call_id=1, position=0, leaves=()), "a Reduced arrives"),
        (Reduced(call_id=1, position=0, leaves=(), group=(0,)), "a Reduced arrives"),
        (Merged(call_id=1, position=0, result=NOTHING), "a Merged arrives"),
        (HostResult(call_id=1, result=NOTHING), "a HostResult arrives"),
        (PullDeltas(request_id=1, variable_id=W, count=1), "no delta of variable 1 up to 1"),
        (commit(1, [1.0, 2.0], settled=0), r"shape \(2,\) instead of \(\)"),
        (commit(1, 1.0, settled=5), "settles 5 collectives"),
        (commit(1, 1.0, Operation.READ, settled=0), "is malformed"),
        (commit(1, 1.0, variable_id=9, settled=0), "holds no variable 9"),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_a_replica_refuses(message, problem):
    state = running(spec())
    with pytest.raises(ProtocolError, match=problem):
        state.handle(message)
    state.validate()
    assert [0.0] == [state.read(W).tolist()]
