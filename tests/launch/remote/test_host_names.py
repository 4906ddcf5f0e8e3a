"""Hosts of one name are told apart by their addresses, or by the processes of their agents."""

from __future__ import annotations

from pathlib import Path

import pytest

from varsim.launch.remote import host_names
from varsim.launch.remote.host_names import distinct_names, this_machine


@pytest.mark.parametrize(
    ("hosts", "names"),
    [
        ([("a", "198.18.0.1", 1), ("b", "198.18.0.1", 2)], ["a", "b"]),
        (
            [("pod", "198.18.0.1", 7), ("b", "198.18.0.2", 7), ("pod", "198.18.0.3", 7)],
            ["pod (198.18.0.1)", "b", "pod (198.18.0.3)"],
        ),
        (
            [("here", "127.0.0.1", 5), ("here", "127.0.0.1", 6)],
            ["here (127.0.0.1, process 5)", "here (127.0.0.1, process 6)"],
        ),
        ([("here", "", 5), ("here", "", 6)], ["here (process 5)", "here (process 6)"]),
    ],
)
def test_names_are_different(hosts: list[tuple[str, str, int]], names: list[str]) -> None:
    assert names == distinct_names(hosts)


def test_a_machine_without_proc_has_a_text_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = this_machine()
    assert own == this_machine()
    monkeypatch.setattr(host_names, "_BOOT", tmp_path / "none")
    assert this_machine() not in ("", own)
