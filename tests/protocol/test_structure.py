"""A received structure of Python values equals the sent structure, and shares no memory."""

from __future__ import annotations

import pickle
import subprocess
import sys
import threading
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.effort import thorough
from tests.protocol.samples import arrays, plain
from varsim.errors import ProtocolError, ShapeError, SizeError
from varsim.extent import extent_of
from varsim.protocol import packer, pickling, structure
from varsim.protocol.codec import decode, encode
from varsim.protocol.limits import MAX_FRAME_BYTES, MAX_NESTING, check_nesting
from varsim.protocol.messages import Payload, Start
from varsim.protocol.references import Name
from varsim.protocol.structure import function_id, pack, unpack
from varsim.protocol.tree import LONG_BYTES, MAX_DEPTH, Tag
from varsim.spec import Array, VariableAggregation


class Thing:
    """An object that is sent by name."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __reduce__(self) -> str:
        raise AssertionError("it must not be pickled")


class Things:
    """A table of three objects with names."""

    def __init__(self) -> None:
        self.known = [Thing(number) for number in range(3)]

    def name_of(self, value: object) -> Name | None:
        return ("thing", value.number) if isinstance(value, Thing) else None

    def find(self, name: Name) -> object:
        kind, number = name
        assert kind == "thing"
        return self.known[number]


HERE, THERE = Things(), Things()

Point = namedtuple("Point", "x y")  # noqa: PYI024 - programs of users do this


def travelled(value: Any) -> Any:
    """Send a value as to another process, in an envelope, and return the received value."""
    start = Start(call_id=1, function_id="f", arguments=pack(value, HERE), present=2)
    (message,) = decode([bytes(frame) for frame in encode([start])])
    assert isinstance(message, Start)
    return unpack(message.arguments, THERE)


keys = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.binary(max_size=4)
leaves = (
    keys
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.sampled_from(VariableAggregation)
)
structures = st.recursive(
    leaves,
    lambda parts: (
        st.lists(parts, max_size=3)
        | st.lists(parts, max_size=3).map(tuple)
        | st.dictionaries(keys | st.tuples(keys), parts, max_size=3)
    ),
    max_leaves=8,
)


@given(structures)
def test_python_values_are_sent(value: Any) -> None:
    got = travelled(value)
    assert value == got
    assert repr(value) == repr(got)  # the texts, because 1, 1.0 and True are equal


@given(arrays)
def test_arrays_are_sent(array: Array) -> None:
    assert plain(array) == plain(travelled({"a": array})["a"])


@pytest.mark.parametrize("scalar", [np.float32(1.5), np.int64(-3), np.bool_(True), np.float16(2)])
def test_numpy_scalars_stay_numpy_scalars(scalar: Any) -> None:
    got = travelled(scalar)
    assert (type(scalar), scalar) == (type(got), got)


@pytest.mark.parametrize(
    "value",
    [
        "x" * LONG_BYTES,
        "\udcff" * LONG_BYTES,
        b"y" * LONG_BYTES,
        10**5000,
        -(2**64),
        float("inf"),
        OrderedDict(a=1),
        Point(1, 2),
        {1, 2},
        bytearray(b"abc"),
        range(3),
        np.dtype("float32"),
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_of_other_types_are_pickled(value: Any) -> None:
    got = travelled(value)
    assert (type(value), value) == (type(got), got)


@pytest.mark.parametrize("dtype", [">f8", "U3", "M8[s]", "O"])
def test_arrays_of_other_dtypes_are_sent(dtype: str) -> None:
    array = np.zeros(3, "f8").astype(dtype)
    got = travelled(array)
    assert (array.dtype, list(array)) == (got.dtype, list(got))


def test_received_arrays_can_be_written_to() -> None:
    got = travelled((np.zeros(3), np.zeros(LONG_BYTES), [np.zeros(3)], np.zeros(3, ">f8")))
    for array in (got[0], got[1], got[2][0], got[3]):
        array[:] = 1


def test_a_received_array_does_not_share_the_senders_memory() -> None:
    original = np.zeros(3)
    unpack(pack(original, HERE), THERE)[:] = 1
    assert [0, 0, 0] == list(original)


def test_an_array_that_occurs_twice_is_sent_once() -> None:
    array = np.zeros(3)

    first, (second,) = travelled((array, [array]))

    assert first is second
    assert 1 == len(pack((array, [array]), HERE).arrays)


def test_arrays_are_never_pickled() -> None:
    """This holds for arrays in structures and in pickled objects."""
    array = np.full(100, 7.0)
    for value in (array, {"a": [array]}, Point(array, 1), lambda: array, ValueError(array)):
        payload = pack(value, HERE)
        assert array.tobytes() not in repr(payload.tree).encode()
        assert [800] == [packed.nbytes for packed in payload.arrays]


def test_objects_with_a_name_are_sent_by_name() -> None:
    one, two = HERE.known[1:]

    got = travelled({"a": (one, [two]), two: 1})

    assert THERE.known[1] is got["a"][0]
    assert THERE.known[2] is got["a"][1][0]
    assert THERE.known[2] in got


def closure(thing: Thing, factor: float) -> Callable[[float], tuple[Thing, float]]:
    def step(x: float) -> tuple[Thing, float]:
        return thing, x * factor

    return step


def test_objects_with_a_name_are_found_in_functions_and_objects() -> None:
    thing, product = travelled(closure(HERE.known[1], 2.0))(3.0)
    assert (THERE.known[1], 6.0) == (thing, product)
    assert THERE.known[2] is travelled(Point(HERE.known[2], 0)).x


def test_a_lambda_with_state_is_sent() -> None:
    weights = np.arange(3.0)
    got = travelled(lambda x: float(weights @ x))
    assert 5.0 == got(np.arange(3.0))


def test_a_class_that_is_defined_in_a_function_is_sent() -> None:
    class LocalClass:
        value = 3

    assert 3 == travelled(LocalClass)().value


def test_exceptions_are_sent_as_other_objects_are() -> None:
    """Only an exception that a function raises has a plain form."""
    problem = ShapeError("w", "it is too long")
    assert str(problem) == str(travelled(problem))


def test_a_class_keeps_its_qualified_name() -> None:
    class LocalClass:
        pass

    name = "test_a_class_keeps_its_qualified_name.<locals>.LocalClass"
    program = f"""
import pickle, sys
class Nothing:
    def find(self, name): return None
from varsim.protocol.pickling import loads
assert {name!r} == loads(pickle.load(sys.stdin.buffer), [], Nothing()).__qualname__
"""
    pickled, _ = pickling.dumps(LocalClass, HERE)
    command = [sys.executable, "-c", program]
    assert 0 == subprocess.run(command, input=pickle.dumps(pickled), check=False).returncode


@pytest.mark.parametrize("depth", [MAX_DEPTH - 1, MAX_DEPTH + 1, MAX_NESTING])
def test_deep_structures_are_sent(depth: int) -> None:
    value: Any = HERE.known[1]
    for _ in range(depth):
        value = [value]

    got = travelled(value)

    for _ in range(depth):
        (got,) = got
    assert THERE.known[1] is got


@pytest.mark.parametrize("depth", [MAX_NESTING + 1, 900, thorough(100_000)])
def test_structures_that_are_too_deep_are_refused(depth: int) -> None:
    value: Any = [0]
    for _ in range(depth - 1):
        value = [value]
    with pytest.raises(SizeError, match=f"nested {depth:,} levels deep.*the limit is 256"):
        pack(value, HERE)


def test_a_large_structure_that_is_too_deep_for_python_is_refused() -> None:
    value: Any = [0]
    for _ in range(10_000):
        value = [value]
    with pytest.raises(SizeError, match="nested 10,002 levels deep"):
        pack([*range(structure.MAX_TREE_BYTES), value], HERE)


def test_a_shared_part_of_a_structure_is_examined_once() -> None:
    value: Any = []
    for _ in range(100):
        value = [value, value]
    check_nesting(value)


def test_the_extent_of_a_structure_counts_each_occurrence() -> None:
    pair = [1, 2]
    loop: list[Any] = [pair]
    assert (0, 1, False) == extent_of("a")
    assert (2, 9, False) == extent_of({"a": pair, "b": pair})
    loop.append(loop)
    assert (2, 5, True) == extent_of(loop)


def test_the_depth_of_a_structure_with_many_ways_to_its_end_is_found_in_one_pass() -> None:
    inner: list[Any] = [0]
    outer: list[Any] = [[0]]
    for _ in range(20_000):
        inner, outer = outer, [outer, inner]
    assert 20_002 == extent_of(outer).levels


@pytest.mark.parametrize("digits", [100, LONG_BYTES])
def test_integers_of_many_digits_take_little_space_in_a_header(digits: int) -> None:
    value = [16**digits + i for i in range(2_000)]
    payload = pack(value, HERE)
    assert value == travelled(value)
    assert len(encode([Start(call_id=1, function_id="f", arguments=payload, present=2)])[0]) < 2**19


def test_a_too_large_array_is_refused_without_a_copy() -> None:
    array = np.broadcast_to(np.int8(0), (MAX_FRAME_BYTES + 1,))
    with pytest.raises(SizeError, match="17,179,869,185 bytes; the limit is 17,179,869,184"):
        pack({"grads": [array]}, HERE)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(list(range(200)), id="many numbers"),
        pytest.param({"a" * 30 + str(i): None for i in range(40)}, id="long names"),
        pytest.param([b"b" * 500, b"c" * 501], id="bytes"),
        pytest.param([np.full(2, i) for i in range(20)], id="many arrays"),
    ],
)
def test_a_large_structure_takes_little_space_in_a_header(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure, "MAX_TREE_BYTES", 1000)
    monkeypatch.setattr(packer, "LONG_BYTES", 600)
    monkeypatch.setattr(packer, "MAX_ARRAYS", 3)
    monkeypatch.setattr(pickling, "MAX_BUFFERS", 3)

    payload = pack(value, HERE)
    assert len(repr(payload.tree)) < 1000
    assert len(payload.arrays) <= 4
    np.testing.assert_equal(travelled(value), value)


numbers = st.floats(allow_nan=False) | st.booleans() | st.integers()


@given(st.lists(numbers, max_size=5).map(lambda some: some * 20))
def test_long_lists_of_numbers_keep_the_class_of_each_number(value: list[Any]) -> None:
    for sent in (value, tuple(value), [value, 1]):
        got = travelled(sent)
        assert repr(sent) == repr(got)
        assert type(sent) is type(got)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(list(range(10_000)), id="integers"),
        pytest.param([None, *map(float, range(8_000))], id="numbers and None"),
        pytest.param({f"key {i}": (i, [str(i)]) for i in range(2_000)}, id="rows"),
        pytest.param([2**100 + i for i in range(10_000)], id="long integers"),
        pytest.param([np.full(3, i) for i in range(900)] + ["x"] * 10_000, id="arrays"),
        pytest.param(["\ud800" * 100] * 1_000, id="surrogates"),
    ],
)
def test_large_structures_are_not_pickled(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "loads", None)

    np.testing.assert_equal(travelled(value), value)


def test_a_large_structure_can_contain_objects_that_are_sent_as_names() -> None:
    assert travelled([*map(str, range(10_000)), HERE.known[1]])[-1] is THERE.known[1]


@pytest.mark.parametrize("part", [[1], (1,), {1: 1}])
def test_an_object_that_a_large_structure_contains_twice_stays_one_object(part: Any) -> None:
    got = travelled([part, *map(str, range(10_000)), part])
    assert got[0] is got[-1]


@pytest.mark.parametrize("count", [-1, 0, 1])
def test_structures_with_about_the_limit_of_arrays_are_sent(count: int) -> None:
    value = [np.full(1, i) for i in range(packer.MAX_ARRAYS + count)]
    np.testing.assert_equal(travelled(value), value)


@pytest.mark.parametrize("depth", range(MAX_DEPTH - 2, MAX_DEPTH + 2))
def test_large_structures_with_about_the_limit_of_levels_are_sent(depth: int) -> None:
    value: Any = [*map(str, range(10_000))]
    for _ in range(depth):
        value = [value]
    assert value == travelled(value)


def test_a_large_structure_with_an_object_without_a_plain_form_is_sent() -> None:
    value = [*map(str, range(10_000)), {1, 2}]
    assert value == travelled(value)


def test_a_structure_whose_tree_would_be_very_large_is_packed_at_once() -> None:
    value: Any = ["x" * 100] * 1_000
    for _ in range(40):
        value = [value, value]
    got = travelled(value)
    assert got[0] is got[1]


@pytest.mark.parametrize("limit_bytes", [50_000, 200_000])
def test_a_tree_that_takes_too_much_memory_is_pickled(
    limit_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit is checked before the tree is encoded, and exactly afterwards."""
    monkeypatch.setattr(packer, "MAX_LARGE_TREE_BYTES", limit_bytes)
    value = [*map(str, range(10_000))]
    assert value == travelled(value)
    assert Tag.PICKLE == pack(value, HERE).tree[0]


def test_a_received_tree_that_takes_too_much_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    payload = pack([*map(str, range(10_000))], HERE)
    assert Tag.TREE == payload.tree[0]
    monkeypatch.setattr(structure, "MAX_LARGE_TREE_BYTES", 200_000)
    with pytest.raises(ProtocolError, match="more memory than any structure"):
        unpack(payload, THERE)


def test_a_structure_may_contain_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    got = travelled(loop)
    assert got[0][0] is got


def test_unpicklable_values_are_refused() -> None:
    with pytest.raises(TypeError, match="this lock cannot be sent to another process"):
        pack(threading.Lock(), HERE)


def test_the_id_of_a_function_depends_on_its_content() -> None:
    def id_of(factor: float, size: int = 3) -> str:
        return function_id(pack((closure(HERE.known[0], factor), np.ones(size)), HERE))

    assert id_of(2.0) == id_of(2.0)
    assert 4 == len({id_of(2.0), id_of(3.0), id_of(2.0, 4), function_id(Payload(None))})


def test_cloudpickle_is_imported_only_if_needed() -> None:
    program = """
import sys
from varsim.protocol.structure import pack
class Nothing:
    def name_of(self, value): return None
pack([1, "a", {"b": (None,)}], Nothing())
assert "cloudpickle" not in sys.modules
pack(lambda: 1, Nothing())
assert "cloudpickle" in sys.modules
"""
    assert 0 == subprocess.run([sys.executable, "-c", program], check=False).returncode
