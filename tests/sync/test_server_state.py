"""What a parameter server answers, and what it counts."""

from typing import Any

import numpy as np

from tests.sync.build import spec
from varsim.errors import DroppedVariable, ShapeError
from varsim.protocol.messages import Create, Forget
from varsim.protocol.parameter_servers import (
    AskForCosts,
    ServedCosts,
    ServedRead,
    ServedScatter,
    ServedValue,
    ServedVersion,
    ServedWrite,
)
from varsim.spec import Array, Operation, Rows
from varsim.sync.read_versions import ReadVersions
from varsim.sync.server_state import (
    NOT_READ,
    Refused,
    RequestArrives,
    Served,
    ServedCounts,
    ServerState,
)

VARIABLE = 7


def creation(array: Array) -> Create:
    return Create(spec=spec(variable_id=VARIABLE, shape=array.shape), value=array)


def server(*value: float) -> ServerState:
    state = ServerState()
    array = np.array(value, np.float32)
    state.handle(RequestArrives(-1, creation(array)))
    return state


def write(
    state: ServerState, operation: Operation, *value: float, read: int = NOT_READ, worker: int = 0
) -> Any:
    request = ServedWrite(
        request_id=1,
        closure_id=5,
        variable_id=VARIABLE,
        operation=operation,
        value=np.array(value, np.float32),
        read_version=read,
        location="program.py:3",
    )
    return state.handle(RequestArrives(worker, request))[-1]


def read(state: ServerState) -> ServedValue:
    request = ServedRead(request_id=2, closure_id=5, variable_id=VARIABLE, location="program.py:2")
    answer = state.handle(RequestArrives(0, request))[-1]
    assert isinstance(answer, ServedValue)
    return answer


def test_each_write_makes_the_next_version() -> None:
    state = server(1.0)

    answer = write(state, Operation.ASSIGN_ADD, 2.0)

    assert isinstance(answer, ServedVersion)
    assert 1 == answer.version
    assert (1, [3.0]) == (read(state).version, read(state).value.tolist())


def test_a_value_that_was_read_never_changes() -> None:
    state = server(1.0, 2.0)
    before = read(state).value
    rows = Rows(np.array([1]), np.array([5.0], np.float32))
    state.handle(RequestArrives(0, scatter(rows)))

    assert [1.0, 2.0] == before.tolist()
    assert [1.0, 7.0] == read(state).value.tolist()


def scatter(rows: Rows) -> ServedScatter:
    return ServedScatter(
        request_id=1,
        closure_id=5,
        variable_id=VARIABLE,
        operation=Operation.SCATTER_ADD,
        rows=rows,
        read_version=NOT_READ,
        location="program.py:3",
    )


def test_a_refused_write_changes_nothing() -> None:
    state = server(1.0)

    refused = write(state, Operation.ASSIGN, 1.0, 2.0)

    assert isinstance(refused, Refused)
    assert isinstance(refused.error, ShapeError)
    assert (0, [1.0]) == (read(state).version, read(state).value.tolist())


def test_a_write_knows_how_many_writes_arrived_since_its_read() -> None:
    state = server(0.0)
    write(state, Operation.ASSIGN, 1.0, read=0)
    write(state, Operation.ASSIGN, 1.0, read=0)
    write(state, Operation.ASSIGN, 1.0, read=0)

    counts = ServedCounts(
        writes=3, written_bytes=12, based_writes=3, stale_writes=2, most_behind=2, behind=3
    )
    assert {VARIABLE: counts} == state.counts


def test_the_costs_of_a_variable_are_not_recorded_and_outlive_it() -> None:
    state = server(1.0)
    write(state, Operation.ASSIGN_ADD, 1.0)
    ask = RequestArrives(-1, AskForCosts(request_id=3, variable_id=VARIABLE))

    (costs,) = state.handle(ask)
    assert isinstance(costs, ServedCosts)
    assert (3, 0, 1, 0) == (costs.request_id, costs.reads, costs.writes, costs.read_bytes)
    assert [[2.0]] == [value.tolist() for value in costs.values]
    state.handle(RequestArrives(-1, Forget(variable_ids=(VARIABLE,))))

    (costs,) = state.handle(ask)
    assert isinstance(costs, ServedCosts)
    assert (1, ()) == (costs.writes, costs.values)


def test_a_request_after_the_program_dropped_the_variable_is_refused() -> None:
    state = server(0.0)
    state.handle(RequestArrives(-1, Forget(variable_ids=(VARIABLE,))))

    refused = write(state, Operation.ASSIGN, 1.0)

    assert isinstance(refused, Refused)
    assert isinstance(refused.error, DroppedVariable)


def test_the_record_has_the_operations_in_the_order_of_arrival() -> None:
    state = ServerState()
    array = np.zeros(1, np.float32)
    actions = state.handle(RequestArrives(-1, creation(array)))
    request = ServedRead(request_id=2, closure_id=5, variable_id=VARIABLE, location="a.py:1")
    actions += state.handle(RequestArrives(1, request))

    shown = [
        (one.process, one.closure_id, one.operation, one.version, one.location)
        for one in actions
        if isinstance(one, Served)
    ]
    assert [(-1, 0, Operation.CREATE, 0, "model.py:1"), (1, 5, None, 0, "a.py:1")] == shown


def test_a_closure_writes_on_the_version_that_it_has_read() -> None:
    versions = ReadVersions()
    versions.begin(5)
    assert NOT_READ == versions.of(VARIABLE)
    versions.read(VARIABLE, 3)
    assert 3 == versions.of(VARIABLE)


def test_a_closure_knows_the_value_that_it_has_assigned() -> None:
    versions = ReadVersions()
    versions.begin(5)
    versions.read(VARIABLE, 3)
    versions.wrote(VARIABLE, Operation.ASSIGN, 6)

    assert 6 == versions.of(VARIABLE)


def test_after_an_addition_a_closure_knows_the_value_only_without_writes_in_between() -> None:
    versions = ReadVersions()
    versions.begin(5)
    versions.read(VARIABLE, 3)
    versions.wrote(VARIABLE, Operation.ASSIGN_ADD, 4)
    assert 4 == versions.of(VARIABLE)
    versions.wrote(VARIABLE, Operation.ASSIGN_ADD, 9)
    assert 4 == versions.of(VARIABLE)


def test_another_closure_has_read_nothing() -> None:
    versions = ReadVersions()
    versions.begin(5)
    versions.read(VARIABLE, 3)
    versions.begin(6)

    assert NOT_READ == versions.of(VARIABLE)


def test_only_the_last_operation_of_the_program_counts() -> None:
    versions = ReadVersions()
    versions.read(VARIABLE, 3)
    versions.read(VARIABLE + 1, 0)

    assert NOT_READ == versions.of(VARIABLE)
    assert 0 == versions.of(VARIABLE + 1)
