"""Control when Ctrl-C raises KeyboardInterrupt, so that no work is left half done.

Python handles SIGINT between any two instructions of the main thread. `held` delays SIGINT until a
block ends. `Interrupts` raises KeyboardInterrupt for the first SIGINT, and then delays the next
SIGINT until the interrupted work is saved and its resources are freed.
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

from varsim.threads import in_main_thread

AGAIN_S: Final = 1.0
"""Shortest time between two SIGINTs that raise KeyboardInterrupt. After this time the interrupted
code has ended; or it has caught KeyboardInterrupt and continues, so it can be interrupted again."""

_IMPATIENT_S: Final = 0.2
"""A SIGINT is no longer delayed if the delayed one is older. The second of two SIGINTs that come
together may be a copy of the first one: a shell and a parent process may both send it."""

_SHORTEST_S: Final = 1e-3  # 0 would disarm the timer


class OutOfTime(Exception):
    """The time limit of a `within` block has passed."""


class _Uninterrupted:
    """Delay a SIGINT that arrives after `begin`, until `end` or an `Interruptible` block.

    A shell changes a state, sends messages and records them. If a SIGINT interrupted this sequence,
    the replicas and the record would no longer agree with the state. This class is cheaper than
    `held`, and can be nested. It does nothing in other threads than the main thread, because only
    the main thread handles signals.
    """

    def __init__(self) -> None:
        self._outer: list[bool] = []  # `_heeded` before each `begin`
        self._before: Any = None  # the handler that `begin` replaced
        self._heeded = True  # a SIGINT raises immediately
        self._came_s: float | None = None  # when the delayed SIGINT arrived
        self.raised: BaseException | None = None
        """The last exception that a SIGINT raised where it was not delayed, or that ended an
        `Interruptible` block."""

    def begin(self) -> None:
        """Delay SIGINT from now on."""
        if not in_main_thread():
            return
        if not self._outer:
            self._replace_handler()
        outer = self._heeded
        self._heeded = False  # before this line a SIGINT may raise: the stack is still unchanged
        self._outer.append(outer)

    def end(self) -> None:
        """Raise KeyboardInterrupt for a delayed SIGINT, if this ends the outermost `begin`."""
        if not in_main_thread():
            return
        self._heeded = self._outer.pop()
        if not self._outer:
            self.raised = None
            if signal.getsignal(signal.SIGINT) == self._handle:
                signal.signal(signal.SIGINT, self._before)
            self._deliver()

    def pause(self) -> None:
        """Let SIGINT raise, and raise KeyboardInterrupt for a delayed SIGINT."""
        if in_main_thread():
            self._heeded = True
            self._deliver()

    def resume(self, error: BaseException | None) -> None:
        """Delay SIGINT again, if `pause` was called after `begin`.

        Args:
            error: The exception that ended the pause, if any.
        """
        if in_main_thread():
            if error is not None:
                self.raised = error
            self._heeded = not self._outer

    def _deliver(self) -> None:
        if self._came_s is not None:
            self._came_s = None
            signal.raise_signal(signal.SIGINT)

    def _replace_handler(self) -> None:
        before = signal.getsignal(signal.SIGINT)
        # Not callable: SIGINT is ignored, or ends the process, or its handler is not a Python one.
        if callable(before) and before != self._handle:
            self._before = before
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        heeded, now_s = self._heeded, time.monotonic()
        if not heeded and (self._came_s is None or now_s - self._came_s < _IMPATIENT_S):
            self._came_s = self._came_s or now_s
            return
        self._came_s = None
        try:
            self._before(number, frame)
        except BaseException as error:
            if heeded:
                self.raised = error
            raise


UNINTERRUPTED: Final = _Uninterrupted()


class Interruptible:
    """Let SIGINT raise KeyboardInterrupt in the block, which only waits or runs a user's code."""

    def __enter__(self) -> None:
        try:
            UNINTERRUPTED.pause()
        except BaseException as error:
            UNINTERRUPTED.resume(error)
            raise

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        UNINTERRUPTED.resume(error)


class Interrupts:
    """Raise KeyboardInterrupt for a SIGINT while `enabled` is true, and delay it otherwise.

    Outside the main thread the block does nothing.
    """

    def __init__(self) -> None:
        self.enabled = True
        """Whether SIGINT raises now. This is an attribute, because no SIGINT can arrive between
        `except …:` and an assignment; one could arrive before a method call."""
        self.pending = False
        """Whether a SIGINT has arrived for which no KeyboardInterrupt was raised yet."""
        self._raised_s = -math.inf
        self._has_raised = False
        self._before: Any = None
        self._unraisable_before: Any = None

    def __enter__(self) -> Self:
        try:
            self._before = signal.signal(signal.SIGINT, self._handle)
        except ValueError:  # not the main thread
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
            self.enabled = False
            sys.unraisablehook = self._unraisable_before
            outer = getattr(self._before, "__self__", None)
            if isinstance(outer, Interrupts):
                outer.take_over(self._raised_s)
            signal.signal(signal.SIGINT, self._before)
            if self.pending and not self._has_raised:
                signal.raise_signal(signal.SIGINT)  # for the previous handler
        if isinstance(error, Exception) and came_of_interrupt(error):
            raise KeyboardInterrupt from None  # also for an ImportError that SIGINT caused

    def enable(self) -> None:
        """Let SIGINT raise KeyboardInterrupt from now on, even if a SIGINT has just done so.

        Raises:
            KeyboardInterrupt: A SIGINT has arrived after the last one that raised.
        """
        self._raised_s = -math.inf
        self.enabled = True
        if self.pending:
            self.pending = False
            self._raise()

    def take_over(self, raised_s: float) -> None:
        """Record that an inner block raised at `raised_s`; this block has not ended yet."""
        self._raised_s = max(self._raised_s, raised_s)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.enabled and time.monotonic() - self._raised_s >= AGAIN_S:
            self._raise()
        self.pending = True

    def _raise(self) -> None:
        self._raised_s, self._has_raised = time.monotonic(), True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        """Keep a SIGINT that arrived during a finalizer; Python would only print it."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.pending = True
        else:
            self._unraisable_before(unraisable)


def came_of_interrupt(error: BaseException) -> bool:
    """Return whether the chain of causes and contexts of an error has a KeyboardInterrupt."""
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
    """Delay SIGINT until the end of the block, which must be short.

    At the end of the block, KeyboardInterrupt may be raised. So each resource that the block
    acquired must have an owner by then.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is not None:  # None: the handler is not a Python one
            try:
                self._before = signal.signal(signal.SIGINT, self._note)
            except ValueError:  # not the main thread, the only one that handles signals
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
    """Block SIGINT for processes that are started within the block, until they unblock it.

    Otherwise a SIGINT that is sent to all processes would end new processes while these import
    modules.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after `seconds`.

    Use this for code that may wait for workers that run a user's code. Outside the main thread
    there is no time limit.
    """

    def ring(_signal: int, _frame: FrameType | None) -> None:
        raise OutOfTime

    try:
        handler_before = signal.signal(signal.SIGALRM, ring)
    except ValueError:  # not the main thread
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
