"""Records with members of a wrong type are not valid, and cause no error."""

from __future__ import annotations

import pytest

from varsim.tracing.records import is_valid
from varsim.tracing.trace_format import RecordKind

VALUE = ["f", [], 0, bytes(4)]


@pytest.mark.parametrize("more", [{}, [], {"own": 1}, 1.5, None])
def test_a_read_with_a_further_member_of_another_type_is_not_valid(more: object) -> None:
    read = [int(RecordKind.READ), 1, 0, None, 1, "train.py:3", VALUE]

    assert is_valid(read)
    assert not is_valid([*read, more])
