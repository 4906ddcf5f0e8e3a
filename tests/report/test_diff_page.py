"""Values that differ between two runs, as `varsim diff` shows them."""

from __future__ import annotations

import io

import pytest

from varsim.report.diff_page import Differing, print_differing
from varsim.report.page import print_page


@pytest.mark.parametrize(
    ("one", "other", "cells"),
    [
        (2.9831234, 1.5, ["2.983", "1.5"]),
        (1.0072588920593262, 1.0072812345, ["1.00726", "1.00728"]),
        (1.00725889, 1.00725912, ["1.00725889", "1.00725912"]),
        (0.1 + 0.2, 0.3, ["0.30000000000000004", "0.3"]),
        ("a", None, ["a", "–"]),
    ],
)
def test_values_have_as_many_digits_as_tell_them_apart(
    one: float, other: float, cells: list[str]
) -> None:
    file = io.StringIO()
    differing = [Differing("loss", one, other)]
    print_page(lambda console: print_differing(console, "metrics", differing), file, 80)

    assert ["loss", *cells] == file.getvalue().splitlines()[3].split()
