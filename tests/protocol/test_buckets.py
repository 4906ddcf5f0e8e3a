"""The arrangement of writes in buckets."""

from __future__ import annotations

import numpy as np
import pytest

from tests.sync.build import ADD, ASSIGN, FIRST, MEAN, SUB, U, V, W, array, spec
from varsim.protocol.buckets import PACK_LIMIT_BYTES, arrange, unpack
from varsim.protocol.messages import Write
from varsim.sync.block import Block

THREE = {W: spec(), V: spec(variable_id=V), U: spec(variable_id=U)}


def wrote(variable_id, operation=ASSIGN, shape=()):
    return Write(variable_id, operation, shape, "")


def together(writes, specs=THREE):
    """Return the positions of the writes in each bucket."""
    return [bucket.positions for bucket in arrange(writes, specs)]


def test_writes_with_the_same_settings_and_operation_are_in_one_bucket():
    (bucket,) = arrange([wrote(U), wrote(W), wrote(V)], THREE)

    assert (0, 1, 2) == bucket.positions
    assert [U, W, V] == bucket.variable_ids.tolist()
    assert (3,) == bucket.shape


def test_writes_of_different_shapes_are_in_one_bucket():
    specs = {W: spec(shape=(2, 3)), V: spec(variable_id=V), U: spec(variable_id=U, shape=(0, 4))}
    (bucket,) = arrange([wrote(W, shape=(2, 3)), wrote(V), wrote(U, shape=(0, 4))], specs)

    assert (7,) == bucket.shape


def test_one_write_alone_keeps_its_shape():
    (bucket,) = arrange([wrote(W, shape=(2, 3))], {W: spec(shape=(2, 3))})

    assert (2, 3) == bucket.shape


@pytest.mark.parametrize(
    "other",
    [spec(MEAN, variable_id=V), spec(FIRST, variable_id=V), spec(variable_id=V, dtype="float64")],
    ids=["aggregation", "first only", "dtype"],
)
def test_variables_with_different_settings_are_in_different_buckets(other):
    assert [(0, 2), (1,)] == together([wrote(W), wrote(V), wrote(U)], {**THREE, V: other})


def test_different_operations_are_in_different_buckets():
    writes = [wrote(W, ADD), wrote(V, SUB), wrote(U, ADD)]

    assert [(0, 2), (1,)] == together(writes)


def test_two_writes_of_a_variable_are_in_two_buckets_in_order():
    assert [(0, 1), (2, 3)] == together([wrote(W), wrote(V), wrote(W), wrote(U)])
    assert [(0,), (1,)] == together([wrote(W, ADD), wrote(W)])


def test_a_second_write_of_a_variable_comes_after_all_earlier_writes():
    """The bucket with the add to V comes before the bucket with the second assignment to W."""
    writes = [wrote(W), wrote(V, ADD), wrote(W), wrote(U)]

    assert [(0,), (1,), (2, 3)] == together(writes)


def test_no_write_moves_past_a_write_of_unknown_shape():
    specs = {**THREE, V: spec(variable_id=V, shape=(None,))}
    writes = [wrote(W), wrote(W, ADD), wrote(V, shape=(2,)), wrote(U), wrote(W)]

    assert [(0,), (1,), (2,), (3, 4)] == together(writes, specs)


def test_a_large_value_has_its_own_bucket():
    """A value of exactly `PACK_LIMIT_BYTES` shares a bucket."""
    limit = PACK_LIMIT_BYTES // 4
    specs = {W: spec(shape=(limit,)), V: spec(variable_id=V, shape=(limit + 1,)), U: THREE[U]}
    writes = [wrote(W, shape=(limit,)), wrote(V, shape=(limit + 1,)), wrote(U)]

    assert [(0, 2), (1,)] == together(writes, specs)


def test_without_writes_there_are_no_buckets():
    assert () == arrange([], THREE)


# ---------------------------------------------------------------- unpacking


def unpacked(writes, specs, arrays):
    return unpack(writes, arrange(writes, specs), arrays)


def test_unpacking_gives_every_write_its_value_and_shape():
    specs = {W: spec(shape=(2, 1)), V: spec(variable_id=V), U: spec(MEAN, variable_id=U)}
    writes = [wrote(W, shape=(2, 1)), wrote(U), wrote(V)]
    values = unpacked(writes, specs, [array([1, 2, 3]), array(4)])

    assert [[[1.0], [2.0]], 4.0, 3.0] == [value.tolist() for value in values]


def test_unsent_values_are_unpacked_as_empty_arrays():
    specs = {i: spec(FIRST, variable_id=i) for i in (W, V)}

    assert [0, 0] == [v.size for v in unpacked([wrote(W), wrote(V)], specs, [array([])])]


def test_values_without_elements_keep_their_shape_and_dtype():
    specs = {W: spec(shape=(0, 2)), V: spec(variable_id=V, shape=(3, 0))}
    writes = [wrote(W, shape=(0, 2)), wrote(V, shape=(3, 0))]
    values = unpacked(writes, specs, [array([])])

    assert [(0, 2), (3, 0)] == [value.shape for value in values]
    assert {np.dtype("float32")} == {value.dtype for value in values}


# ---------------------------------------------------------------- blocks


def block():
    return Block(np.array([W, V, U]), [array(1), array([[2, 3]]), array([])], [4, 5, 6])


def test_a_block_has_each_variables_value_and_version():
    b = block()

    assert [1.0, [[2.0, 3.0]], []] == [b.value(slot).tolist() for slot in range(3)]
    assert [4, 5, 6] == b.versions.tolist()


def test_a_value_taken_from_a_block_never_changes():
    b = block()
    before = b.value(1)
    b.install(array([7, 8, 9]), np.array([5, 6, 7]))

    assert [[2.0, 3.0]] == before.tolist()
    assert not before.flags.writeable
    assert [[8.0, 9.0]] == b.value(1).tolist()


def test_a_block_is_split_into_its_variables():
    parts = block().split(array([7, 8, 9]))

    assert [7.0, [[8.0, 9.0]], []] == [part.tolist() for part in parts]
