"""A structure with more arrays than a header describes arrives without a pickle."""

from __future__ import annotations

from typing import Any

import msgpack
import numpy as np
import pytest

from tests.protocol.test_exceptions import arrived
from tests.protocol.test_structure import HERE, THERE, travelled
from varsim.errors import ProtocolError
from varsim.protocol import packer, pickling, structure
from varsim.protocol.messages import Payload
from varsim.protocol.pooled_arrays import PoolWriter, ReceivedPool
from varsim.protocol.structure import pack, unpack
from varsim.protocol.tree import LONG_BYTES, Tag

FEW = 64
"""The limit of arrays in these tests: their structures are small then."""

MANY = 3 * FEW

VALUES = [
    pytest.param([np.full(3, i, np.float32) for i in range(MANY)], id="arrays"),
    pytest.param([np.full((), i, np.int16) for i in range(MANY)], id="arrays of one item"),
    pytest.param([np.empty((0, 3)) for _ in range(MANY)], id="empty arrays"),
    pytest.param([np.bool_(i % 2) for i in range(MANY)], id="scalars"),
    pytest.param({f"{i}": (np.full(2, i), None) for i in range(MANY)}, id="dict"),
    pytest.param([f"{i}" * LONG_BYTES for i in range(10)] + [np.ones(1)] * MANY, id="texts"),
    pytest.param([[1.5 * i] * 64 for i in range(FEW + 9)], id="lists of numbers"),
]


@pytest.fixture(autouse=True)
def few_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lower the limits of a header in the same proportion."""
    monkeypatch.setattr(packer, "MAX_ARRAYS", FEW)
    monkeypatch.setattr(structure, "MAX_TREE_BYTES", structure.MAX_TREE_BYTES * FEW // 1024)


@pytest.mark.parametrize("value", VALUES)
def test_a_result_with_many_arrays_arrives(value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickling, "loads", None)
    got = travelled(value)

    np.testing.assert_equal(got, value)
    assert len(pack(value, HERE).arrays) < FEW


@pytest.mark.parametrize("value", VALUES)
def test_an_exception_with_many_arrays_has_all_of_them(value: Any) -> None:
    error = ValueError("no batch fits", value)
    error.add_note("a note")
    got = arrived(error)

    assert ("no batch fits", type(value)) == (got.args[0], type(got.args[1]))
    np.testing.assert_equal(got.args[1], value)
    assert ["a note"] == got.__notes__


def test_an_exception_with_thousands_of_arrays_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """This is the limit of a real header."""
    monkeypatch.undo()
    value = [np.full(3, i) for i in range(3000)]

    np.testing.assert_equal(arrived(ValueError(value)).args[0], value)


def test_many_large_arrays_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packer, "MAX_ARRAYS", 8)
    monkeypatch.setattr(structure, "MAX_TREE_BYTES", 8 * 64)
    monkeypatch.setattr(pickling, "loads", None)
    value = [np.full(LONG_BYTES, i, np.uint8) for i in range(20)]

    np.testing.assert_equal(travelled(value), value)


def test_an_array_that_occurs_twice_among_many_stays_one_array() -> None:
    first, last = np.zeros(2), np.zeros(2)
    got = travelled([first, *[np.zeros(1) for _ in range(MANY)], last, last, first])

    assert got[0] is got[-1]
    assert got[-2] is got[-3]
    assert got[-1] is not got[-2]
    got[-2][0] = 1.0
    assert [0.0, 0.0] == got[-1].tolist()


def test_a_place_is_found_only_in_the_pool_of_its_tree() -> None:
    arrays = tuple(np.frombuffer(msgpack.packb([Tag.ARRAY, [0, [1], 0]]), np.uint8) for _ in "12")
    pool = np.zeros(64, np.uint8)

    with pytest.raises(ProtocolError, match="the payload has no array"):
        unpack(Payload([Tag.ARRAY, [0, [1], 0]], (*arrays, pool)), THERE)
    with pytest.raises(ProtocolError, match="the payload has no array"):
        unpack(Payload([Tag.TREE, 0], (*arrays, pool)), THERE)
    unpack(Payload([Tag.TREE, 0, 2], (*arrays, pool)), THERE)
    first_has_one = [Tag.TUPLE, [Tag.TREE, 0, 2], [Tag.TREE, 1]]
    with pytest.raises(ProtocolError, match="the payload has no array"):
        unpack(Payload(first_has_one, (*arrays, pool)), THERE)


CODE = PoolWriter().add(np.zeros(1))[0]


@pytest.mark.parametrize(
    "place",
    [
        [],
        [CODE, [1]],
        [CODE, [1], 0, 0],
        ["f8", [1], 0],
        [CODE, 1, 0],
        [CODE, [-1], 0],
        [CODE, [1.0], 0],
        [CODE, [True], 0],
        [CODE, [1] * 65, 0],
        [CODE, [3], 0],
        [CODE, [2], 1],
        [CODE, [1], -1],
        [CODE, [0], 17],
        [CODE, [2**62, 8], 0],
        [-1, [1], 0],
        [9999, [1], 0],
    ],
)
def test_a_wrong_place_is_refused(place: list[Any]) -> None:
    pool = ReceivedPool(np.zeros(16, np.uint8))

    with pytest.raises(ProtocolError):
        pool.find(place)
    assert 2 == pool.find([CODE, [2], 0]).size


def test_found_arrays_are_together_not_larger_than_the_pool() -> None:
    """Otherwise a small message could let the receiver allocate any amount of memory."""
    pool = ReceivedPool(np.zeros(16, np.uint8))
    pool.find([CODE, [1], 0])
    pool.find([CODE, [1], 0])
    pool.find([CODE, [1], 1])

    with pytest.raises(ProtocolError, match="does not have all"):
        pool.find([CODE, [1], 2])


@pytest.mark.parametrize("pool", [np.zeros((2, 2), np.uint8), np.zeros(2)])
def test_a_pool_of_another_form_is_refused(pool: Any) -> None:
    with pytest.raises(ProtocolError, match="a pool of arrays is malformed"):
        ReceivedPool(pool)
