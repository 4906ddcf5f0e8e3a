"""Names in reports: one name for several variables, and short forms of long names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.effort import many
from varsim.report.grouping import grouped, name_of, pattern_of, short, short_names, without_numbers

LAYERS = [f"encoder/layer_{i:02}/kernel" for i in range(64)]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["w"], "w"),
        (["w", "b"], "w and b"),
        (["w", "b", "c"], "w, b and c"),
        (["w", "b", "c", "d"], "w, b, … (4 variables)"),
        (["w", "w"], "w (2 variables)"),
        (["weights", "bias"], "weights and bias"),
        (LAYERS, "encoder/layer_*/kernel (64 variables)"),
        (LAYERS[:10], "encoder/layer_*/kernel (10 variables)"),
        (["a/layer_1/w", "a/layer_2/b"], "a/layer_*/* (2 variables)"),
        (["a/b/c/w", "a/x/w"], "a/…/w (2 variables)"),
        (["a/b", "a/b/c"], "a/b/… (2 variables)"),
        (["moving_mean", "moving_variance"], "moving_* (2 variables)"),
    ],
)
def test_several_variables_get_one_name_with_their_number(names: list[str], expected: str) -> None:
    assert expected == name_of(names)


def test_the_pattern_of_names_keeps_the_parts_that_all_names_have() -> None:
    assert "a/*/w:0" == pattern_of(["a/x/w:0", "a/y/w:0"])
    assert "…" == pattern_of(["a", "b/c"])


def test_groups_are_in_the_order_of_their_first_items() -> None:
    assert [["a1", "a2"], ["b1"]] == grouped(["a1", "b1", "a2"], lambda word: word[0])


def test_texts_are_compared_without_names_and_numbers() -> None:
    said = without_numbers("w: 6 of 1,200 reads lacked 0.5 of w", "w")

    assert said == without_numbers("v: 7 of 9 reads lacked 12 of v", "v")
    assert said != without_numbers("v: 7 of 9 reads lacked 12 of u", "v")


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (26, "encoder/layer_1/mlp/kernel"),
        (25, "encoder/layer_1/…/kernel"),
        (20, "encoder/…/mlp/kernel"),
        (16, "encoder/…/kernel"),
        (12, "…/mlp/kernel"),
    ],
)
def test_a_long_name_keeps_whole_parts(width: int, expected: str) -> None:
    assert expected == short("encoder/layer_1/mlp/kernel", width)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (40, "encoder/layer_*/kernel (64 variables)"),
        (32, "encoder/…/kernel (64 variables)"),
        (22, "encoder/…/kernel ×64"),
        (21, "encoder/…/kernel ×64"),
        (12, "…/kernel ×64"),
    ],
)
def test_the_number_of_variables_is_not_cut_from_a_name(width: int, expected: str) -> None:
    assert expected == short("encoder/layer_*/kernel (64 variables)", width)


def test_short_names_keep_their_differences() -> None:
    cut = short_names(LAYERS, 16)

    assert "…er_00/kernel" not in cut
    assert 64 == len(set(cut))
    assert all("00" in one or "01" in one for one in cut[:2])


def test_variables_with_the_same_name_are_numbered() -> None:
    assert ["w", "b", "w #2"] == short_names(["w", "b", "w"], 10)


@settings(max_examples=many(60), deadline=None)
@given(
    st.lists(
        st.text("ab/_1\x1b\n\N{CJK UNIFIED IDEOGRAPH-8868}", min_size=1, max_size=30),
        min_size=1,
        max_size=12,
    ),
    st.integers(8, 30),
)
def test_short_names_fit_and_are_distinct(names: list[str], width: int) -> None:

    cut = short_names(names, width)

    assert len(names) == len(set(cut))
    assert width >= max(map(cell_len, cut))
    assert not any("\n" in name for name in cut)
