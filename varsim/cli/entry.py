"""Run the program `varsim`, with its streams, its Ctrl-C handler and its exit code.

The top of this module imports only a little of the standard library, because the Ctrl-C handler
must be installed before the slow imports of a command.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import Final, NoReturn

from varsim.cli import ctrl_c, streams

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a full disk or a reached limit. They can occur at any write of a command."""

_NUMPY_ADDRESSES: Final = 2**28
_NUMPY_THREADS: Final = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
_MOST_NUMPY_THREADS: Final = 64  # OpenBLAS in NumPy's wheels starts one for each core, at most 64


def main() -> NoReturn:
    """Run the program `varsim`."""
    ctrl_c.begin()
    streams.guard()
    code: object = 0
    refused = refused_by_system()
    if refused:
        sys.stderr.write(f"Error: {refused}\n")
        ctrl_c.ends_with(1, "")
        sys.exit(1)
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


def refused_by_system() -> str:
    """Return why NumPy cannot be imported here, and what to do; "" if NumPy can be imported.

    If the system refuses a thread, OpenBLAS raises SIGINT, and the program would seem interrupted.
    """
    import resource  # imported here, because the Ctrl-C handler must be installed first

    from varsim.processors import usable_processors
    from varsim.threads import spare_threads

    most_bytes, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most_bytes != resource.RLIM_INFINITY:
        if most_bytes >= _NUMPY_ADDRESSES:
            return ""  # do not try threads, because each reserves 64 MiB of addresses
        return (
            f"a process may use only {most_bytes // 2**20} MiB of addresses here, and varsim needs "
            f"{_NUMPY_ADDRESSES // 2**20} MiB: raise the limit (ulimit -v)"
        )
    if any(os.environ.get(name) for name in _NUMPY_THREADS):
        return ""
    cores = usable_processors()
    needed = min(cores, _MOST_NUMPY_THREADS) - 1
    possible = spare_threads(needed)
    if possible >= needed:
        return ""
    return (
        f"NumPy starts {needed} threads, and the system allows only {possible} more: raise the "
        "limit of processes (of the user: ulimit -u; or of the container), or set "
        "OPENBLAS_NUM_THREADS=1"
    )


def _told(problem: str, code: object) -> object:
    """Print the problem. Return NOT_WRITTEN, or `code` if it already reports another problem."""
    from varsim.cli.exit_codes import DONE, NOT_WRITTEN
    from varsim.cli.output import complain

    complain("Error", problem)
    return NOT_WRITTEN if code in (None, DONE) else code
