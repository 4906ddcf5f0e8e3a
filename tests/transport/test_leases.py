"""A block is reused only after every process has released it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

import msgpack
import numpy as np
import pytest

from tests.effort import many
from tests.transport.clusters import INT, LIMIT_BYTES, SIZES, Array, SharedCluster
from varsim.errors import ProtocolError
from varsim.protocol.buffers import SharedReference
from varsim.transport.arena import region_size
from varsim.transport.leases import SHARED_FROM_BYTES


@pytest.fixture
def cluster() -> Iterator[SharedCluster]:
    made = SharedCluster()
    yield made
    made.close()


@pytest.mark.parametrize("seed", range(many(20)))
def test_an_array_that_a_process_holds_never_changes(seed: int) -> None:
    """Arrays are made, sent and dropped at random. In the end all memory is free again."""
    chance = random.Random(seed)
    cluster = SharedCluster(limit_bytes=chance.choice([2**20, 2**30]))
    for _ in range(150):
        cluster.act(chance)
        cluster.assert_unchanged()
    cluster.let_go()
    cluster.assert_free()
    cluster.close()


def test_a_block_is_reused_after_all_have_released_it(cluster: SharedCluster) -> None:
    first = cluster.make("a")
    reference = cluster["a"].arena.reference_of(first.array)
    cluster.pass_on("a", "c", first)
    cluster["a"].held.clear()
    del first
    assert reference != cluster["a"].arena.reference_of(cluster.make("a").array)

    cluster["c"].held.clear()
    cluster.settle()
    assert reference == cluster["a"].arena.reference_of(cluster.make("a").array)


def test_a_forwarded_block_is_kept_until_the_last_receiver_releases_it(
    cluster: SharedCluster,
) -> None:
    (at_c,) = cluster.pass_on("a", "c", cluster.make("a"))
    (at_b,) = cluster.pass_on("c", "b", at_c)
    cluster["a"].held.clear()
    cluster["c"].held.clear()
    del at_c
    cluster.settle()
    for _ in range(5):
        cluster.make("a")
    assert at_b.is_unchanged()
    assert np.shares_memory(at_b.array, cluster["b"].held[0].array)

    del at_b
    cluster.let_go()
    cluster.assert_free()


def test_a_block_returned_through_other_processes_is_released(cluster: SharedCluster) -> None:
    """The block goes from a to c, to b, back to c and back to a. Then no process holds a lease."""
    (at_c,) = cluster.pass_on("a", "c", cluster.make("a"))
    (at_b,) = cluster.pass_on("c", "b", at_c)
    (back,) = cluster.pass_on("b", "c", at_b)
    (home,) = cluster.pass_on("c", "a", back)
    assert cluster["a"].arena.reference_of(home.array) == cluster["c"].arena.reference_of(
        back.array
    )
    assert home.is_unchanged()
    del at_c, at_b, back, home

    cluster.let_go()
    cluster.assert_free()


def test_a_block_returned_to_its_owner_is_the_same_memory(cluster: SharedCluster) -> None:
    kept = cluster.make("c")
    (at_a,) = cluster.pass_on("c", "a", kept)
    (home,) = cluster.pass_on("a", "c", at_a)

    assert np.shares_memory(kept.array, home.array)
    cluster["c"].held.clear()
    del kept
    cluster.settle()
    cluster.make("c")
    assert home.is_unchanged()


def test_a_block_in_two_envelopes_needs_two_releases(
    cluster: SharedCluster,
) -> None:
    kept = cluster.make("c")
    cluster.send("c", "a", kept, kept)
    cluster.send("c", "a", kept)
    cluster.deliver("a", "c")
    cluster["a"].held.clear()
    cluster["c"].held.clear()
    cluster["c"].leases["a"].take_note(cluster["a"].leases["c"].note() or b"")
    del kept
    cluster.make("c")

    (late,) = cluster.deliver("a", "c")
    assert late.is_unchanged()


def test_only_an_array_outside_the_arena_is_copied(cluster: SharedCluster) -> None:
    inside, outside = cluster.make("c"), cluster.make("c", shared=False)
    at_a, copied = cluster.pass_on("c", "a", inside, outside)

    inside.array[0], outside.array[0] = -1, -1

    assert -1 == at_a.array[0]
    assert outside.number == copied.array[0]


def test_small_arrays_are_sent_by_value(cluster: SharedCluster) -> None:
    leases = cluster["c"].leases["a"]
    assert leases.put(np.zeros(SHARED_FROM_BYTES - 1, np.uint8)) is None
    assert leases.put(np.zeros(SHARED_FROM_BYTES, np.uint8)) is not None


@pytest.mark.parametrize(
    "view",
    [
        lambda array: array[::2],
        lambda array: array[::-1],
        lambda array: array[1:].reshape(2, -1).T,
        lambda array: np.broadcast_to(array[:1], array.shape),
        lambda array: array.view(np.uint8)[3:-5].view(INT),
        lambda array: array[1:].view(np.complex128),
    ],
    ids=["steps", "backwards", "transposed", "repeated", "unaligned", "odd start"],
)
def test_any_view_of_an_array_in_the_arena_can_be_sent(
    cluster: SharedCluster, view: Callable[[Array], Array]
) -> None:
    array = cluster.make("c", 100_001).array
    array[:] = np.arange(array.size)
    given = view(array)
    reference = cluster["c"].leases["a"].put(given)
    assert reference is not None
    assert 0 == reference.start % given.dtype.alignment
    got = cluster["a"].leases["c"].get(reference, given.nbytes).view(given.dtype)
    assert given.tobytes() == got.tobytes()


def test_when_memory_is_full_arrays_are_sent_by_value(cluster: SharedCluster) -> None:
    small = SharedCluster(limit_bytes=SHARED_FROM_BYTES)
    leases = small["c"].leases["a"]
    array = np.zeros(SIZES[0], INT)
    assert leases.put(array) is not None
    assert leases.put(array) is None
    small.close()


def test_a_dead_peer_holds_no_blocks(cluster: SharedCluster) -> None:
    cluster.send("c", "a", cluster.make("c"))
    cluster["c"].held.clear()
    assert 0 < cluster["c"].used_bytes()

    cluster["c"].leases["a"].cancel()

    assert 0 == cluster["c"].used_bytes()


# ---------------------------------------------------------------- wrong notes and references

WRONG_NOTES = [
    b"",
    b"\xc1",
    b"\x05",
    msgpack.packb([1]),
    msgpack.packb([[1, 1]]),
    msgpack.packb([[None, 1]]),
    msgpack.packb([[[], 1]]),
    msgpack.packb({0: 1}),
    msgpack.packb([["0", 1]]),
    msgpack.packb([[0, 0]]),
    msgpack.packb([[0, -1]]),
    msgpack.packb([[0, 3]]),
    msgpack.packb([[0, 2**63]]),
    msgpack.packb([[0, 1.5]]),
    msgpack.packb([[0, "1"]]),
    msgpack.packb([[0, 1, 1]]),
    msgpack.packb([[0, 1], [64, 1]]),
    msgpack.packb([[0, 1], [0, 2]]),
    bytes(2**21),
]


@pytest.mark.parametrize("note", WRONG_NOTES, ids=[note[:12].hex() or "-" for note in WRONG_NOTES])
def test_a_wrong_note_is_refused_and_changes_nothing(cluster: SharedCluster, note: bytes) -> None:
    """The coordinator has lent its block 0 twice to worker a."""
    kept = cluster.make("c")
    cluster.send("c", "a", kept, kept)
    leases = cluster["c"].leases["a"]

    with pytest.raises(ProtocolError):
        leases.take_note(note)

    assert {0: 2} == {block: len(bases) for block, bases in leases._lent.items()}


BLOCK = SHARED_FROM_BYTES
REGION = region_size(LIMIT_BYTES, 3)
REGION = region_size(LIMIT_BYTES, 3)
WRONG_PLACES = [
    SharedReference(-BLOCK, BLOCK, 0),
    SharedReference(3 * REGION, BLOCK, 0),
    SharedReference(2**70, BLOCK, 0),
    SharedReference(7, BLOCK, 0),
    SharedReference(0, 0, 0),
    SharedReference(0, -1, 0),
    SharedReference(0, BLOCK - 1, 0),
    SharedReference(0, 2 * BLOCK, 0),
    SharedReference(0, 2**50, 0),
    SharedReference(0, 2**70, 0),
    SharedReference(REGION - 2**16, BLOCK, 0),
    SharedReference(0, BLOCK, -1),
    SharedReference(0, BLOCK, 1),
    SharedReference(0, BLOCK, 2**70),
    SharedReference(REGION, BLOCK, 0),
    SharedReference(REGION + 2**20, BLOCK, 0),
    SharedReference(0, LIMIT_BYTES + BLOCK, 0),
]


@pytest.mark.parametrize("reference", WRONG_PLACES, ids=str)
def test_a_wrong_reference_is_refused_and_changes_nothing(
    cluster: SharedCluster, reference: SharedReference
) -> None:
    """The coordinator has lent its block 0 to worker a. The region of worker a is empty."""
    cluster.pass_on("c", "a", cluster.make("c"))
    process = cluster["a"]

    with pytest.raises(ProtocolError):
        process.leases["c"].get(reference, BLOCK)

    cluster.assert_unchanged()
    assert [0] == list(process.arena._foreign)
    assert process.leases["c"].note() is None


def test_a_reference_to_an_unsent_block_is_refused(cluster: SharedCluster) -> None:
    kept = cluster.make("a")
    reference = cluster["a"].arena.reference_of(kept.array)
    assert reference is not None
    del kept
    cluster["a"].held.clear()
    cluster["a"].arena.settle()
    with pytest.raises(ProtocolError):
        cluster["a"].leases["c"].get(reference, BLOCK)
