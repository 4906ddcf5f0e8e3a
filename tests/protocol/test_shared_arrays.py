"""Envelopes whose large arrays are in memory that sender and receiver share."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dtypes import DTYPES
from tests.transport.clusters import SharedCluster
from varsim.errors import ProtocolError, SizeError
from varsim.extension_dtypes import NAMES
from varsim.protocol import codec, limits
from varsim.protocol.buffers import PACK_LIMIT_BYTES, SHARED
from varsim.protocol.codec import MESSAGES, PROTOCOL_VERSION, decode, encode
from varsim.protocol.limits import MAX_DIMENSIONS
from varsim.protocol.messages import Component, Message, Payload, Reduced, Start
from varsim.transport.leases import SHARED_FROM_BYTES, Leases

Array = np.ndarray[Any, Any]
LARGE = SHARED_FROM_BYTES


@pytest.fixture
def cluster() -> Iterator[SharedCluster]:
    made = SharedCluster()
    yield made
    made.close()


@pytest.fixture
def here(cluster: SharedCluster) -> Leases:
    return cluster["c"].leases["a"]


@pytest.fixture
def there(cluster: SharedCluster) -> Leases:
    return cluster["a"].leases["c"]


def message(*arrays: Array) -> Reduced:
    return Reduced(call_id=1, position=2, leaves=arrays)


def test_large_arrays_are_not_in_the_frames(here: Leases, there: Leases) -> None:
    sizes = (1, 1000, PACK_LIMIT_BYTES, PACK_LIMIT_BYTES + 1, LARGE, 10 * LARGE)
    arrays = [np.arange(size, dtype=np.uint8) for size in sizes]

    frames = encode([message(*arrays)], here)
    (got,) = decode(frames, there)

    assert 3 == len(frames), "the header, the packed arrays, and an array between the limits"
    assert sum(map(len, frames)) < 3 * LARGE
    assert isinstance(got, Reduced)
    assert [array.tobytes() for array in arrays] == [leaf.tobytes() for leaf in got.leaves]
    assert not any(leaf.flags.writeable for leaf in got.leaves)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_of_every_dtype_and_shape_are_sent(
    here: Leases, there: Leases, dtype: np.dtype[np.generic]
) -> None:
    value = (np.arange(LARGE // dtype.itemsize) % 99).astype(dtype).reshape(2, -1, 4, 1)
    (got,) = decode(encode([message(value, value.T)], here), there)
    assert isinstance(got, Reduced)
    for expected, leaf in zip((value, value.T), got.leaves, strict=True):
        assert (expected.dtype, expected.shape) == (leaf.dtype, leaf.shape)
        assert expected.tobytes() == leaf.tobytes()


def test_a_note_of_released_blocks_is_one_more_frame(
    cluster: SharedCluster, here: Leases, there: Leases
) -> None:
    decode(encode([message(np.zeros(LARGE))], here), there)
    note = there.note()
    assert note is not None
    assert here._lent

    for messages in ([], [message(np.zeros(LARGE // 8 - 1))]):
        here_before = dict(here._lent)
        decode([*encode(messages, there), *([note] if messages else [])], here)
        assert bool(messages) is not (here_before == here._lent)
    assert not here._lent


def test_a_block_returned_and_released_together_is_kept(
    cluster: SharedCluster, here: Leases, there: Leases
) -> None:
    """Arrays are received before the releases in the same envelope are handled."""
    (first,) = decode(encode([message(np.full(LARGE, 7.0))], here), there)
    assert isinstance(first, Reduced)
    frames = encode([message(*first.leaves)], there)
    del first
    note = there.note() or msgpack.packb([[0, 1]])

    (home,) = decode([*frames, note], here)

    assert isinstance(home, Reduced)
    decode(encode([message(np.full(LARGE, 8.0))], here), there)
    assert (home.leaves[0] == 7.0).all()


@pytest.mark.parametrize(
    "last", [object(), [1.0], np.float64(1)], ids=["object", "list", "NumPy scalar"]
)
def test_a_message_that_cannot_be_encoded_leaves_no_block_lent(
    cluster: SharedCluster, here: Leases, last: Any
) -> None:
    with pytest.raises(TypeError):
        encode([message(np.zeros(LARGE), last)], here)
    assert not here._lent
    assert 0 == cluster["c"].used_bytes()


def test_an_envelope_that_is_too_large_leaves_no_block_lent(
    cluster: SharedCluster, here: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(codec, "SHORT_HEADER_BYTES", 0)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 800)
    payload = Payload([1] * 100, (np.zeros(LARGE),))
    with pytest.raises(SizeError, match="Use NumPy arrays"):
        encode([Start(call_id=1, function_id="f", arguments=payload, present=2)], here)
    assert not here._lent
    assert 0 == cluster["c"].used_bytes()


# ---------------------------------------------------------------- malformed envelopes

F8 = 3
TAG = [cls.__name__ for cls in MESSAGES].index("Component")


def frame(*descriptor: Any, packed: Any = b"") -> bytes:
    made: bytes = msgpack.packb([PROTOCOL_VERSION, packed, [[TAG, 1, 2, 3, list(descriptor)]]])
    return made


S = SHARED + F8
WRONG = [
    (S,),
    (S, 0, LARGE),
    (SHARED + len(NAMES), 0, LARGE, 0, LARGE // 8),
    (2**63, 0, LARGE, 0, LARGE // 8),
    (S, -1, LARGE, 0, LARGE // 8),
    (S, 0, LARGE, -8, LARGE // 8),
    (S, 0, LARGE, 0, -1),
    (S, 0.0, LARGE, 0, 1),
    (S, None, LARGE, 0, 1),
    (S, True, LARGE, 0, 1),
    (S, 0, LARGE, 4, LARGE // 8 - 1),
    (S, 0, LARGE, 8, LARGE // 8),
    (S, 0, LARGE, 0, LARGE // 8 + 1),
    (S, 0, LARGE, 0, 2**40, 2**40),
    (S, 0, LARGE, 0, 0, 2**63),
    (S, 0, LARGE, 0, 0, 2**40, 2**40),
    (S, 0, LARGE, 0, *[0] * 61),
    (S, 0, LARGE, 0, *[1] * MAX_DIMENSIONS),
    (S, 2**16 + 8, LARGE, 0, LARGE // 8),
    (S, 2**63, LARGE, 0, LARGE // 8),
    (S, 0, 2 * LARGE, 0, LARGE // 8),
    (S, 0, 0, 0, LARGE // 8),
    (S, 0, 2**63, 0, LARGE // 8),
]


@pytest.mark.parametrize("descriptor", WRONG, ids=[str(w)[:50] for w in WRONG])
def test_a_wrong_descriptor_is_refused_and_changes_nothing(
    cluster: SharedCluster, here: Leases, there: Leases, descriptor: tuple[Any, ...]
) -> None:
    """Worker a has already received block 0. The block has room for one array of `LARGE` bytes."""
    kept = cluster.make("c")
    cluster.pass_on("c", "a", kept)
    with pytest.raises(ProtocolError):
        decode([frame(*descriptor)], there)
    assert there.note() is None
    assert [0] == list(cluster["a"].arena._foreign)
    assert kept.is_unchanged()


def test_two_extra_frames_are_refused(here: Leases, there: Leases) -> None:
    with pytest.raises(ProtocolError, match="more array bytes were sent"):
        decode([*encode([], here), b"\x90", b"\x90"], there)


def test_a_note_without_shared_memory_is_refused(here: Leases) -> None:
    with pytest.raises(ProtocolError, match="more array bytes were sent"):
        decode([*encode([]), b"\x90"])


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_a_changed_envelope_raises_no_other_error(here: Leases, there: Leases, seed: int) -> None:
    """Bytes of an envelope with references, and of its note, are changed, inserted or removed."""
    decode(encode([message(np.zeros(LARGE // 8))], here), there)
    sample: list[Message] = [
        message(np.zeros(LARGE // 8), np.zeros(3)),
        Component(request_id=1, variable_id=2, version=3, value=np.ones((2, LARGE), np.int8)),
    ]
    frames = [bytearray(part) for part in encode(sample, there)]
    frames.append(bytearray(there.note() or b"\x90"))
    chance = random.Random(seed)  # Hypothesis could not repeat the changes, because frames differ
    for _ in range(chance.randint(1, 3)):
        part = chance.choice(frames)
        start = chance.randint(0, len(part))
        part[start : start + chance.randint(0, 9)] = chance.randbytes(chance.randint(0, 9))
    with suppress(ProtocolError):
        decode(frames, here)
    here.cancel()
    there.cancel()
