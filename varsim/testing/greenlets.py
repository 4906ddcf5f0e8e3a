"""A simulated worker: code that runs in its own greenlet until it waits for messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import nullcontext
from typing import Any, Final

import greenlet

from varsim.distribute.home import Home, inhabited
from varsim.launch.launcher import LaunchOptions
from varsim.launch.link import Lost
from varsim.launch.seeding import seeded, stream_of
from varsim.protocol.messages import Message
from varsim.threads import threads

KILLED: Final = "was killed by SIGKILL"
"""How a lost worker ends, unless a test gives another reason."""


class GreenletWorker(ABC):
    """A worker of a simulated cluster.

    Args:
        number: The number of the worker.
        lives: The number of its sends and waits before it is lost; None for no limit.
    """

    link_faults = None
    sockets = ()

    def __init__(self, options: LaunchOptions, number: int, lives: int | None) -> None:
        self.dead = False
        self.home = Home(number)
        self.inbox: deque[Message] = deque()
        self._lives = lives
        self._guests: frozenset[int] = frozenset()
        self._generators = (
            nullcontext
            if options.seed is None
            else seeded(options.seed, *stream_of(number, options.incarnation)).here
        )
        self._greenlet = greenlet.greenlet(self._run)

    @abstractmethod
    def serve(self) -> None:
        """Run the worker to its end."""

    @property
    @abstractmethod
    def runs_program(self) -> bool:
        """Return whether a function of the program has begun, and has not ended."""

    @abstractmethod
    def lost(self, lost: Lost) -> None:
        """Report that the worker has ended by an exception, as a process would end."""

    @abstractmethod
    def lose(self) -> None:
        """Kill this worker, as a signal would kill a process."""

    def _run(self) -> None:
        try:
            self.serve()
        except greenlet.GreenletExit:
            raise
        except BaseException as error:  # in a real worker, the exception would end the process
            self.lost(Lost(f"ended by {type(error).__name__}: {error}", "", ""))
        self.dead = True

    def resume(self) -> None:
        """Run the worker until it waits for messages or ends."""
        self._greenlet.parent = greenlet.getcurrent()
        if not self.runs_program:
            self._guests = threads()  # a thread that starts while a function runs belongs to it
        with inhabited(self.home, self._guests), self._generators():
            self._greenlet.switch()

    def unwind(self) -> None:
        """End the worker at the point where it waits or runs."""
        self.dead = True
        if greenlet.getcurrent() is self._greenlet:
            raise greenlet.GreenletExit
        if self._greenlet and not self._greenlet.dead:
            self._greenlet.parent = greenlet.getcurrent()
            self._greenlet.throw()

    def live(self) -> None:
        """Count a send or a wait; end the worker if it was the last one."""
        if self._lives is not None:
            if not self._lives:
                self.lose()
            self._lives -= 1

    def wait_for(self, queue: deque[Any]) -> None:
        """Let other workers run until a queue has a message."""
        while not queue:
            parent = self._greenlet.parent
            assert parent is not None
            parent.switch()

    def receive(self, timeout_s: float | None) -> list[list[Message]]:
        """Let other workers run until this worker has messages. The timeout is not used."""
        del timeout_s
        if self.dead:  # a function of the program has caught the exception of `unwind`
            raise greenlet.GreenletExit
        self.live()
        self.wait_for(self.inbox)
        envelopes = [[message] for message in self.inbox]
        self.inbox.clear()
        return envelopes
