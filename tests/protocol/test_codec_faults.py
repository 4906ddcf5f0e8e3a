"""A malformed envelope raises ProtocolError and no other error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import messages
from varsim.errors import ProtocolError
from varsim.protocol import codec, limits
from varsim.protocol.buffers import PACK_LIMIT_BYTES, SHARED
from varsim.protocol.codec import MESSAGES, PROTOCOL_VERSION, decode, encode
from varsim.protocol.limits import MAX_DIMENSIONS
from varsim.protocol.messages import Commit, Component, Forget, Message, Payload, Start
from varsim.protocol.structure import unpack
from varsim.protocol.tree import Tag


def header(*bodies: Any, packed: Any = b"", version: Any = PROTOCOL_VERSION) -> bytes:
    """Return frame 0.

    Args:
        packed: The bytes of the small arrays. If frame 1 has these bytes: their number.
    """
    made: bytes = msgpack.packb([version, packed, bodies])
    return made


def tag(cls: type[Message]) -> int:
    return MESSAGES.index(cls)


def component(*descriptor: Any) -> list[Any]:
    return [tag(Component), 1, 2, 3, list(descriptor)]


F8 = 3  # the code of float64 in a descriptor


@pytest.mark.parametrize(
    ("frames", "problem"),
    [
        ([], "no frames"),
        ([b""], "not msgpack"),
        ([b"\xc1"], "not msgpack"),
        ([b"\x93\x01\x00"], "not msgpack"),
        ([b"\xdd\xff\xff\xff\xff"], "not msgpack"),
        ([b"\x91" * 5000 + b"\x01"], "not msgpack"),
        ([msgpack.packb({})], "not \\[version"),
        ([header(version=1)], f"protocol version 1; this is version {PROTOCOL_VERSION}"),
        ([header(version=True)], "protocol version True"),
        ([header(packed="a")], "not \\[version"),
        ([header(packed=None)], "not \\[version"),
        ([header(packed=True), b"x"], "not \\[version"),
        ([header(packed=16)], "have 0 bytes; the header says 16"),
        ([header(packed=16), b"x"], "have 1 bytes; the header says 16"),
        ([header(packed=0), b"x"], "have 1 bytes; the header says 0"),
        ([header(packed=-1)], "the header says -1"),
        ([header(packed=b"x")], "more array bytes were sent"),
        ([header(), b"x"], "more array bytes were sent"),
        ([header(1)], "not \\[tag"),
        ([header([])], "not \\[tag"),
        ([header([99])], "no message has the tag 99"),
        ([header([-1])], "no message has the tag -1"),
        ([header([True])], "no message has the tag True"),
        ([header([[]])], "no message has the tag"),
        ([header([tag(Component), 1])], "Component cannot have the fields"),
        ([header([tag(Component), 1, 2, "3", [F8]])], "Component cannot have the fields"),
        ([header([tag(Component), 1, 2, True, [F8]])], "Component cannot have the fields"),
        ([header([tag(Forget), [1, "2"], []])], "values of a wrong type"),
        (
            [header([tag(Commit), 0, 1, [F8, 0], [F8, 0], 99, [F8]])],
            "99 is not the index of one of Operation.CREATE",
        ),
        ([header([tag(Start), 1, "f", [None], 2])], "a payload is not"),
        ([header([tag(Start), 1, "f", [None, [1]], 2])], "1 is not an array descriptor"),
        ([header(component())], "descriptor has the wrong length 0"),
        ([header(component(F8, *[1] * (MAX_DIMENSIONS + 1)))], "descriptor has the wrong length"),
        ([header(component(99))], "no dtype has the code 99"),
        ([header(component(F8, -1))], "invalid number -1"),
        ([header(component(F8, "a"))], "invalid number 'a'"),
        ([header(component(F8, True))], "invalid number True"),
        ([header(component(F8, 2**40))], "invalid number 1099511627776"),
        ([header(component(F8, *[2**34] * 64))], "more large arrays than were sent"),
        ([header(component(F8, 0, *[2**34] * 63))], "an array of shape"),
        ([header(component(F8, 3))], "more small arrays than were sent"),
        ([header(component(F8, 3), packed=16), bytes(16)], "more small arrays"),
        ([header(component(F8, 3), packed=bytes(16))], "more small arrays"),
        ([header(component(F8, 1), packed=32), bytes(32)], "more array bytes"),
        ([header(component(F8, 1), packed=bytes(32))], "more array bytes"),
        ([header(component(SHARED + F8, 0, 2**20, 0, 2**15))], "no dtype has the code 67"),
        ([header(component(F8, PACK_LIMIT_BYTES)), b"x"], "its frame has 1"),
    ],
)
def test_a_malformed_envelope_is_refused(frames: list[bytes], problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        decode(frames)


def test_a_header_that_is_too_long_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "SHORT_HEADER_BYTES", 0)
    monkeypatch.setattr(limits, "MAX_DECODED_BYTES", 800)
    monkeypatch.setattr(limits, "MAX_HEADER_BYTES", 100)
    with pytest.raises(ProtocolError, match="has 101 bytes; the limit is 100"):
        decode([bytes(101)])


@given(st.lists(messages, max_size=3), st.data())
def test_a_changed_envelope_raises_no_other_error(
    envelope: list[Message], data: st.DataObject
) -> None:
    """Bytes of the header are changed, inserted or removed; frames are lost, doubled or swapped."""
    frames = [bytearray(frame) for frame in encode(envelope)]
    for _ in range(data.draw(st.integers(1, 3))):
        frame = data.draw(st.sampled_from(frames))
        offset = data.draw(st.integers(0, len(frame)))
        match data.draw(st.sampled_from(["change", "insert", "cut", "lose", "double", "swap"])):
            case "change":
                frame[offset : offset + 1] = data.draw(st.binary(min_size=1, max_size=1))
            case "insert":
                frame[offset:offset] = data.draw(st.binary(max_size=9))
            case "cut":
                del frame[offset : offset + data.draw(st.integers(1, 9))]
            case "lose" if len(frames) > 1:
                frames = frames[1:]
            case "double":
                frames = [*frames, frame]
            case _:
                frames = frames[::-1]
    with suppress(ProtocolError):
        decode(frames)


@given(st.lists(st.binary(max_size=64), max_size=3))
def test_random_frames_raise_no_other_error(frames: list[bytes]) -> None:
    with suppress(ProtocolError):
        decode(frames)


class NoReferences:
    """A table of named objects, without entries."""

    def name_of(self, value: object) -> None:
        return None

    def find(self, name: tuple[Any, ...]) -> object:
        raise ProtocolError(f"no {name}")


trees = st.recursive(
    st.none() | st.integers(-1, 10) | st.text(max_size=3) | st.binary(max_size=3) | st.floats(),
    # All tags except PICKLE, because only trusted peers are allowed to send pickles.
    lambda parts: st.tuples(
        st.sampled_from([*set(Tag) - {Tag.PICKLE}, -1, 99]), st.lists(parts, max_size=4)
    ).map(lambda both: [int(both[0]), *both[1]]),
)
contents = st.binary() | trees.map(msgpack.packb)


@given(
    trees | st.sampled_from([[Tag.TREE, 0], [Tag.NUMBERS, Tag.LIST, 0]]),
    st.lists(contents.map(lambda content: np.frombuffer(content, np.uint8)), max_size=2),
)
def test_a_malformed_structure_raises_no_other_error(tree: Any, arrays: list[Any]) -> None:
    with suppress(ProtocolError):
        unpack(Payload(tree, tuple(arrays)), NoReferences())
