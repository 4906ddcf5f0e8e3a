"""One replica's components, and commits of several variables together."""

from __future__ import annotations

import pytest

from tests.sync.build import (
    ADD,
    ASSIGN,
    U,
    V,
    W,
    array,
    commit,
    commit_of_all,
    replica,
    spec,
)
from varsim.errors import ProtocolError
from varsim.protocol.messages import BY_PROGRAM, Fetch, Forget


@pytest.fixture
def state():
    return replica(spec(), spec(variable_id=V, shape=(2,)), spec(variable_id=U))


def values(state):
    return [state.read(i).tolist() for i in (W, V, U)]


def versions(state):
    found = []
    for i in (W, V, U):
        held = state.components.variables[i]
        held.component()
        found.append(held.version)
    return found


def test_a_commit_of_several_variables_changes_each(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.validate()

    assert [1.0, [2.0, 3.0], 4.0] == values(state)
    assert [1, 1, 1] == versions(state)


def test_a_second_delivery_of_a_commit_of_several_variables_changes_nothing(state):
    for _ in range(2):
        state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
        state.validate()

    assert [1.0, [2.0, 3.0], 4.0] == values(state)
    assert [1, 1, 1] == versions(state)


def test_an_older_commit_of_several_variables_changes_nothing(state):
    first = commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4])
    state.handle(first)
    state.handle(commit_of_all({W: 2, V: 2, U: 2}, [5, 6, 7, 8]))
    state.handle(first)
    state.validate()

    assert [5.0, [6.0, 7.0], 8.0] == values(state)
    assert [2, 2, 2] == versions(state)


def test_after_a_second_delivery_the_next_commit_is_applied(state):
    for number in (1, 1, 2, 2, 3):
        state.handle(commit_of_all({W: number, V: number, U: number}, [number] * 4))

    assert [3.0, [3.0, 3.0], 3.0] == values(state)


def test_a_version_that_a_variable_already_has_is_ignored(state):
    state.handle(commit(1, 100.0, call=BY_PROGRAM))
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.validate()

    assert [100.0, [2.0, 3.0], 4.0] == values(state)


def test_a_skipped_version_of_all_variables_is_a_protocol_error(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))

    with pytest.raises(ProtocolError, match="'w': commit 3 came after 1"):
        state.handle(commit_of_all({W: 3, V: 3, U: 3}, [5, 6, 7, 8]))
    assert [1.0, [2.0, 3.0], 4.0] == values(state)


def test_a_skipped_version_of_one_variable_is_a_protocol_error(state):
    with pytest.raises(ProtocolError, match="'u': commit 2 came after 0"):
        state.handle(commit_of_all({W: 1, V: 1, U: 2}, [1, 2, 3, 4]))


def test_a_commit_of_an_unknown_variable_is_a_protocol_error(state):
    with pytest.raises(ProtocolError, match="holds no variable 9"):
        state.handle(commit_of_all({W: 1, 9: 1}, [1, 2]))


def test_versions_in_one_commit_may_differ(state):
    state.handle(commit(1, 9.0, call=BY_PROGRAM))
    state.handle(commit_of_all({W: 2, V: 1, U: 1}, [1, 2, 3, 4]))
    state.handle(commit_of_all({W: 3, V: 2, U: 2}, [5, 6, 7, 8]))

    assert [3, 2, 2] == versions(state)
    assert [5.0, [6.0, 7.0], 8.0] == values(state)


# ---------------------------------------------------------------- values never change


def test_later_commits_do_not_change_a_read_value(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    before = [state.read(i) for i in (W, V, U)]
    for number in (2, 3):
        state.handle(commit_of_all({W: number, V: number, U: number}, [number] * 4))

    assert [1.0, [2.0, 3.0], 4.0] == [value.tolist() for value in before]
    assert not any(value.flags.writeable for value in before)


def test_a_value_read_before_the_block_does_not_change(state):
    state.handle(commit(1, 9.0, call=BY_PROGRAM))
    before = [state.read(i) for i in (W, V, U)]
    state.handle(commit_of_all({W: 2, V: 1, U: 1}, [1, 2, 3, 4]))

    assert [9.0, [0.0, 0.0], 0.0] == [value.tolist() for value in before]


def test_two_reads_of_one_version_return_the_same_array(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))

    assert state.read(V) is state.read(V)


def test_a_fetched_member_of_a_block_has_its_value_and_version(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    (sent,) = state.handle(Fetch(request_id=7, variable_id=V))
    state.handle(commit_of_all({W: 2, V: 2, U: 2}, [5, 6, 7, 8]))

    assert (1, [2.0, 3.0]) == (sent.message.version, sent.message.value.tolist())


# ---------------------------------------------------------------- a member alone


def test_a_commit_to_one_member_keeps_the_others_values(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.handle(commit(2, 10.0, ADD, call=BY_PROGRAM))
    state.validate()

    assert [11.0, [2.0, 3.0], 4.0] == values(state)
    assert [2, 1, 1] == versions(state)


def test_forgetting_a_member_keeps_the_others_values(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.handle(Forget(variable_ids=(V,)))
    state.validate()

    assert [1.0, 4.0] == [state.read(W).tolist(), state.read(U).tolist()]
    state.handle(commit_of_all({W: 2, U: 2}, [5, 6]))
    assert [5.0, 6.0] == [state.read(W).tolist(), state.read(U).tolist()]


@pytest.mark.parametrize("operation", [ASSIGN, ADD])
def test_a_local_write_to_a_member_changes_only_this_member(state, operation):
    """This holds even if the local write came before the block was formed."""
    state.write_component(W, ASSIGN, array(9.0))
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.write_component(W, operation, array(10.0))
    state.validate()

    assert [10.0 if operation is ASSIGN else 11.0, [2.0, 3.0], 4.0] == values(state)


def test_a_second_local_write_does_not_change_a_read_value(state):
    state.handle(commit_of_all({W: 1, V: 1, U: 1}, [1, 2, 3, 4]))
    state.write_component(W, ADD, array(10.0))
    before = state.read(W)
    state.write_component(W, ADD, array(10.0))

    assert (11.0, 21.0) == (float(before), float(state.read(W)))


def test_a_component_is_a_copy_of_the_written_array(state):
    value = array([1.0, 2.0])
    state.write_component(V, ASSIGN, value)
    value.fill(9.0)

    assert [1.0, 2.0] == state.read(V).tolist()


def test_a_component_is_a_copy_of_the_written_view(state):
    """A view may be read-only although its base is writeable."""
    kept = array([1.0, 2.0])
    view = kept[:]
    view.setflags(write=False)
    state.write_component(V, ASSIGN, view)
    kept.fill(9.0)

    assert [1.0, 2.0] == state.read(V).tolist()
