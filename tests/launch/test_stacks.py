"""The current location of a worker, read from the stack that the worker writes."""

from __future__ import annotations

import faulthandler
from pathlib import Path

import pytest

from varsim.launch.stacks import user_location


@pytest.mark.parametrize("name", ["plain.py", "été à la mer.py", "日本.py", "🐍.py"])
def test_a_location_has_the_name_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Characters that are not ASCII are escaped in a stack."""
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "stack").open("w+b") as written:
        code = compile("\n\ndump(file=written, all_threads=False)", str(tmp_path / name), "exec")
        exec(code, {"dump": faulthandler.dump_traceback, "written": written})
        written.seek(0)
        stack = written.read().decode("ascii")

    assert f"{name}:3" == user_location(stack)
