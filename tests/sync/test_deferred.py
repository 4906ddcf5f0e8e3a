"""What a replica keeps of its deferred writes: what it counts, folds, hands out and drops."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sync.build import ADD, ASSIGN, SUB, V, W, array
from varsim.protocol.messages import Delta
from varsim.spec import Operation
from varsim.sync import deferred
from varsim.sync.deferred import NOTHING, DeferredWrites, Log


def kept(value, dtype="float32"):
    own = array(value, dtype)
    own.setflags(write=False)
    return own


def writes(*calls: int) -> DeferredWrites:
    """Of a replica in which these calls run, the innermost last."""
    made = DeferredWrites(np.empty)
    for call in calls:
        made.begin(call)
    return made


def log(*entries: tuple[Operation, float | None]) -> Log:
    made = Log()
    for operation, value in entries:
        made.write(operation, None if value is None else kept(value))
    return made


def shown(part: Delta) -> tuple[int, int, Operation, list[float]]:
    return part.since, part.count, part.operation, [float(value) for value in part.values]


def part(of: Log, count: int) -> tuple[int, int, Operation, list[float]]:
    return shown(of.delta(W, count, np.empty))


# ---------------------------------------------------------------- one variable


def test_what_is_added_adds_up():
    assert (0, 3, ADD, [2.5]) == part(log((ADD, 1.0), (ADD, 2.0), (SUB, 0.5)), 3)


def test_a_part_goes_up_to_a_write_and_no_further():
    both = log((ADD, 1.0), (ADD, 2.0))

    assert (0, 1, ADD, [1.0]) == part(both, 1)
    assert (0, 2, ADD, [3.0]) == part(both, 2)


def test_an_assign_makes_all_before_it_worthless_for_later_parts():
    mixed = log((ADD, 1.0), (ASSIGN, 5.0), (ADD, 2.0), (SUB, 0.5))

    assert (0, 1, ADD, [1.0]) == part(mixed, 1)
    assert (0, 4, ASSIGN, [6.5]) == part(mixed, 4)


@pytest.mark.parametrize(("value", "expected"), [(0.0, -0.0), (-0.0, 0.0), (3e38, -3e38)])
def test_what_is_subtracted_is_added_with_the_other_sign_exactly(value: float, expected: float):
    (sent,) = log((SUB, value)).delta(W, 1, np.empty).values

    assert array(expected).tobytes() == sent.tobytes()


def test_unsigned_integers_wrap():
    own = Log()
    own.write(SUB, kept(1, "uint8"))
    own.write(ADD, kept(3, "uint8"))

    (sent,) = own.delta(W, 2, np.empty).values
    assert (np.dtype("uint8"), 2) == (sent.dtype, int(sent))


def test_a_sum_that_overflows_says_nothing():
    (sent,) = log((ADD, 3e38), (ADD, 3e38)).delta(W, 2, np.empty).values

    assert np.isinf(sent)


def test_a_replica_whose_values_do_not_count_sends_none():
    assert (0, 2, ADD, []) == part(log((ADD, None), (SUB, None)), 2)
    assert (0, 1, ASSIGN, []) == part(log((ASSIGN, None)), 1)


def test_a_large_sum_is_made_where_it_is_sent_from():
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    own = Log()
    for _ in range(2):
        own.write(ADD, np.ones(20_000, "float32"))
    (sent,) = own.delta(W, 2, allocate).values

    assert sent is made[0]
    assert not sent.flags.writeable
    assert np.array_equal(np.full(20_000, 2.0), sent)


def test_what_is_exchanged_is_kept_no_more():
    both = log((ADD, 1.0), (ADD, 2.0))
    before = both.mark
    both.settle(1)

    assert (1, 2, ADD, [2.0]) == part(both, 2)
    assert before == both.mark
    both.settle(2)
    both.settle(2)  # a second delivery
    assert [] == both.entries
    assert (before, 0) == (both.mark, both.size_bytes)


def test_folding_keeps_the_count_and_the_sum():
    own = log((ADD, 1.0), (ADD, 2.0), (ADD, 4.0))
    before = own.mark
    own.fold(after=1)

    assert [1, 3] == [entry.count for entry in own.entries]
    assert before == own.mark
    assert (0, 3, ADD, [7.0]) == part(own, 3)


def test_the_same_number_of_other_operations_is_another_mark():
    one, other, same = (log((a, 1.0), (b, 1.0)) for a, b in [(ADD, SUB), (SUB, ADD), (ADD, SUB)])

    assert one.mark.count == other.mark.count
    assert one.mark != other.mark
    assert one.mark == same.mark


def test_folding_and_settling_do_not_change_what_the_operations_were():
    own, other = (log((ASSIGN, 1.0), (ADD, 1.0), (SUB, 1.0)) for _ in range(2))
    own.fold(after=0)
    other.settle(2)

    assert own.mark == other.mark


def test_a_log_is_full_by_entries_or_by_bytes(monkeypatch):
    monkeypatch.setattr(deferred, "MAX_ENTRIES", 2)
    monkeypatch.setattr(deferred, "MAX_LOG_BYTES", 100)
    large = Log()
    large.write(ADD, np.zeros(25, "float32"))

    assert not log((ADD, 1.0)).is_full
    assert log((ADD, 1.0), (ADD, 1.0)).is_full
    assert large.is_full


# ---------------------------------------------------------------- calls


def test_within_a_call_writes_are_kept_apart_and_the_next_call_folds_them():
    own = writes(1)
    for value in (1.0, 2.0):
        own.write(W, ADD, kept(value))
    assert (0, 1, ADD, [1.0]) == shown(own.delta(W, 1))
    own.end()
    own.begin(2)
    own.write(W, ADD, kept(4.0))

    assert (0, 2, ADD, [3.0]) == shown(own.delta(W, 2))
    assert (0, 3, ADD, [7.0]) == shown(own.delta(W))
    with pytest.raises(AssertionError):  # nobody can be there any more
        own.delta(W, 1)


def test_a_call_that_fails_takes_its_writes_along():
    """Also if it has ended well here."""
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


def test_what_was_exchanged_stays_when_its_call_fails():
    own = writes(1)
    for value in (1.0, 2.0, 4.0):
        own.write(W, ADD, kept(value))
    own.settle(W, 2)
    own.fail(1)

    assert not own.owes(W)
    own.write(W, ADD, kept(8.0))
    assert (2, 3, ADD, [8.0]) == shown(own.delta(W))


def test_a_call_in_a_call_fails_alone():
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


def test_a_call_takes_along_what_a_call_in_it_wrote():
    own = writes(1, 2)
    own.write(W, ADD, kept(1.0))
    own.end()
    own.fail(1)

    assert not own.owes(W)


def test_folding_leaves_the_writes_of_a_call_around_apart():
    """It may still fail, and this call with it, or this one alone."""
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


# ---------------------------------------------------------------- tallies


def told(own: DeferredWrites) -> dict[int, int]:
    tallies = own.tally()
    if not tallies:
        return {}
    (one,) = tallies
    return dict(zip(one.variable_ids.tolist(), one.counts.tolist(), strict=True))


def test_a_tally_tells_what_has_changed_since_the_last():
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.write(V, ADD, kept(1.0))
    own.write(W, ADD, kept(1.0))

    assert {W: 2, V: 1} == told(own)
    assert {} == told(own)
    own.write(V, SUB, kept(1.0))
    assert {V: 2} == told(own)


def test_what_a_failed_call_wrote_is_not_told():
    """The coordinator drops it too."""
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.fail(1)

    assert {} == told(own)


def test_a_variable_that_is_gone_is_not_told():
    own = writes(1)
    own.write(W, ADD, kept(1.0))
    own.forget(W)

    assert {} == told(own)
    assert not own.owes(W)
    own.validate()


def test_the_start_of_a_variable_is_nothing():
    assert NOTHING == Log().mark
    assert NOTHING < log((ASSIGN, 1.0)).mark
