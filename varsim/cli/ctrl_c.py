"""End the program at Ctrl-C with an exit code and a line on stderr, if no clean-up is needed.

SIGTERM (from a scheduler) and SIGHUP (from a closed terminal) have the effect of Ctrl-C.

This module imports only a little of the standard library, because the program imports it first.
"""

from __future__ import annotations

import atexit
import os
import signal
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

INTERRUPTED: Final = 130  # a shell reports this code for a program that SIGINT has ended

_exit_code = INTERRUPTED
_ended_by: int = signal.SIGINT
_last_words = "interrupted"


def begin() -> None:
    """Make Ctrl-C end the program immediately from now on, with 130 and one line on stderr."""
    if signal.getsignal(signal.SIGINT) is _end_at_once:
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # `nohup` makes a program ignore SIGHUP
            signal.signal(number, _interrupt)
    signal.signal(signal.SIGINT, _end_at_once)
    # The function that is registered first runs last. Without this function, the interpreter would
    # restore the system's handler while it shuts down.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def ends_with(exit_code: int, last_words: str) -> None:
    """Set the exit code and the line on stderr with which Ctrl-C ends the program."""
    global _exit_code, _last_words
    _exit_code, _last_words = exit_code, last_words


def code_of_signal(exit_code: int) -> int:
    """Return the exit code that names the signal: 143 for SIGTERM, 129 for SIGHUP."""
    return 128 + _ended_by if exit_code == INTERRUPTED else exit_code


def saved_so_far(directory: str) -> str:
    """Return the line that says where the results are, and make Ctrl-C print this line."""
    said = f"interrupted: the results so far are saved in {directory}"
    ends_with(INTERRUPTED, said)
    return said


def _interrupt(number: int, _frame: FrameType | None) -> None:
    global _ended_by  # noqa: PLW0603  # the process has one ending
    _ended_by = number
    signal.raise_signal(signal.SIGINT)


def _end_at_once(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End the program without unwinding. Code that needs a clean-up installs another handler.

    If a workload left a cluster open, the cluster's fork server ends because the program has ended.
    """
    if _last_words:
        with suppress(OSError):  # stderr may be full or closed
            os.write(2, f"{_last_words}\n".encode())
    os._exit(code_of_signal(_exit_code))
