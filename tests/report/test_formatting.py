"""The format of numbers, sizes and names in reports."""

from __future__ import annotations

from typing import Any

import pytest

from varsim.report.formatting import (
    dimensions,
    middle,
    names,
    number,
    reflowed,
    seconds,
    size,
    visible,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (True, "True"),
        (0, "0"),
        (-1234567890, "-1234567890"),
        (12345678901, "1.23e+10"),
        (0.0, "0"),
        (0.88888888, "0.8889"),
        (-1e-12, "-1e-12"),
        ("NaN", "NaN"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        ("x" * 30, "x" * 11 + "…" + "x" * 12),
        ([1, [2.5, None]], "[1 [2.5 –]]"),
    ],
)
def test_long_numbers_are_rounded_or_have_an_exponent(value: Any, expected: str):
    assert expected == number(value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (9 * 1024, "9.00 KiB"),
        (12_345, "12.1 KiB"),
        (1_000_000, "977 KiB"),
        (2**20, "1.00 MiB"),
        (123 * 2**30, "123 GiB"),
        (5000 * 2**30, "5000 GiB"),
    ],
)
def test_a_size_has_the_unit_that_makes_it_short(value: int, expected: str):
    assert expected == size(value)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, "0"), (0.001, "0.00"), (1.5, "1.50"), (1234.5, "1,234")]
)
def test_seconds_below_100_have_hundredths(value: float, expected: str):
    assert expected == seconds(value)


def test_a_long_name_is_cut_in_its_middle():
    assert "layer_1/kernel" == middle("layer_1/kernel", 14)
    assert "layer_…/kernel" == middle("layer_1/dense/kernel", 14)
    assert 5 == len(middle("abcdefghij", 5))
    assert "表…表表" == middle("表" * 9, 8)


def test_a_shape_is_written_as_in_tensorflow():
    assert ("[]", "[2, ?]") == (dimensions([]), dimensions([2, None]))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a"], "a"),
        (["a", "b"], "a and b"),
        (["a", "b", "c"], "a, b and c"),
        (["a", "b", "c", "d"], "a, b and 2 more"),
        (["a", "a", "a"], "a"),
    ],
)
def test_names_are_joined_by_commas_and_and(words: list[str], expected: str):
    assert expected == names(words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("w/kernel:0 – µ\n\tnext", "w/kernel:0 – µ\n\tnext"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("over\rwritten\x07\x7f", r"over\x0dwritten\x07\x7f"),
        ("a line\r\nanother", "a line\nanother"),
        ("\x9b2J", r"\x9b2J"),
        ("\u202eesrever\u2066", r"\u202eesrever\u2066"),
    ],
)
def test_control_characters_are_made_visible(text: str, expected: str):
    """These include one-byte control characters, and those that change the direction of text."""
    assert expected == visible(text) == visible(visible(text))


def test_paragraphs_are_filled_and_lists_keep_their_lines():
    docstring = "One.\n\nMany words in\ntwo lines.\n\n    a  of a list\n    b  with words\n"

    assert [
        *("One.", "", "Many words in", "two lines.", "", "    a  of a list"),
        *("    b  with", "      words"),
    ] == reflowed(docstring, 16)
