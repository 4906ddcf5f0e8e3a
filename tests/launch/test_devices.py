"""The name of each device is checked. The environment gives only the number of devices."""

from __future__ import annotations

import pytest

from varsim.launch.devices import MAX_WORKERS, cpus, default_devices, problem_with, split_names


def test_names_of_devices_are_separated_by_commas() -> None:
    assert ["cpu:0", "gpu:0", ""] == split_names(" cpu:0,gpu:0 ,")


def test_the_environment_gives_the_number_of_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VARSIM_WORKERS", "3")
    assert ("cpu:0", "cpu:1", "cpu:2") == default_devices()

    monkeypatch.delenv("VARSIM_WORKERS")
    assert ("cpu:0", "cpu:1") == default_devices()


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ((), "at least one"),
        (cpus(MAX_WORKERS + 1), f"at most {MAX_WORKERS}"),
        (("cpu:0", 1), "invalid name 1"),
        (("cpu:0", " "), "name 2 of 2 is empty"),
        (("cpu 0",), "contains blanks"),
        (("a", "b", "a"), "duplicate device 'a'"),
    ],
)
def test_the_reason_for_refusing_a_list_of_devices_is_given(
    names: tuple[object, ...], problem: str
) -> None:
    assert problem in problem_with(names)


def test_the_largest_allowed_number_of_devices_is_accepted() -> None:
    assert "" == problem_with(cpus(MAX_WORKERS))
