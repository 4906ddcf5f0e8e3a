"""varsim checks the limits of the system and raises an error, because libzmq would abort."""

from __future__ import annotations

import resource

import pytest

from tests.surroundings import recorded_limits
from varsim.errors import StartError
from varsim.launch import host_needs
from varsim.launch.host_needs import (
    MORE_PROCESSES,
    ensure_addresses,
    ensure_open_files,
    ensure_threads,
)

INFINITY = resource.RLIM_INFINITY


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    return recorded_limits(monkeypatch, 64, 4096)


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


def test_a_hard_limit_that_is_too_low_has_a_remedy(
    limits: list[tuple[int, int]],
) -> None:
    with pytest.raises(StartError, match=r"5000 workers need .*ulimit -n \d+"):
        ensure_open_files(5000)
    assert [(64, 4096)] == limits


@pytest.mark.parametrize(("workers", "needed"), [(1, 6), (2, 9), (100, 303)])
def test_too_few_threads_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, workers: int, needed: int
) -> None:
    monkeypatch.setattr(host_needs, "spare_threads", lambda wanted: wanted - 1)
    with pytest.raises(StartError) as caught:
        ensure_threads(workers)
    allowed = min(needed, 256) - 1
    assert (
        f"{workers} workers need {needed} more processes and threads, but the system allows only "
        f"{allowed} more: {MORE_PROCESSES}"
    ) == str(caught.value)


def test_exactly_the_needed_number_of_threads_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_needs, "spare_threads", lambda wanted: wanted)
    ensure_threads(1000)


def test_with_few_addresses_few_threads_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread reserves addresses, so a test with many threads would fail."""
    tried: list[int] = []
    monkeypatch.setattr(host_needs, "spare_threads", lambda wanted: tried.append(wanted) or wanted)
    monkeypatch.setattr(host_needs, "address_space", lambda: 2**30)
    ensure_threads(1000)
    assert [2] == tried


def test_too_few_addresses_are_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_needs, "address_space", lambda: 100 * 2**20)
    with pytest.raises(StartError, match=r"only 100 MiB more .* needs 256 MiB.*ulimit -v"):
        ensure_addresses()
    for enough in (None, 2**28):
        monkeypatch.setattr(host_needs, "address_space", lambda enough=enough: enough)
        ensure_addresses()
