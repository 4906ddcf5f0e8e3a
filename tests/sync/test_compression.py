"""The compressors: what they send, what is restored, and which parts are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties import compression_model
from varsim.analysis.compression import approximation, is_approximation, is_compressor
from varsim.errors import ConfigError
from varsim.sync.compression import compressor_named, form_of, packed
from varsim.tracing import compressed_parts as recorded

NAMES = compression_model.NAMES
DTYPES = (np.float32, np.float64)


def array(values, dtype=np.float32):
    return np.array(values, dtype)


def sent(name, values):
    """Return what a compressor restores of a value."""
    by = compressor_named(name)
    return by.unpack(by.pack(values), form_of(values)).tolist()


# ---------------------------------------------------------------- examples


def test_fp16_rounds_to_the_nearest_even_half():
    values = [1.0, 2049.0, 2051.0, 1e-8, -0.1]
    assert [1.0, 2048.0, 2052.0, 0.0, -0.0999755859375] == sent("fp16", array(values))


def test_fp16_limits_finite_numbers_and_keeps_infinities():
    assert [65504.0, -65504.0, np.inf] == sent("fp16", array([1e9, -70000.0, np.inf]))


def test_top_k_keeps_the_largest_and_of_equal_ones_the_first():
    assert [0, -3, 0, 2, 0, 0] == sent("top_k:0.3", array([1, -3, 1, 2, -2, 0]))
    assert [-2, 2, 0, 0] == sent("top_k:0.5", array([-2, 2, -2, 2]))


def test_the_number_of_kept_elements_is_rounded_up():
    assert [7.0] == sent("top_k:0.01", array([7.0]))
    kept = [np.count_nonzero(sent("top_k:0.07", np.ones(n, "f"))) for n in (100, 101)]
    assert [7, 8] == kept  # 0.07 · 100 is above 7 in floating point


def test_one_bit_sends_the_means_of_positive_and_of_other_elements():
    assert [2.0, -1.5, 2.0, -1.5] == sent("one_bit", array([1, -3, 3, 0]))


def test_one_bit_sends_bits_from_the_highest():
    bits, means = compressor_named("one_bit").pack(array([1, -1, 1, 1, -1, -1, -1, -1, 1]))
    assert ([0b10110000, 0b10000000], [1.0, -1.0]) == (bits.tolist(), means.tolist())


@pytest.mark.parametrize(
    ("name", "size_bytes"), [("fp16", 2000), ("top_k:0.01", 80), ("one_bit", 133)]
)
def test_the_parts_have_the_documented_size(name, size_bytes):
    by, values = compressor_named(name), np.ones(1000, "f")

    assert size_bytes == sum(part.nbytes for part in by.pack(values))
    assert size_bytes == by.size_bytes(form_of(values))


def test_a_residual_is_what_the_restored_value_lacks():
    made = packed(compressor_named("top_k:0.5"), array([1, 4]), array([2, -2]))
    assert ([3, 0], [0, 2]) == (made.restored.tolist(), made.residual.tolist())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_residual_is_finite_whatever_is_sent(name, bad):
    made = packed(compressor_named(name), array([1.0, bad, -2.0, 0.5]), None)

    assert np.isfinite(made.residual).all()
    assert not np.isfinite(made.restored).all()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "zip",
        "fp16:1",
        "one_bit:2",
        "top_k",
        "top_k:",
        "top_k:0",
        "top_k:0.51",
        "top_k:1",
        "top_k:1e-3",
        "top_k:-0.1",
        "top_k:0.0",
        "top_k:nan",
        "top_k:0.1:0.1",
    ],
)
def test_an_unknown_compressor_is_an_error(name):
    with pytest.raises(ConfigError, match=r"compressor|ratio"):
        compressor_named(name)
    assert not is_compressor(name)


def test_a_ratio_has_one_name():
    assert "top_k:0.00001" == compressor_named("top_k:.000010").name


# ---------------------------------------------------------------- models


@st.composite
def values(draw):
    """Draw a value; equal elements are frequent."""
    dtype = draw(st.sampled_from(DTYPES))
    largest = draw(st.sampled_from([2.0, 1e3, 1e6]))
    number = st.floats(-largest, largest, width=32) | st.sampled_from([-1.0, 0.0, 1.0])
    return array(draw(st.lists(number, max_size=40)), dtype)


@given(values(), st.sampled_from(NAMES))
def test_restored_values_equal_a_plain_model(value, name):
    """The engine, the judge and the reader of records have code of their own."""
    expected = array(compression_model.restored(name, list(value)), value.dtype)
    by = compressor_named(name)
    parts = by.pack(value)

    found = by.unpack(parts, form_of(value))

    assert by.fits(parts, form_of(value))
    assert value.dtype == found.dtype
    np.testing.assert_allclose(found, expected, rtol=1e-6 if name == "one_bit" else 0)
    np.testing.assert_array_equal(found, recorded.restored(parts, value.size, value.dtype))
    assert is_approximation(name, value, found)
    np.testing.assert_allclose(approximation(name, value), expected, rtol=1e-6)


@given(st.lists(values(), min_size=1, max_size=6), st.sampled_from(NAMES))
def test_changes_equal_restored_changes_and_the_residual(changes, name):
    """Error feedback loses nothing but roundings."""
    size = min(map(len, changes))
    changes = [change[:size].astype(np.float32) for change in changes]
    by, residual = compressor_named(name), None
    restored = bound = np.zeros(size)
    for change in changes:
        made = packed(by, change, residual)
        restored = restored + made.restored.astype(np.float64)
        bound = bound + 2.0**-23 * (np.abs(made.restored) + 2 * np.abs(made.residual))
        residual = made.residual
    total = sum(change.astype(np.float64) for change in changes)

    assert (np.abs(restored + residual - total) <= bound).all()


@given(values(), st.sampled_from(NAMES), st.data())
def test_parts_of_another_form_are_refused(value, name, data):
    by, form = compressor_named(name), form_of(value)
    parts = list(by.pack(value))
    index = data.draw(st.integers(0, len(parts) - 1))
    wrong = data.draw(
        st.sampled_from(
            [
                np.append(parts[index], parts[index][:1].tolist() or [0]).astype(
                    parts[index].dtype
                ),
                parts[index].astype(np.int64),
                parts[index].reshape(1, -1),
            ]
        )
    )
    parts[index] = wrong

    assert not by.fits(tuple(parts), form)


@pytest.mark.parametrize("indices", [[1, 0], [1, 1], [-1, 1], [1, 4]])
def test_indices_must_ascend_within_the_value(indices):
    value, by = np.ones(4, "f"), compressor_named("top_k:0.5")

    assert by.fits((array([0, 3], np.int32), array([1, 1])), form_of(value))
    assert not by.fits((array(indices, np.int32), array([1, 1])), form_of(value))
