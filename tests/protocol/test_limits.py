"""A sender refuses what a receiver refuses. A receiver checks sizes before it allocates memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from varsim.errors import ProtocolError, SizeError
from varsim.protocol import codec, limits
from varsim.protocol.codec import PROTOCOL_VERSION, decode, encode
from varsim.protocol.limits import (
    MAX_DECODED_BYTES,
    MAX_HEADER_BYTES,
    check_leaves,
    check_name,
    decoded_bytes,
    halves,
)
from varsim.protocol.messages import Forget, Payload, Reduced, Report, Returned

MANY = MAX_DECODED_BYTES // 96  # the longest header that is not examined, in bytes

UNPACKER_BYTES = 2**15  # memory that msgpack needs for any header

HOSTILE = {  # headers whose decoded values take much more memory than the header
    "empty lists": b"\x90" * MANY,
    "nested lists": b"\x91\x91\x90" * (MANY // 3),
    "empty dicts": b"\x80" * MANY,
    "negative integers": b"\xe0" * MANY,
    "texts": b"\xa2ab" * (MANY // 3),
    "characters": b"\xa2\xc3\xbf" * (MANY // 3),
    "bytes": b"\xc4\x02ab" * (MANY // 4),
    "numbers": b"\xcd\x01\x01" * (MANY // 3),
    "floats": b"\xca\x00\x00\x00\x01" * (MANY // 5),
    "small integers": b"\x01" * MANY,
}


def hostile(content: bytes) -> bytes:
    """Return a header with the right number of values before `content`, the encoded values."""
    unit = {0x91: 3, 0xA2: 3, 0xC4: 4, 0xCD: 3, 0xCA: 5}.get(content[0], 1)
    count = (len(content) // unit).to_bytes(4, "big")
    return b"\x93%b\xc4\x00\xdd%b%b" % (msgpack.packb(PROTOCOL_VERSION), count, content)


def peak_bytes(work: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_decoding_takes_no_more_memory_than_estimated(name: str) -> None:
    part = hostile(HOSTILE[name][:30_000])

    used = peak_bytes(lambda: msgpack.unpackb(part, strict_map_key=False))

    assert used <= decoded_bytes(part) + UNPACKER_BYTES


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused_in_little_memory(name: str) -> None:
    header = hostile(HOSTILE[name])

    def refuse() -> None:
        with pytest.raises(ProtocolError):
            decode([header])

    assert peak_bytes(refuse) < 100 * 2**20


def test_a_header_of_many_bytes_is_refused_before_it_is_read() -> None:
    header = b"\x93\x08" + bytes(MAX_HEADER_BYTES)

    def refuse() -> None:
        with pytest.raises(ProtocolError, match=f"{len(header):,} bytes; the limit is"):
            decode([header])

    assert peak_bytes(refuse) < 2**20


@given(st.integers(0, 3_000), st.integers(0, 40))
def test_a_sender_refuses_what_its_receiver_refuses(count: int, size: int) -> None:
    message = Forget(
        variable_ids=tuple(range(count)), function_ids=("\u4e2d" * size,) * (count % 90)
    )
    with pytest.MonkeyPatch.context() as patch:
        frames = encode([message])
        patch.setattr(codec, "SHORT_HEADER_BYTES", 0)
        patch.setattr(limits, "MAX_DECODED_BYTES", 20_000)
        patch.setattr(limits, "MAX_HEADER_BYTES", 2_500)
        refused = []
        for work in (lambda: encode([message]), lambda: decode(frames)):
            try:
                work()
            except (SizeError, ProtocolError) as error:
                refused.append(str(error))
    assert refused == refused[:1] * 2 or not refused


def test_too_many_large_arrays_are_refused_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    large = np.zeros(2**16 + 1, np.int8)
    frames = encode([Reduced(call_id=1, position=0, leaves=(large,) * 5)])
    monkeypatch.setattr(limits, "MAX_LARGE_ARRAYS", 2)
    with pytest.raises(SizeError, match="5 large arrays; the limit is 2"):
        encode([Reduced(call_id=1, position=0, leaves=(large,) * 5)])
    with pytest.raises(ProtocolError, match="large arrays; the limit is 2"):
        decode(frames)


def test_the_error_for_too_many_leaves_has_their_number() -> None:
    structure = (("", "a list of 50000"), *((f"[{i}]", "an array") for i in range(50_000)))
    with pytest.raises(SizeError, match="a collective of 50,000 values"):
        check_leaves(structure, [np.zeros(())] * 50_000)


@pytest.mark.parametrize("key", ["x" * 3_000_000, "\u4e2d" * 200_000])
def test_a_leaf_with_a_very_long_key_is_refused(key: str) -> None:
    with pytest.raises(SizeError, match="a collective of 1 values"):
        check_leaves((("", "a dict"), (key, "an array")), [np.zeros(())])


def test_leaves_that_the_check_accepts_can_be_encoded() -> None:
    count = MAX_DECODED_BYTES // 2 // 800
    structure = tuple((f"['w{i}']", "an array") for i in range(count))
    leaves = [np.zeros(())] * count
    check_leaves(structure, leaves)
    encode([Reduced(call_id=1, position=0, leaves=tuple(leaves))])


def test_a_name_of_more_than_1000_characters_is_refused() -> None:
    check_name("x" * 1000, "the name")
    with pytest.raises(SizeError, match="the name has 1,001 characters; the limit is 1,000"):
        check_name("x" * 1001, "the name")


def test_a_too_large_envelope_of_several_messages_is_divided() -> None:
    messages = [Returned(call_id=i, result=Payload(None), report=Report()) for i in range(3)]
    error = SizeError("too large")
    assert [messages[:1], messages[1:]] == list(halves(messages, error))
    with pytest.raises(SizeError):
        halves(messages[:1], error)
