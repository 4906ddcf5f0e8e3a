"""A worker that does not acknowledge its messages gets no further messages."""

from __future__ import annotations

import pytest

from varsim.errors import ProtocolError
from varsim.launch.backlog import ASK_BYTES, MAX_BACKLOG_BYTES, Backlog

FULL = MAX_BACKLOG_BYTES // ASK_BYTES + 1


def ask_after(backlog: Backlog, replica_id: int, size_bytes: int) -> int:
    backlog.sent(replica_id, size_bytes)
    return backlog.ask(replica_id)


def test_an_acknowledgement_is_requested_after_many_bytes() -> None:
    backlog = Backlog(2)
    for due in (set[int](), {1}):
        backlog.sent(1, ASK_BYTES // 2)
        assert due == backlog.due
    backlog.ask(1)
    assert not backlog.due
    assert [0, ASK_BYTES] == [backlog.bytes_of(replica_id) for replica_id in (0, 1)]


def test_a_worker_is_full_until_it_acknowledges_enough_bytes() -> None:
    backlog = Backlog(2)
    numbers = [ask_after(backlog, 1, ASK_BYTES) for _ in range(FULL)]
    assert {1} == backlog.full

    backlog.acknowledged(1, numbers[0])

    assert set() == backlog.full
    assert MAX_BACKLOG_BYTES == backlog.bytes_of(1)


def test_a_worker_is_full_until_it_acknowledges_one_large_envelope() -> None:
    backlog = Backlog(1)
    number = ask_after(backlog, 0, 2 * MAX_BACKLOG_BYTES)
    assert {0} == backlog.full
    backlog.acknowledged(0, number)
    assert set() == backlog.full


def test_a_dead_worker_is_not_full() -> None:
    backlog = Backlog(1)
    ask_after(backlog, 0, 2 * MAX_BACKLOG_BYTES)
    backlog.lose(0)
    assert set() == backlog.full


def test_an_acknowledgement_without_a_request_is_refused() -> None:
    backlog = Backlog(2)
    number = ask_after(backlog, 0, ASK_BYTES)
    for replica_id, wrong in ((1, number), (0, number + 1)):
        with pytest.raises(ProtocolError, match="there is no request"):
            backlog.acknowledged(replica_id, wrong)
