"""An entry point of workers. Its import makes the third `os.fork` of the fork server fail."""

from __future__ import annotations

import errno
import os

from tests.launch.programs import serve

__all__ = ["serve"]

_fork = os.fork
_left = [2]


def _refused() -> int:
    _left[0] -= 1
    if _left[0] < 0:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return _fork()


os.fork = _refused
