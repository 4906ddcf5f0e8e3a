"""Run the program `varsim`, with its streams, its Ctrl-C handler and its exit code.

The top of this module imports only a little of the standard library, because the Ctrl-C handler
must be installed before the slow imports of a command.
"""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Final, NoReturn

from varsim.cli import ctrl_c

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO})
"""Errors of writes to stdout. Errors about the files of a run are handled elsewhere."""


def main() -> NoReturn:
    """Run the program `varsim`."""
    ctrl_c.begin()
    _open_what_is_closed()
    code: object = 0
    try:
        from varsim.cli.main import main as program

        program(prog_name="varsim")
    except SystemExit as end:
        code = ctrl_c.code_of_signal(end.code) if isinstance(end.code, int) else end.code
    except OSError as error:
        if error.errno not in _FULL:
            raise
        code = _cannot_write(error)
    except MemoryError:
        sys.stderr.write(
            "Error: the system gives this process no more memory: raise the limit of addresses "
            "(ulimit -v), or of memory (of the container)\n"
        )
        code = 1
    with suppress(OSError, ValueError):  # the interpreter flushes again, and reports the error
        sys.stdout.flush()
    ctrl_c.ends_with(code if isinstance(code, int) else int(code is not None), "")
    sys.exit(code)  # type: ignore[arg-type]  # the argument of sys.exit


def _open_what_is_closed() -> None:
    """Reopen closed standard streams; otherwise other files would get their descriptors."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))


def _cannot_write(error: OSError) -> int:
    """Report that stdout cannot be written; redirect it, because the interpreter will flush it."""
    with suppress(OSError):
        sys.stderr.write(f"Error: the output cannot be written: {error.strerror}\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    return 1
