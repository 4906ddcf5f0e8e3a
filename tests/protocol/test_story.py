"""What is taken from a traceback: the exception with all its lines, and where it was raised."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import varsim
from varsim.protocol.story import place_in, said_in, with_shown_paths

OURS = Path(varsim.__file__).parent


def story(*frames: tuple[object, int], said: str = "ValueError: empty") -> str:
    shown = [f'  File "{file}", line {line}, in f\n    x = 1\n    ^^^^^\n' for file, line in frames]
    return f"Traceback (most recent call last):\n{''.join(shown)}{said}\n"


@pytest.mark.parametrize("said", ["ValueError: empty", "ShapeError: v\n  - a\n    b", "KeyError"])
def test_the_exception_is_told_with_all_its_lines(said: str):
    assert said == said_in(story(("a.py", 3), ("b.py", 4), said=said))


def test_of_a_chain_the_last_exception_is_told():
    chain = story(("a.py", 1), said="KeyError: 'k'") + "\nDuring handling of …\n\n"
    assert "ValueError: empty" == said_in(chain + story(("b.py", 4)))


def test_without_a_traceback_all_is_told():
    assert "lost" == said_in("lost\n")
    assert place_in("lost") is None


def test_the_place_is_the_innermost_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither ours nor a library's; below the working directory it is told from there."""
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "lib/site-packages/numpy/core.py"
    told = story(
        (tmp_path / "a dir" / "p.py", 7), (library, 5), (OURS / "distribute" / "variable.py", 9)
    )
    assert "a dir/p.py:7" == place_in(told)
    digits = story((OURS / "workloads/digits.py", 3))
    assert str(place_in(digits)).endswith("workloads/digits.py:3")


def test_a_file_is_called_by_where_it_is_imported_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The innermost folder counts; a file from nowhere has its whole path."""
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "deep")])
    told = story((tmp_path / "deep/a.py", 1), (tmp_path / "b.py", 2), (Path("/nowhere/c.py"), 3))

    assert ["a.py", "b.py", "/nowhere/c.py"] == re.findall('File "(.*)"', with_shown_paths(told))
    assert "/nowhere/c.py:3" == place_in(told)
