"""A decoded envelope equals the encoded one. Large arrays are not copied."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dtypes import DTYPES
from tests.protocol.samples import messages, plain
from varsim.errors import SizeError
from varsim.protocol import codec, limits
from varsim.protocol.buffers import ALIGNMENT, PACK_LIMIT_BYTES, Frame
from varsim.protocol.codec import MAX_INLINE_BYTES, MESSAGES, decode, encode
from varsim.protocol.messages import Component, Message, Payload, Raised, Reduced, Report, Start
from varsim.spec import Array


def component(value: Array) -> Component:
    return Component(request_id=1, variable_id=2, version=3, value=value)


def sent(*arrays: Array) -> list[Array]:
    (message,) = decode(encode([Reduced(call_id=1, position=2, leaves=arrays)]))
    assert isinstance(message, Reduced)
    return list(message.leaves)


@given(st.lists(messages, max_size=5))
def test_a_decoded_envelope_equals_the_encoded_one(envelope: list[Message]) -> None:
    assert list(map(plain, envelope)) == list(map(plain, decode(encode(envelope))))


def test_every_message_has_a_tag() -> None:
    # Classes are compared by name, because `slots=True` creates another class.
    assert {cls.__name__ for cls in Message.__subclasses__()} == {cls.name for cls in MESSAGES}


def test_only_small_arrays_share_a_frame() -> None:
    small, large = np.zeros(MAX_INLINE_BYTES // 8 + 1), np.zeros(PACK_LIMIT_BYTES // 8 + 1)

    frames = encode([component(large), component(small), component(large), component(small)])

    packed = 2 * (small.nbytes + small.nbytes % ALIGNMENT)
    assert [packed, large.nbytes, large.nbytes] == list(map(len, frames[1:]))


@pytest.mark.parametrize(
    ("size_bytes", "frames"), [(0, 1), (8, 1), (MAX_INLINE_BYTES, 1), (MAX_INLINE_BYTES + 1, 2)]
)
def test_an_array_up_to_the_inline_limit_is_in_the_header(size_bytes: int, frames: int) -> None:
    value = np.arange(size_bytes, dtype=np.uint8)

    assert frames == len(encode([component(value)]))
    assert value.tobytes() == sent(value)[0].tobytes()


def test_an_envelope_without_messages_is_only_a_header() -> None:
    assert 1 == len(encode([]))


def test_a_large_array_is_not_copied_when_encoded() -> None:
    large = np.zeros(PACK_LIMIT_BYTES)

    (_, frame) = encode([component(large)])

    assert np.shares_memory(large, np.frombuffer(frame))


def test_decoded_arrays_are_read_only_views_of_the_frames() -> None:
    values = [np.arange(MAX_INLINE_BYTES / 4), np.zeros(PACK_LIMIT_BYTES)]
    frames = [bytearray(frame) for frame in encode([component(value) for value in values])]

    for message, frame in zip(decode(frames), frames[1:], strict=True):
        assert isinstance(message, Component)
        assert np.shares_memory(message.value, np.frombuffer(frame, np.uint8))
        assert not message.value.flags.writeable


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_arrays_of_the_header_are_read_only_and_aligned(dtype: np.dtype[np.generic]) -> None:
    for array in sent(np.ones(1, np.int8), np.ones(3, dtype), np.ones((), dtype)):
        assert array.flags.aligned
        assert not array.flags.writeable


@pytest.mark.parametrize("size", [5, 30, 300], ids=["in the header", "packed", "own frame"])
def test_arrays_of_any_memory_layout_are_sent(size: int) -> None:
    array = np.arange(size * size, dtype=np.float64).reshape(size, size)
    layouts = [array.T, array[::2, ::-1], np.asfortranarray(array), array.astype(">f8")]

    for expected, got in zip(layouts, sent(*layouts), strict=True):
        assert (expected == got).all()
        assert got.dtype == np.float64


def test_arrays_without_dimensions_or_elements_are_sent() -> None:
    arrays = [np.asarray(2.5), np.zeros((0, 4), np.int8), np.zeros((3, 0, 2), np.complex128)]

    assert [array.shape for array in arrays] == [array.shape for array in sent(*arrays)]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (np.float32(1), "not float32: use np.asarray"),
        ([1.0], "not list"),
        (np.array([object()]), "dtype object"),
        (np.array(["a"]), "dtype <U1"),
        (np.ma.masked_array([1.0]), "not MaskedArray"),
    ],
)
def test_unsupported_arrays_are_refused(value: Array, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        encode([component(value)])


def test_a_number_of_more_than_64_bits_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 64 bits"):
        encode([Start(call_id=2**64, function_id="f", arguments=Payload(None), present=2)])


def test_an_envelope_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SHORT_HEADER_BYTES", 0)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 800)
    monkeypatch.setattr(limits, "MAX_HEADER_BYTES", 100)
    with pytest.raises(SizeError, match=r"the limit is 100\. Use NumPy"):
        encode([Start(call_id=1, function_id="f", arguments=Payload([1] * 100), present=2)])


def test_text_that_is_not_unicode_is_sent() -> None:
    text = "\udcff"  # os.fsdecode returns such text for a byte that is not valid UTF-8
    report = Report(output=text)
    raised = Raised(call_id=1, exception=Payload(None), traceback=text, report=report)

    (message,) = decode(encode([raised]))

    assert isinstance(message, Raised)
    assert text == message.traceback == message.report.output


def test_all_frames_have_a_type_that_a_socket_can_send() -> None:
    frames = encode([component(np.zeros(PACK_LIMIT_BYTES, np.bool_))])
    assert all(isinstance(frame, Frame) for frame in frames)
