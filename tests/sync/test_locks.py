"""Locks are granted in order of arrival: to one writer, or to several readers."""

from __future__ import annotations

import random

import pytest

from varsim.errors import ProtocolError
from varsim.sync.locks import Locks, Request


class Program:
    """The locks of a call, and the replicas that got a lock since the last look."""

    def __init__(self) -> None:
        self.granted: list[int] = []
        self.locks = Locks(lambda _, request: self.granted.append(request.replica_id))

    def take(self) -> list[int]:
        """Return the replicas that got a lock since the last look."""
        self.locks.validate()
        granted, self.granted = self.granted, []
        return granted

    def lock(self, replica_id: int, name: str = "a", *, shared: bool = False) -> list[int]:
        self.locks.request(name, Request(replica_id, shared, f"train.py:{replica_id}", 0.0))
        return self.take()

    def read_lock(self, replica_id: int, name: str = "a") -> list[int]:
        return self.lock(replica_id, name, shared=True)

    def release(self, replica_id: int, name: str = "a") -> list[int]:
        self.locks.release(name, replica_id)
        return self.take()

    def waits_for(self, replica_id: int) -> list[tuple[int, bool]]:
        return [(one.replica_id, one.holds) for one in self.locks.obstacles(replica_id)]


@pytest.fixture
def program() -> Program:
    return Program()


def test_a_lock_is_granted_in_order_of_arrival(program: Program) -> None:
    assert [[2], [], []] == [program.lock(i) for i in (2, 0, 1)]
    assert [[0], [1], []] == [program.release(i) for i in (2, 0, 1)]


def test_readers_share_a_lock(program: Program) -> None:
    assert [[0], [1]] == [program.read_lock(i) for i in (0, 1)]
    assert [] == program.lock(2)
    assert [[], [2]] == [program.release(i) for i in (0, 1)]


def test_a_reader_does_not_overtake_a_waiting_writer(program: Program) -> None:
    assert [0] == program.read_lock(0)
    assert [] == program.lock(1)
    assert [] == program.read_lock(2)
    assert [1] == program.release(0)
    assert [2] == program.release(1)


def test_readers_in_a_row_are_granted_together(program: Program) -> None:
    assert [0] == program.lock(0)
    assert [[], [], []] == [program.read_lock(1), program.read_lock(2), program.lock(3)]
    assert [1, 2] == program.release(0)


def test_locks_of_different_names_are_independent(program: Program) -> None:
    assert [[0], [1]] == [program.lock(0, "a"), program.lock(1, "b")]


def test_a_waiting_replica_waits_for_holders_and_for_earlier_requests(program: Program) -> None:
    program.read_lock(0)
    program.read_lock(1)
    program.lock(2)
    program.read_lock(3)

    assert [(0, True), (1, True)] == program.waits_for(2)
    assert [(2, False)] == program.waits_for(3)


def test_the_end_of_a_function_releases_all_locks(program: Program) -> None:
    program.lock(0, "a")
    program.lock(0, "b")
    program.lock(1, "a")
    program.lock(2, "b")
    assert {"a": [1], "b": [2]} == program.locks.waiting_for(0)

    program.locks.release_all(0)

    assert [1, 2] == program.take()


def test_a_replica_holds_a_lock_only_once(program: Program) -> None:
    program.lock(0)
    with pytest.raises(ProtocolError, match="replica 0 already holds lock 'a'"):
        program.lock(0)


def test_only_a_holder_releases_a_lock(program: Program) -> None:
    program.lock(0)
    for replica_id, name in ((1, "a"), (0, "b")):
        with pytest.raises(
            ProtocolError, match=f"replica {replica_id} does not hold lock '{name}'"
        ):
            program.release(replica_id, name)


@pytest.mark.parametrize("seed", range(50))
def test_every_request_is_granted_if_every_holder_releases(seed: int, program: Program) -> None:
    """Each replica holds one lock at a time; so there is no deadlock and no starvation."""
    chance = random.Random(seed)
    idle, waiting, holding = set(range(5)), dict[int, str](), dict[int, str]()
    for _ in range(200):
        if idle and (not holding or chance.random() < 0.6):
            replica_id = chance.choice(sorted(idle))
            idle.remove(replica_id)
            waiting[replica_id] = chance.choice("ab")
            granted = program.lock(replica_id, waiting[replica_id], shared=chance.random() < 0.5)
        else:
            replica_id = chance.choice(sorted(holding))
            granted = program.release(replica_id, holding.pop(replica_id))
            idle.add(replica_id)
        for one in granted:
            holding[one] = waiting.pop(one)
        assert holding or not waiting, "some replica holds the lock for which others wait"
    while holding:
        replica_id = chance.choice(sorted(holding))
        for one in program.release(replica_id, holding.pop(replica_id)):
            holding[one] = waiting.pop(one)

    assert not waiting
