"""Ctrl-C: where it raises, and where it waits so that nothing is left half done.

SIGINT is handled between any two instructions of the main thread, so that work would be left half
done. `held` makes it wait for the end of a block. `Interrupts` lets it raise once, and then makes
it wait until the interrupted work is saved and freed.
"""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

AGAIN_S: Final = 1.0
"""After a SIGINT that was raised, the next one waits for so long. By then what was interrupted has
been left, unless it has caught KeyboardInterrupt and goes on: then it can be interrupted again."""

_SHORTEST_S: Final = 1e-3  # 0 would switch a timer off


class OutOfTime(Exception):
    """The time of a `within` block is over."""


class _Whole:
    """Between `begin` and `end` a SIGINT for `Interrupts` waits for the end, or for a `Waiting`.

    A step of the engine changes a state, sends and records: cut off in between, the record would
    tell what did not happen. This is cheaper than `held`, and may be nested.
    """

    def __init__(self) -> None:
        self.depth = 0
        self.came = False

    def begin(self) -> None:
        """Something begins that is to be done whole."""
        self.depth += 1

    def end(self) -> None:
        """It is done; see `begin`."""
        self.depth = max(self.depth - 1, 0)
        if self.came and not self.depth:
            self.deliver()

    def deliver(self) -> None:
        """Raise the SIGINT that came."""
        self.came = False
        signal.raise_signal(signal.SIGINT)


WHOLE: Final = _Whole()


class Waiting:
    """Raise SIGINT within the block, which only waits or runs a user's code."""

    def __init__(self) -> None:
        self._depth = WHOLE.depth

    def __enter__(self) -> None:
        WHOLE.depth = 0
        if WHOLE.came:
            WHOLE.deliver()

    def __exit__(self, *exc_info: object) -> None:
        WHOLE.depth = self._depth


class Interrupts:
    """Within the block, SIGINT raises KeyboardInterrupt where it is `heeded`, and waits elsewhere.

    Outside the main thread it does nothing.
    """

    def __init__(self) -> None:
        self.heeded = True
        """An attribute, not a method: no SIGINT can come between `except …:` and an assignment."""
        self.waits = False
        """Whether a SIGINT has come that was not raised."""
        self._raised_s = -math.inf
        self._has_raised = False
        self._before: Any = None
        self._unraisable_before: Any = None

    def __enter__(self) -> Self:
        try:
            self._before = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # this is not the main thread
            return self
        self._unraisable_before, sys.unraisablehook = sys.unraisablehook, self._unraisable
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._before is not None:
            self.heeded = False
            sys.unraisablehook = self._unraisable_before
            outer = getattr(self._before, "__self__", None)
            if isinstance(outer, Interrupts):
                outer.take_over(self._raised_s)
            signal.signal(signal.SIGINT, self._before)
            if self.waits and not self._has_raised:
                signal.raise_signal(signal.SIGINT)  # for the previous handler
        if isinstance(error, Exception) and came_of_interrupt(error):
            raise KeyboardInterrupt from None  # such as an ImportError for a module cut off

    def heed(self) -> None:
        """From now on SIGINT raises, also if one has just been raised.

        Raises:
            KeyboardInterrupt: One has come since the last that was raised.
        """
        self._raised_s = -math.inf
        self.heeded = True
        if self.waits:
            self.waits = False
            self._raise()

    def take_over(self, raised_s: float) -> None:
        """An inner block raised at that time; the exception has yet to leave this block."""
        self._raised_s = max(self._raised_s, raised_s)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if WHOLE.depth:
            WHOLE.came = True
            return
        if self.heeded and time.monotonic() - self._raised_s >= AGAIN_S:
            self._raise()
        self.waits = True

    def _raise(self) -> None:
        self._raised_s, self._has_raised = time.monotonic(), True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        """Keep a SIGINT that came during a finalizer: Python would only print it, and go on."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.waits = True
        else:
            self._unraisable_before(unraisable)


def came_of_interrupt(error: BaseException) -> bool:
    """Whether KeyboardInterrupt was on its way when an error was raised in place of it."""
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if isinstance(one, KeyboardInterrupt):
            return True
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            pending += [one.__context__, one.__cause__]
    return False


class held:  # noqa: N801  # used like a function, as `contextlib.suppress` is
    """Lets SIGINT wait for the end of the block, which must be short.

    What the block makes must have an owner when it ends: that is where KeyboardInterrupt is raised.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is not None:  # None: a handler that is not Python's
            try:
                self._before = signal.signal(signal.SIGINT, self._note)
            except ValueError:  # this is not the main thread, which alone handles signals
                self._before = None

    def __exit__(self, *exc_info: object) -> None:
        if self._before is None:
            return
        signal.signal(signal.SIGINT, self._before)
        if self._came:
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt as interrupt:
                raise interrupt from None  # errors that the interrupt caused do not matter

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True


@contextmanager
def blocked() -> Iterator[None]:
    """A process that is started within the block gets no SIGINT until it unblocks it itself.

    Else one that is sent to all processes would end it while it imports its modules.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the block when so many seconds have passed.

    For what may wait for workers that are busy with a user's code. Outside the main thread there
    is no limit but that of the wait itself.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    try:
        handler_before = signal.signal(signal.SIGALRM, ring)
    except ValueError:  # this is not the main thread
        yield
        return
    started_s = time.monotonic()
    left_before_s, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler_before)
        if left_before_s:  # restart the previous timer
            left_s = left_before_s - (time.monotonic() - started_s)
            signal.setitimer(signal.ITIMER_REAL, max(_SHORTEST_S, left_s))
