"""Where the program `varsim` begins and ends: Ctrl-C is heeded from its first line to its last.

Only the standard library is imported at the top, and little of it: the heavy imports of a command
are under the handler, too.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # as a shell reports a program that SIGINT has ended

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
    """Is the program `varsim`."""
    begin()
    from varsim.cli.main import main as program

    code: object = 0
    try:
        program(prog_name="varsim")
    except SystemExit as end:
        code = end.code
    with suppress(OSError):  # the interpreter tries again, and says what is wrong
        sys.stdout.flush()
    ends_with(code if isinstance(code, int) else int(code is not None), "")
    sys.exit(code)  # type: ignore[arg-type]  # what sys.exit was called with


def ends_with(exit_code: int, last_words: str) -> None:
    """From now on Ctrl-C ends the program with this exit code, and a line on stderr."""
    global _exit_code, _last_words
    _exit_code, _last_words = exit_code, last_words


def saved_by_then(directory: str) -> str:
    """What is said of an interrupt after something was saved; from now on, by Ctrl-C itself."""
    said = f"interrupted: what was done by then is saved in {directory}"
    ends_with(INTERRUPTED, said)
    return said


def _end_at_once(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Ends the program without unwinding: whoever has something to undo has a handler of its own.

    Should a workload have left a cluster open, its nursery sees that the program has gone.
    """
    if _last_words:
        os.write(2, f"{_last_words}\n".encode())
    os._exit(_exit_code)
