"""Print errors and warnings; redirect a program's output, or escape its control characters."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, Final, TextIO

import click

from varsim.report.terminal import is_terminal, takes_escapes, width_of
from varsim.visible import visible

_COLORS: Final = {"Error": "red", "warning": "yellow"}


def complain(label: str, text: str, stream: TextIO | None = None, *, more: str = "") -> None:
    """Print `label: text` to a stream, which is stderr by default.

    Args:
        label: "Error" or "warning".
        text: One or more paragraphs; on a terminal, lines break between words.
        more: Lines that are printed unchanged, such as a traceback.
    """
    stream = sys.stderr if stream is None else stream
    said = visible(f"{label}: {text}")
    if is_terminal(stream):
        said = in_lines(said, width_of(stream))
    if takes_escapes(stream):
        said = click.style(label, fg=_COLORS[label]) + said.removeprefix(label)
    click.echo(f"{said}\n{visible(more)}" if more else said, file=stream)


def in_lines(text: str, width: int) -> str:
    """Return paragraphs broken between words, with their continuation lines indented."""
    from varsim.report.formatting import wrapped

    return "\n".join(wrapped(text, width, indent="  "))


def say(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print a text to stdout or stderr, with escapes instead of control characters.

    All commands print by this function, by `say_json` or by `varsim.report.page`, because texts may
    come from files: names, locations, messages and file names.
    """
    click.echo(visible(text), nl=nl, err=err)


def say_json(value: Any, indent: int) -> None:
    """Print a value as standard JSON. Every character that a terminal may execute is escaped."""
    from varsim.report.json_values import in_standard_json

    # The text is ASCII, in which only DEL is not escaped.
    text = json.dumps(in_standard_json(value), indent=indent, allow_nan=False)
    click.echo(text.replace("\x7f", "\\u007f"))


class _Visible:
    """A stream that escapes control characters, so that a terminal does not execute them.

    A carriage return becomes a new line, so that the progress bar of a program stays readable.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Print a text."""
        self._stream.write(visible(text.replace("\r\n", "\n").replace("\r", "\n")))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Print lines."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def printed_visibly() -> Iterator[None]:
    """Escape the control characters that Python code prints within the block."""
    out: Any = _Visible(sys.stdout)
    err: Any = _Visible(sys.stderr)
    with redirect_stdout(out), redirect_stderr(err):
        yield


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Redirect stdout to stderr within the block, for Python code and for child processes."""
    with redirect_stdout(sys.stderr), _descriptors_too():
        yield


@contextmanager
def _descriptors_too() -> Iterator[None]:
    """Redirect the descriptor of stdout, if there is one, for child processes."""
    try:
        out, err = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, io.UnsupportedOperation, ValueError):
        yield
        return
    sys.__stdout__.flush()  # type: ignore[union-attr]  # it has a descriptor
    kept = os.dup(out)
    os.dup2(err, out)
    try:
        yield
    finally:
        sys.__stdout__.flush()  # type: ignore[union-attr]
        os.dup2(kept, out)
        os.close(kept)
