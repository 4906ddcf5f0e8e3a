"""The text of an exception, and its location, are taken from a traceback."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import varsim
from varsim.errors import ShapeError
from varsim.protocol.tracebacks import (
    exception_in,
    location_in,
    of_program,
    text_of,
    with_shown_paths,
    written,
)
from varsim.raised import traceback_of as traceback_of_error

OURS = Path(varsim.__file__).parent


def traceback_of(*frames: tuple[object, int], said: str = "ValueError: empty") -> str:
    shown = [f'  File "{file}", line {line}, in f\n    x = 1\n    ^^^^^\n' for file, line in frames]
    return f"Traceback (most recent call last):\n{''.join(shown)}{said}\n"


class UnreadableError(Exception):
    def __getattribute__(self, name: str) -> object:
        raise SystemExit


def test_an_exception_that_cannot_be_described_still_has_its_frames():
    many: list[object] = []
    for _ in range(40):
        many = [many, many]
    inner = ValueError(many)
    for error, said in (
        (UnreadableError(), "a method of its class raised <SystemExit object at"),
        (RuntimeError({inner: 1}), "RuntimeError: (no text: the exception has too many values)"),
        (ValueError(frozenset({inner})), "ValueError: (no text: the exception has too many"),
    ):
        try:
            raise error
        except BaseException as caught:  # each kind of exception
            text = written(caught, traceback_of_error(caught))
        assert text.startswith("Traceback (most recent call last):\n")
        assert "in test_an_exception_that_cannot_be_described" in text
        assert said in exception_in(text)


def test_attributes_that_no_text_shows_do_not_hide_the_text():
    error = ValueError("3 rows")
    error.__dict__["rows"] = [0] * 2_000_000
    assert "3 rows" == text_of(error)


@pytest.mark.parametrize("said", ["ValueError: empty", "ShapeError: v\n  - a\n    b", "KeyError"])
def test_all_lines_of_the_exceptions_text_are_used(said: str):
    assert said == exception_in(traceback_of(("a.py", 3), ("b.py", 4), said=said))


def test_the_last_exception_of_a_chain_is_used():
    chain = traceback_of(("a.py", 1), said="KeyError: 'k'") + "\nDuring handling of …\n\n"
    assert "ValueError: empty" == exception_in(chain + traceback_of(("b.py", 4)))


def test_without_a_traceback_the_whole_text_is_used():
    assert "lost" == exception_in("lost\n")
    assert location_in("lost") is None


def test_the_location_is_the_innermost_line_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Lines of varsim and of libraries are skipped; paths are relative to the working directory."""
    monkeypatch.chdir(tmp_path)
    library = tmp_path / "lib/site-packages/numpy/core.py"
    told = traceback_of(
        (tmp_path / "a dir" / "p.py", 7), (library, 5), (OURS / "distribute" / "variable.py", 9)
    )
    assert "a dir/p.py:7" == location_in(told)
    digits = traceback_of((OURS / "workloads/digits.py", 3))
    assert str(location_in(digits)).endswith("workloads/digits.py:3")


def test_a_file_is_named_relative_to_its_import_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The innermost import folder is used. A file outside all import folders has its full path."""
    monkeypatch.setattr(sys, "path", ["", str(tmp_path), str(tmp_path / "deep")])
    told = traceback_of(
        (tmp_path / "deep/a.py", 1), (tmp_path / "b.py", 2), (Path("/nowhere/c.py"), 3)
    )

    assert ["a.py", "b.py", "/nowhere/c.py"] == re.findall('File "(.*)"', with_shown_paths(told))
    assert "/nowhere/c.py:3" == location_in(told)


def test_frames_of_varsim_are_left_out_if_the_program_or_varsim_itself_raised_the_error():
    """An unexpected error in varsim keeps its frames, which may show a fault of varsim."""
    outer, inner = (OURS / "horovod.py", 3), (OURS / "spec.py", 4)
    shown = traceback_of(("a.py", 1), ("b.py", 2))

    assert shown == of_program(traceback_of(outer, ("a.py", 1), outer, ("b.py", 2)), ValueError())
    assert shown == of_program(traceback_of(("a.py", 1), ("b.py", 2), inner), ShapeError("", ""))
    whole = traceback_of(("a.py", 1), outer, inner)
    assert whole == of_program(whole, AssertionError())
    workload = traceback_of((OURS / "workloads" / "digits.py", 1))
    assert workload == of_program(workload, ValueError())
