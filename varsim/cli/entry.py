"""Entry point of the program `varsim`: handles Ctrl-C from its first line to its last.

Only the standard library is imported at the top, and little of it: the heavy imports of a command
run under the handler, too.
"""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # as a shell reports a program that SIGINT has ended

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""The errors of writing to stdout; an error about a file of a run is handled where it occurs."""

_exit_code = INTERRUPTED
_last_words = "interrupted"


def begin() -> None:
    """From now on Ctrl-C ends the program at once, with 130 and one line on stderr."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        return
    signal.signal(signal.SIGINT, _end_at_once)
    # Registered first, so called last: the interpreter would put back the system's own handler
    # while it frees itself.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def main() -> NoReturn:
    """Run the program `varsim`."""
    begin()
    _open_what_is_closed()
    from varsim.cli.main import main as program

    code: object = 0
    try:
        program(prog_name="varsim")
    except SystemExit as end:
        code = end.code
    except OSError as error:
        if error.errno not in _FULL:
            raise
        code = _cannot_write(error)
    with suppress(OSError, ValueError):  # the interpreter tries again, and says what is wrong
        sys.stdout.flush()
    ends_with(code if isinstance(code, int) else int(code is not None), "")
    sys.exit(code)  # type: ignore[arg-type]  # what sys.exit was called with


def _open_what_is_closed() -> None:
    """Opens streams that the caller has closed: another file would get their numbers."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))


def _cannot_write(error: OSError) -> int:
    """Says so, and lets nothing more be written: the interpreter would try again."""
    with suppress(OSError):
        sys.stderr.write(f"Error: the output cannot be written: {error.strerror}\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return 1


def ends_with(exit_code: int, last_words: str) -> None:
    """From now on Ctrl-C ends the program with this exit code, and a line on stderr."""
    global _exit_code, _last_words
    _exit_code, _last_words = exit_code, last_words


def saved_by_then(directory: str) -> str:
    """Return the line for an interrupt after saving; from now on, Ctrl-C prints it, too."""
    said = f"interrupted: what was done by then is saved in {directory}"
    ends_with(INTERRUPTED, said)
    return said


def _end_at_once(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End the program without unwinding: code that has something to undo uses another handler.

    If a workload left a cluster open, its nursery notices that the program has ended.
    """
    if _last_words:
        os.write(2, f"{_last_words}\n".encode())
    os._exit(_exit_code)
