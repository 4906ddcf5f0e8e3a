"""Run the program `varsim`, with its streams, its Ctrl-C handler and its exit code.

The top of this module imports only a little of the standard library, because the Ctrl-C handler
must be installed before the slow imports of a command.
"""

from __future__ import annotations

import errno
import sys
from typing import Final, NoReturn

from varsim.cli import ctrl_c, streams

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The disk is full, or a limit is reached. These errors can occur at any write of a command."""


def main() -> NoReturn:
    """Run the program `varsim`."""
    ctrl_c.begin()
    streams.guard()
    code: object = 0
    try:
        from varsim.cli.main import main as program

        program(prog_name="varsim")
    except SystemExit as end:
        code = ctrl_c.code_of_signal(end.code) if isinstance(end.code, int) else end.code
    except OSError as error:
        if error.errno not in _FULL:
            raise
        code = _told(f"a file cannot be written: {error}", code)
    except MemoryError:
        sys.stderr.write(
            "Error: the system gives this process no more memory: raise the limit of addresses "
            "(ulimit -v), or of memory (of the container)\n"
        )
        code = 1
    problem = streams.problem()
    if problem is not None:
        code = _told(problem, code)
    ctrl_c.ends_with(code if isinstance(code, int) else int(code is not None), "")
    sys.exit(code)  # type: ignore[arg-type]  # the argument of sys.exit


def _told(problem: str, code: object) -> object:
    """Print the problem; return the exit code, which keeps the code of another problem."""
    from varsim.cli.exit_codes import DONE, NOT_WRITTEN
    from varsim.cli.output import complain

    complain("Error", problem)
    return NOT_WRITTEN if code in (None, DONE) else code
