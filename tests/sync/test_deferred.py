"""The deferred writes of a replica: how they are counted, folded, sent and dropped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sync.build import ADD, ASSIGN, SUB, V, W, array
from varsim.errors import ProtocolError
from varsim.protocol.messages import Delta
from varsim.spec import SCATTERS, Operation, Rows
from varsim.sync import deferred
from varsim.sync.deferred import NO_WRITES, DeferredWrites, Log
from varsim.sync.operand import applied


def kept(value, dtype="float32"):
    own = array(value, dtype)
    own.setflags(write=False)
    return own


def writes(*calls: int) -> DeferredWrites:
    """Return the deferred writes of a replica that runs these calls, the innermost last."""
    made = DeferredWrites(np.empty)
    for call in calls:
        made.begin(call)
    return made


def log(*entries: tuple[Operation, float | None]) -> Log:
    made = Log()
    for operation, value in entries:
        made.write(operation, None if value is None else kept(value))
    return made


def shown(delta: Delta) -> tuple[int, int, Operation, list[float]]:
    (part,) = delta.parts
    return delta.since, delta.count, part.operation, [float(value) for value in part.operand]


def shown_delta(writes: Log, count: int) -> tuple[int, int, Operation, list[float]]:
    return shown(writes.delta(W, count, np.empty))


def sent_value(delta: Delta) -> np.ndarray:
    (part,) = delta.parts
    (value,) = part.operand
    return value


# ---------------------------------------------------------------- one variable


def test_adds_are_summed():
    assert (0, 3, ADD, [2.5]) == shown_delta(log((ADD, 1.0), (ADD, 2.0), (SUB, 0.5)), 3)


def test_a_delta_ends_at_a_given_write():
    both = log((ADD, 1.0), (ADD, 2.0))

    assert (0, 1, ADD, [1.0]) == shown_delta(both, 1)
    assert (0, 2, ADD, [3.0]) == shown_delta(both, 2)


def test_a_delta_that_contains_an_assign_has_no_earlier_writes():
    mixed = log((ADD, 1.0), (ASSIGN, 5.0), (ADD, 2.0), (SUB, 0.5))

    assert (0, 1, ADD, [1.0]) == shown_delta(mixed, 1)
    assert (0, 4, ASSIGN, [6.5]) == shown_delta(mixed, 4)


@pytest.mark.parametrize(("value", "expected"), [(0.0, -0.0), (-0.0, 0.0), (3e38, -3e38)])
def test_a_subtraction_is_an_exact_add_of_the_negative(value: float, expected: float):
    sent = sent_value(log((SUB, value)).delta(W, 1, np.empty))

    assert array(expected).tobytes() == sent.tobytes()


def test_unsigned_integers_wrap():
    own = Log()
    own.write(SUB, kept(1, "uint8"))
    own.write(ADD, kept(3, "uint8"))

    sent = sent_value(own.delta(W, 2, np.empty))
    assert (np.dtype("uint8"), 2) == (sent.dtype, int(sent))


def test_an_overflowing_sum_causes_no_warning():
    sent = sent_value(log((ADD, 3e38), (ADD, 3e38)).delta(W, 2, np.empty))

    assert np.isinf(sent)


def test_a_replica_whose_values_are_not_used_sends_no_values():
    assert (0, 2, ADD, []) == shown_delta(log((ADD, None), (SUB, None)), 2)
    assert (0, 1, ASSIGN, []) == shown_delta(log((ASSIGN, None)), 1)


def test_a_large_sum_is_computed_in_shared_memory():
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    own = Log()
    for _ in range(2):
        own.write(ADD, np.ones(20_000, "float32"))
    sent = sent_value(own.delta(W, 2, allocate))

    assert sent is made[0]
    assert not sent.flags.writeable
    assert np.array_equal(np.full(20_000, 2.0), sent)


def test_exchanged_writes_are_dropped():
    both = log((ADD, 1.0), (ADD, 2.0))
    before = both.write_count
    both.settle(1)

    assert (1, 2, ADD, [2.0]) == shown_delta(both, 2)
    assert before == both.write_count
    both.settle(2)
    both.settle(2)  # a second delivery
    assert [] == both.entries
    assert (before, 0) == (both.write_count, both.size_bytes)


def test_folding_keeps_the_count_and_the_sum():
    own = log((ADD, 1.0), (ADD, 2.0), (ADD, 4.0))
    before = own.write_count
    own.fold(count=1)

    assert [1, 3] == [entry.count for entry in own.entries]
    assert before == own.write_count
    assert (0, 3, ADD, [7.0]) == shown_delta(own, 3)


def test_write_counts_distinguish_equally_many_writes_by_their_operations():
    one, other, same = (log((a, 1.0), (b, 1.0)) for a, b in [(ADD, SUB), (SUB, ADD), (ADD, SUB)])

    assert one.write_count.count == other.write_count.count
    assert one.write_count != other.write_count
    assert one.write_count == same.write_count


def test_folding_and_exchanging_do_not_change_the_operations():
    own, other = (log((ASSIGN, 1.0), (ADD, 1.0), (SUB, 1.0)) for _ in range(2))
    own.fold(count=0)
    other.settle(2)

    assert own.write_count == other.write_count


def test_a_log_is_full_at_either_limit(monkeypatch):
    monkeypatch.setattr(deferred, "MAX_ENTRIES", 2)
    monkeypatch.setattr(deferred, "MAX_LOG_BYTES", 100)
    large = Log()
    large.write(ADD, np.zeros(25, "float32"))

    assert not log((ADD, 1.0)).is_full
    assert log((ADD, 1.0), (ADD, 1.0)).is_full
    assert large.is_full


# ---------------------------------------------------------------- sparse writes

S_ADD, S_SUB, S_MUL, S_DIV = (
    Operation.SCATTER_ADD,
    Operation.SCATTER_SUB,
    Operation.SCATTER_MUL,
    Operation.SCATTER_DIV,
)


def rows(indices, values, dtype="float32"):
    return Rows(np.array(indices, np.int64), kept(values, dtype))


def table_log(*entries) -> Log:
    made = Log()
    for operation, operand in entries:
        made.write(operation, operand)
    return made


def shown_parts(delta: Delta):
    return [(part.operation, *(one.tolist() for one in part.operand)) for part in delta.parts]


def test_added_rows_with_the_same_index_are_summed():
    own = table_log((S_ADD, rows([2, 0], [1.0, 2.0])), (S_SUB, rows([2], [5.0])))

    assert [(S_ADD, [0, 2], [2.0, -4.0])] == shown_parts(own.delta(W, 2, np.empty))


def test_repeated_rows_of_one_write_are_sent_as_they_are():
    """ON_WRITE adds these rows one by one and rounds each sum. The result must be the same."""
    own = table_log((S_ADD, rows([1, 1], [1.0, 2.0])))

    assert [(S_ADD, [1, 1], [1.0, 2.0])] == shown_parts(own.delta(W, 1, np.empty))


def test_rows_are_added_to_a_dense_sum_before_or_after_it():
    before = table_log((S_ADD, rows([1], [1.0])), (ADD, kept([10.0, 20.0])))
    after = table_log((SUB, kept([10.0, 20.0])), (S_SUB, rows([1, 1], [1.0, 2.0])))

    assert [(ADD, [10.0, 21.0])] == shown_parts(before.delta(W, 2, np.empty))
    assert [(ADD, [-10.0, -23.0])] == shown_parts(after.delta(W, 2, np.empty))


def test_an_assign_drops_earlier_rows_and_includes_later_rows():
    own = table_log(
        (S_MUL, rows([0], [2.0])), (ASSIGN, kept([1.0, 2.0])), (S_ADD, rows([1], [5.0]))
    )

    assert [(ASSIGN, [1.0, 7.0])] == shown_parts(own.delta(W, 3, np.empty))


def test_rows_of_consecutive_equal_operations_are_joined():
    own = table_log(
        (S_ADD, rows([0], [1.0])),
        (S_MUL, rows([0], [2.0])),
        (S_MUL, rows([0, 1], [3.0, 4.0])),
        (S_ADD, rows([1], [1.0])),
    )

    assert [
        (S_ADD, [0], [1.0]),
        (S_MUL, [0, 0, 1], [2.0, 3.0, 4.0]),
        (S_ADD, [1], [1.0]),
    ] == shown_parts(own.delta(W, 4, np.empty))


def test_divisions_are_not_joined():
    own = table_log((S_DIV, rows([0], [2], "int32")), (S_DIV, rows([0], [-1], "int32")))

    assert [(S_DIV, [0], [2]), (S_DIV, [0], [-1])] == shown_parts(own.delta(W, 2, np.empty))


def test_unsigned_rows_wrap():
    own = table_log((S_SUB, rows([0], [1], "uint8")))

    assert [(S_ADD, [0], [255])] == shown_parts(own.delta(W, 1, np.empty))


def test_a_delta_of_unused_rows_has_only_operations():
    own = table_log((S_ADD, None), (S_MUL, None), (S_SUB, None), (ADD, None))

    assert [(S_ADD,), (S_MUL,), (ADD,)] == shown_parts(own.delta(W, 4, np.empty))


some_writes = st.lists(
    st.sampled_from([ASSIGN, ADD, SUB, *SCATTERS]).flatmap(
        lambda operation: st.tuples(
            st.just(operation),
            st.lists(st.tuples(st.integers(0, 2), st.integers(1, 5)), max_size=3).map(
                lambda some: rows([i for i, _ in some], [v for _, v in some], "int64")
            )
            if operation in SCATTERS
            else st.lists(st.integers(-5, 5), min_size=3, max_size=3).map(
                lambda value: kept(value, "int64")
            ),
        )
    ),
    min_size=1,
    max_size=8,
)


def after_delta(delta: Delta, before: np.ndarray) -> np.ndarray:
    for part in delta.parts:
        operand = part.operand[0] if len(part.operand) == 1 else Rows(*part.operand)
        before = applied(part.operation, before, operand)
    return before


@given(some_writes, st.data())
def test_a_fold_does_not_change_the_effect_of_a_delta(some, data):
    """With integers the results are equal. The parts have the same operations, too."""
    whole, folded = Log(), Log()
    fold_after = data.draw(st.integers(0, len(some) - 1))
    value = np.array([7, 8, 9])
    for number, (operation, operand) in enumerate(some):
        if number == fold_after:
            folded.fold(count=0)
        whole.write(operation, operand)
        folded.write(operation, operand)
        value = applied(operation, value, operand)

    one, other = (own.delta(W, len(some), np.empty) for own in (whole, folded))

    assert value.tolist() == after_delta(one, np.array([7, 8, 9])).tolist()
    assert value.tolist() == after_delta(other, np.array([7, 8, 9])).tolist()
    assert [part.operation for part in one.parts] == [part.operation for part in other.parts]
    assert whole.write_count == folded.write_count


def test_sparse_writes_and_the_size_of_their_rows_are_counted():
    own = table_log((ADD, kept([1.0, 2.0])), (S_ADD, rows([0], [1.0])), (S_MUL, rows([], [])))

    count = own.write_count
    assert (3, 2, 8 + 4) == (count.count, count.sparse, count.row_bytes)
    own.truncate(1)
    count = own.write_count
    assert (1, 0, 0) == (count.count, count.sparse, count.row_bytes)


# ---------------------------------------------------------------- calls


def test_writes_of_a_call_are_kept_separately_until_the_next_call():
    own = writes(1)
    for value in (1.0, 2.0):
        own.write(W, ADD, kept(value))
    assert (0, 1, ADD, [1.0]) == shown(own.delta(W, 1))
    own.end()
    own.begin(2)
    own.write(W, ADD, kept(4.0))

    assert (0, 2, ADD, [3.0]) == shown(own.delta(W, 2))
    assert (0, 3, ADD, [7.0]) == shown(own.delta(W))
    with pytest.raises(ProtocolError, match="no delta of variable 1 up to 1"):
        own.delta(W, 1)  # these two writes are folded, so no delta ends between them


def test_a_failed_call_drops_its_writes():
    """This holds even if the call has succeeded on this replica."""
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.end()
    own.begin(2)
    own.write(W, ADD, kept(2.0))
    own.write(V, ADD, kept(2.0))
    own.end()
    own.fail(2)

    assert own.owes(W)
    assert not own.owes(V)
    assert (0, 1, ADD, [1.0]) == shown(own.delta(W))


def test_exchanged_writes_of_a_failed_call_are_kept():
    own = writes(1)
    for value in (1.0, 2.0, 4.0):
        own.write(W, ADD, kept(value))
    own.settle(W, 2)
    own.fail(1)

    assert not own.owes(W)
    own.write(W, ADD, kept(8.0))
    assert (2, 3, ADD, [8.0]) == shown(own.delta(W))


def test_a_nested_call_fails_alone():
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.begin(2)
    own.write(W, ADD, kept(2.0))
    own.end()
    own.fail(2)
    own.write(W, ADD, kept(4.0))

    assert (0, 2, ADD, [5.0]) == shown(own.delta(W))
    own.fail(1)
    assert not own.owes(W)


def test_a_failed_call_drops_writes_of_nested_calls():
    own = writes(1, 2)
    own.write(W, ADD, kept(1.0))
    own.end()
    own.fail(1)

    assert not own.owes(W)


def test_folding_keeps_writes_of_an_outer_call_separate():
    """Both calls may still fail together, or only the inner call may fail."""
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.end()
    own.begin(2)
    own.write(W, ADD, kept(2.0))
    own.begin(3)
    own.write(W, ADD, kept(4.0))
    own.end()
    own.fail(2)

    assert (0, 1, ADD, [1.0]) == shown(own.delta(W))


# ---------------------------------------------------------------- write counts


def told(own: DeferredWrites) -> dict[int, int]:
    messages = own.write_counts()
    if not messages:
        return {}
    (one,) = messages
    return dict(zip(one.variable_ids.tolist(), one.counts.tolist(), strict=True))


def test_write_counts_contain_only_changes_since_the_last_message():
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.write(V, ADD, kept(1.0))
    own.write(W, ADD, kept(1.0))

    assert {W: 2, V: 1} == told(own)
    assert {} == told(own)
    own.write(V, SUB, kept(1.0))
    assert {V: 2} == told(own)


def test_writes_of_a_failed_call_are_not_counted():
    """The coordinator drops these writes, too."""
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.fail(1)

    assert {} == told(own)


def test_a_forgotten_variable_is_not_counted():
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.forget(W)

    assert {} == told(own)
    assert not own.owes(W)
    own.validate()


def test_a_new_variable_has_no_writes():
    assert NO_WRITES == Log().write_count
    assert NO_WRITES < log((ASSIGN, 1.0)).write_count
