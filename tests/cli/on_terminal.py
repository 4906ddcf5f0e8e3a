"""Run commands in this process, with a pseudo-terminal as stdout and stderr."""

from __future__ import annotations

import os
import pty
import sys
import termios
import threading
from contextlib import suppress
from typing import NamedTuple
from unittest import mock

from varsim.cli.main import main

_LINES = 50


class Shown(NamedTuple):
    """The output of a command on a terminal."""

    exit_code: int
    text: str


def on_terminal(
    *arguments: str, columns: int = 80, encoding: str = "utf-8", **environment: str
) -> Shown:
    """Run a command on a terminal with this number of columns.

    Args:
        encoding: The encoding of the terminal.
        environment: The environment variables NO_COLOR, TERM and COLUMNS of the command.
    """
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (_LINES, columns))
    read: list[bytes] = []
    reader = threading.Thread(target=_read_all, args=(ours, read))
    reader.start()
    settings = {"TERM": "xterm-256color", "NO_COLOR": "", "FORCE_COLOR": "", "COLUMNS": ""}
    try:
        with (
            os.fdopen(theirs, "w", encoding=encoding, errors="backslashreplace") as stream,
            mock.patch.multiple(sys, stdout=stream, stderr=stream),
            mock.patch.dict(os.environ, settings | environment),
        ):
            exit_code = _exit_code(arguments)
    finally:
        reader.join()
        os.close(ours)
    return Shown(exit_code, b"".join(read).decode().replace("\r\n", "\n"))


def _exit_code(arguments: tuple[str, ...]) -> int:
    try:
        main(list(arguments), prog_name="varsim")
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("it always exits")


def _read_all(descriptor: int, read: list[bytes]) -> None:
    """Read until the other end is closed: Linux then reports an error."""
    with suppress(OSError):
        while part := os.read(descriptor, 65536):
            read.append(part)
