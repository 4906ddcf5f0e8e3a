"""Make long SQL statements check for signals, so that Ctrl-C can end them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_STEPS: Final = 100_000
"""Instructions of SQLite between two checks for signals; it executes millions per second."""


@contextmanager
def heeding_signals(connection: sqlite3.Connection) -> Iterator[None]:
    """Let an exception of a signal handler end a running statement, such as CREATE INDEX.

    Without this, Python runs no handler before the statement ends. SQLite reports only that the
    statement was interrupted, so this function raises the handler's exception again.
    """
    raised: list[BaseException] = []
    looks = _looks(raised)
    connection.set_progress_handler(looks.__next__, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _looks(raised: list[BaseException]) -> Iterator[bool]:
    """Yield False until a signal handler raises an exception; then yield True, to stop.

    Python runs handlers when the generator resumes, which is inside the `try`.
    """
    try:
        while True:
            yield False
    except GeneratorExit:
        raise
    except BaseException as error:  # raised again by `heeding_signals`
        raised.append(error)
    yield True
