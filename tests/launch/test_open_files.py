"""Too few open files are an error of varsim. Without this error libzmq would abort the program."""

from __future__ import annotations

import resource

import pytest

from varsim.errors import StartError
from varsim.launch.open_files import ensure_open_files

INFINITY = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Record the soft and hard limits that are set; the last entry is in force."""
    found = [(64, 4096)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: found[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, both: found.append(both))
    return found


def test_a_soft_limit_is_raised_as_far_as_is_needed(limits: list[tuple[int, int]]) -> None:
    ensure_open_files(100)

    soft, hard = limits[-1]
    assert 164 <= soft < 4096
    assert 4096 == hard


def test_a_soft_limit_that_is_enough_is_kept(limits: list[tuple[int, int]]) -> None:
    limits.append((4000, 4096))
    ensure_open_files(100)

    assert [(64, 4096), (4000, 4096)] == limits


def test_an_unlimited_number_is_enough(limits: list[tuple[int, int]]) -> None:
    limits.append((INFINITY, INFINITY))
    ensure_open_files(100_000)

    assert (INFINITY, INFINITY) == limits[-1]


def test_a_hard_limit_is_an_error_that_says_what_to_do(limits: list[tuple[int, int]]) -> None:
    with pytest.raises(StartError, match=r"5000 workers need .*ulimit -n \d+"):
        ensure_open_files(5000)
    assert [(64, 4096)] == limits
