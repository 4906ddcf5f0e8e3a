"""Barriers end when all have arrived; a send and a receive meet."""

from __future__ import annotations

from varsim.protocol.messages import Payload
from varsim.sync.rendezvous import Barriers, Posts


def test_a_barrier_ends_when_all_have_arrived() -> None:
    barriers = Barriers(3)
    assert [] == list(barriers.arrive(((), "a"), 2))
    assert [] == list(barriers.arrive(((), "a"), 0))
    assert [1] == barriers.missing(((), "a"))
    assert [0, 1, 2] == list(barriers.arrive(((), "a"), 1))
    barriers.validate()


def test_a_barrier_can_be_used_again() -> None:
    barriers = Barriers(2)
    for _ in range(2):
        assert [] == list(barriers.arrive(((), None), 0))
        assert [0, 1] == list(barriers.arrive(((), None), 1))


def test_a_barrier_of_a_group_ends_when_its_members_have_arrived() -> None:
    barriers = Barriers(3)
    pair = (0, 2), "a"
    assert [] == list(barriers.arrive(pair, 2))
    assert [] == list(barriers.arrive(((), "a"), 1))
    assert ([0], [0, 2]) == (barriers.missing(pair), barriers.missing(((), "a")))
    assert [0, 2] == list(barriers.arrive(pair, 0))
    barriers.validate()


def test_members_that_have_joined_are_not_awaited_at_a_barrier() -> None:
    assert [0] == list(Barriers(2).arrive(((0, 2), None), 0))


def test_barriers_of_different_names_do_not_meet() -> None:
    barriers = Barriers(2)
    assert [] == list(barriers.arrive(((), "a"), 0))
    assert [] == list(barriers.arrive(((), "b"), 1))
    assert ([1], [0]) == (barriers.missing(((), "a")), barriers.missing(((), "b")))
    barriers.validate()


def test_a_value_is_passed_when_both_replicas_have_come() -> None:
    """The order in which the two replicas come does not matter."""
    posts, value = Posts(), Payload("value")
    assert not posts.send(0, 1, value)
    assert value is posts.receive(1, 0)
    assert posts.receive(1, 0) is None
    assert posts.send(0, 1, value)
    posts.validate()


def test_a_value_goes_only_to_its_receiver() -> None:
    posts, value = Posts(), Payload("value")
    assert not posts.send(0, 1, value)
    assert posts.receive(2, 0) is None
    assert posts.receive(1, 0) is value
    assert not posts.send(3, 1, value)
    posts.validate()


def test_a_replica_can_receive_from_several_senders_in_turn() -> None:
    posts = Posts()
    for sender in (1, 2):
        assert not posts.send(sender, 0, Payload(sender))
    received = [posts.receive(0, sender) for sender in (2, 1)]
    assert [2, 1] == [one.tree for one in received if one is not None]
