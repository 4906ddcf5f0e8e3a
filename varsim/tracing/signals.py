"""Make long SQL statements check for signals, so that Ctrl-C can end them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

_STEPS: Final = 100_000
"""Instructions of SQLite between two checks for signals; it executes millions per second."""


@contextmanager
def heeding_signals(
    connection: sqlite3.Connection, most_steps: int | None = None
) -> Iterator[None]:
    """Let an exception of a signal handler end a running statement, such as CREATE INDEX.

    Without this, Python runs no handler before the statement ends. SQLite reports only that the
    statement was interrupted, so this function raises the handler's exception again.

    Args:
        most_steps: The approximate number of instructions after which SQLite interrupts the
            statements within the block; None means no limit.
    """
    raised: list[BaseException] = []
    looks = _looks(raised, None if most_steps is None else most_steps // _STEPS + 1)
    connection.set_progress_handler(looks.__next__, _STEPS)
    try:
        yield
    except sqlite3.OperationalError:
        if raised:
            raise raised[0] from None
        raise
    finally:
        connection.set_progress_handler(None, 0)


def _looks(raised: list[BaseException], most: int | None) -> Iterator[bool]:
    """Yield False until a signal handler raises, but at most `most` times; then yield True.

    Python runs handlers when the generator resumes, which is inside the `try`.
    """
    try:
        for _ in count() if most is None else range(most):
            yield False
    except GeneratorExit:
        raise
    except BaseException as error:  # raised again by `heeding_signals`
        raised.append(error)
    while True:
        yield True
