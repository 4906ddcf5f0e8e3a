"""The coordinator's codec encodes a message to several workers, and copies its array, only once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tests.transport.clusters import SharedCluster
from varsim.exchange.broadcast import BroadcastCodec
from varsim.protocol.codec import decode
from varsim.protocol.messages import Fetch, Message, Reduced
from varsim.spec import Array
from varsim.transport.leases import SHARED_FROM_BYTES

LARGE = SHARED_FROM_BYTES // 8


@pytest.fixture
def cluster() -> Iterator[SharedCluster]:
    """Return a cluster: the coordinator "c", and workers "a" (replica 0) and "b" (replica 1)."""
    made = SharedCluster()
    yield made
    made.close()


@pytest.fixture
def codec(cluster: SharedCluster) -> Iterator[BroadcastCodec]:
    made = BroadcastCodec(2, cluster["c"].arena)
    yield made
    made.close()


def message(value: Array) -> Reduced:
    return Reduced(call_id=1, position=1, leaves=(value,))


def received(
    cluster: SharedCluster, codec: BroadcastCodec, replica_id: int, messages: list[Message]
) -> Array:
    """Send messages to a worker, and return the array of the last message."""
    leases = cluster["ab"[replica_id]].leases["c"]
    last = decode(codec.encode(replica_id, messages), leases)[-1]
    assert isinstance(last, Reduced)
    return last.leaves[0]


def give_back(cluster: SharedCluster, codec: BroadcastCodec, replica_id: int) -> None:
    """Send a worker's note of released blocks to the coordinator."""
    note = cluster["ab"[replica_id]].leases["c"].note()
    assert note is not None
    assert [] == codec.decode(replica_id, [*BroadcastCodec(1, None).encode(0, []), note])


def test_an_array_for_several_workers_is_copied_once(
    cluster: SharedCluster, codec: BroadcastCodec
) -> None:
    """Each worker also gets another message of its own before the array."""
    value = np.arange(float(LARGE))
    got = [
        received(cluster, codec, i, [Fetch(request_id=i, variable_id=1), message(value)])
        for i in (0, 1)
    ]

    assert all((array == value).all() for array in got)
    assert 1 == len(cluster["c"].arena._own)


def test_the_next_envelope_frees_copies_of_earlier_ones(
    cluster: SharedCluster, codec: BroadcastCodec
) -> None:
    """So a program that writes in a loop needs no memory for values that were replaced."""
    for _ in range(5):
        for replica_id in (0, 1):
            received(cluster, codec, replica_id, [message(np.zeros(LARGE))])
            give_back(cluster, codec, replica_id)
    assert 3 >= len(cluster["c"].arena._own)


def test_the_same_messages_are_encoded_once(cluster: SharedCluster, codec: BroadcastCodec) -> None:
    messages = [message(np.zeros(LARGE)), message(np.zeros(3))]

    first, second = (codec.encode(i, list(messages)) for i in (0, 1))
    other = codec.encode(0, messages[:1])

    assert first[0] is second[0]
    assert other[0] is not first[0]


def test_each_worker_gets_a_lease_of_an_encoded_block(
    cluster: SharedCluster, codec: BroadcastCodec
) -> None:
    messages: list[Message] = [message(np.zeros(LARGE))]
    for replica_id in (0, 1):
        received(cluster, codec, replica_id, messages)
    codec.end_round()

    used = []
    for replica_id in (0, 1):
        give_back(cluster, codec, replica_id)
        used.append(cluster["c"].used_bytes())

    assert [SHARED_FROM_BYTES, 0] == used


def test_a_note_of_released_blocks_is_sent_with_any_envelope(
    cluster: SharedCluster, codec: BroadcastCodec
) -> None:
    """The note is added even to an envelope that was encoded for another worker."""
    leases = cluster["a"].leases["c"]
    reference = leases.put(np.zeros(LARGE))
    assert reference is not None
    coordinators = codec._leases[0]
    assert coordinators is not None
    coordinators.get(reference, SHARED_FROM_BYTES)
    messages: list[Message] = [Fetch(request_id=1, variable_id=1)]

    codec.encode(1, messages)
    decode(codec.encode(0, messages), leases)

    assert 0 == cluster["a"].used_bytes()


def test_blocks_of_a_dead_worker_are_free(cluster: SharedCluster, codec: BroadcastCodec) -> None:
    codec.encode(0, [message(np.zeros(LARGE))])
    codec.end_round()
    assert SHARED_FROM_BYTES == cluster["c"].used_bytes()

    codec.lose(0)

    assert 0 == cluster["c"].used_bytes()


def test_without_shared_memory_arrays_are_in_the_envelope() -> None:
    codec = BroadcastCodec(2, None)
    value = np.arange(float(LARGE))
    messages = [message(value)]
    for replica_id in (0, 1):
        (got,) = decode(codec.encode(replica_id, messages))
        assert isinstance(got, Reduced)
        assert np.shares_memory(value, got.leaves[0])
    codec.lose(0)
    codec.close()
