"""The one thread that a replica's function runs in, and what other threads of it are told.

A thread that a replica's function starts, or that a pool of threads has for it, stands in no
context: without this it would be on the default strategy, which is another program's answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from varsim.distribute.place import user_place
from varsim.errors import ContextError
from varsim.transport.one_thread import this_thread, thread_name


class Home:
    """A replica that runs in this process."""

    def __init__(self, replica_id: int) -> None:
        self.replica_id = replica_id
        self.thread = this_thread()
        self.guests: frozenset[int] | None = frozenset()
        """Threads that are no business of this replica; None: all threads here are."""
        self._refused: list[ContextError] = []
        self._told: set[str] = set()  # the places that the program knows of

    def refuse(self) -> ContextError:
        """The error for a thread that is not the replica's own."""
        place = user_place()
        at = f" at {place}" if place else ""
        error = ContextError(_TEXT.format(thread=thread_name(), replica_id=self.replica_id, at=at))
        error.place = place
        self._refused.append(error)
        return error

    def silent(self, raised: Exception | None = None) -> list[ContextError]:
        """The errors that threads were given since this was last asked.

        They end in a thread, so that the program may not hear of them.

        Args:
            raised: By the replica's function, which the program does hear of.
        """
        refused, self._refused = self._refused, []
        return [error for error in refused if error is not raised]

    def warnings(self) -> Iterator[tuple[str, str]]:
        """What a program should hear of the refused threads of a function that has returned."""
        for error in self.silent():
            if error.place not in self._told:
                self._told.add(error.place)
                at = f" at {error.place}" if error.place else ""
                yield f"{_SILENT.format(at=at)}\n  {error}", error.place


_SILENT = (
    "a thread that a replica's function started uses varsim{at} and was refused; the "
    "function has returned without that error"
)

_TEXT = (
    "thread {thread!r} of replica {replica_id} uses varsim{at}, but only the thread that runs "
    "the replica's function can do that.\n"
    "  Compute in the thread, pass the result to the replica's function (a list and "
    "thread.join(), or future.result()), and call varsim there (read, write, all_reduce, …)."
)

_homes: list[Home] = []
"""Of the replicas that run in this process now; in the program's own there are none."""


def settle(home: Home) -> None:
    """All threads of this process but one are strangers to varsim, from now on."""
    home.guests = None
    _homes[:] = [home]


@contextmanager
def inhabited(home: Home, guests: frozenset[int]) -> Iterator[None]:
    """Within the block a replica may run here, and new threads are taken for its own.

    Args:
        guests: The threads that are not.
    """
    home.thread, home.guests = this_thread(), guests
    _homes.append(home)
    try:
        yield
    finally:
        _homes.remove(home)


def check_thread() -> None:
    """Refuses a thread of a replica that runs here, if it is not the replica's own.

    Raises:
        ContextError: It is not; the text says what to do.
    """
    if not _homes:
        return
    me = this_thread()
    if any(home.thread == me for home in _homes):
        return
    for home in reversed(_homes):
        if home.guests is None or me not in home.guests:
            raise home.refuse()
