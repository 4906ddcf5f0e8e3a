"""Control when Ctrl-C raises KeyboardInterrupt, so that no work is interrupted in the middle.

Python handles SIGINT between any two instructions of the main thread. `held` delays SIGINT until a
block ends. `Interrupts` raises KeyboardInterrupt for the first SIGINT, and then delays the next
SIGINT until the interrupted work is saved and its resources are freed.

A SIGINT can come after Python's last look for signals and before a system call that waits. Then the
handler runs only after this call. So a wait of varsim consists of waits of at most `MAX_WAIT_S`.
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

from varsim.raised import with_causes
from varsim.threads import in_main_thread

MAX_WAIT_S: Final = 1.0
"""The longest single wait during which a SIGINT must have an effect."""

AGAIN_S: Final = 1.0
"""Shortest time between two SIGINTs that raise KeyboardInterrupt.

After this time the interrupted code has ended, or it has caught KeyboardInterrupt and continues,
and can be interrupted again.
"""

_IMPATIENT_S: Final = 0.2
"""Delay of a SIGINT after which a second SIGINT raises immediately: the user presses Ctrl-C again.

An earlier second SIGINT may come from a parent process that forwards the first one.
"""

_BEGIN_OR_END: Final = (__name__, "varsim.transport.one_thread")
"""The modules with the code that begins or ends an operation."""

_SHORTEST_S: Final = 1e-3  # 0 would disarm the timer


def _plain(name: str) -> Any:
    """Return a function of `signal`, without its conversion to enums if this Python allows it.

    Each use of a strategy replaces the handler, and the conversion takes ten times as long.
    """
    return getattr(sys.modules.get("_signal"), name, getattr(signal, name))


_getsignal: Final = _plain("getsignal")
_signal: Final = _plain("signal")


class OutOfTime(Exception):
    """The time limit of a `within` block has passed."""


class _Uninterrupted:
    """Delays a SIGINT that arrives after `begin` until `end` or an `Interruptible` block.

    A shell changes a state, sends messages and records them. If a SIGINT interrupted this sequence,
    the replicas and the record would no longer agree with the state. This class is cheaper than
    `held`, and can be nested. The class has no effect in other threads, because only the main
    thread handles signals.
    """

    def __init__(self) -> None:
        self._outer: list[bool] = []  # the value of `_heeded` before each `begin`
        self._before: Any = None  # the handler that `begin` replaced
        self._heeded = True  # whether a SIGINT raises immediately
        self._came_s: float | None = None  # when the delayed SIGINT arrived
        self.raised: BaseException | None = None
        """The last exception that a SIGINT raised without a delay, or that ended an `Interruptible`
        block."""

    def begin(self) -> None:
        """Delay SIGINT from now on."""
        if not in_main_thread():
            return
        if not self._outer:
            self._replace_handler()
        outer = self._heeded
        self._heeded = False  # a SIGINT before this line may raise, because `_outer` is unchanged
        self._outer.append(outer)

    def end(self) -> None:
        """End a `begin`. If SIGINT now raises again, raise KeyboardInterrupt for a delayed one."""
        if not in_main_thread():
            return
        self._heeded = self._outer.pop()
        if not self._outer:
            self.raised = None
            self._restore_handler()
        if self._heeded:
            self._deliver()

    def pause(self) -> None:
        """Let SIGINT raise from now on. Raise KeyboardInterrupt for a delayed SIGINT."""
        if in_main_thread():
            self._heeded = True
            self._deliver()

    def resume(self, error: BaseException | None) -> None:
        """End a `pause`: delay SIGINT again if it was delayed before.

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
        before = _getsignal(signal.SIGINT)
        # A handler that is not callable ignores SIGINT, ends the process, or is not Python code.
        if callable(before) and before != self._handle:
            self._before = before
            _signal(signal.SIGINT, self._handle)

    def _restore_handler(self) -> None:
        if _getsignal(signal.SIGINT) == self._handle:
            _signal(signal.SIGINT, self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        heeded, now_s = self._heeded, time.monotonic()
        impatient = self._came_s is not None and now_s - self._came_s >= _IMPATIENT_S
        if not heeded and (not impatient or _begins_or_ends(frame)):
            self._came_s = self._came_s or now_s
            return
        self._came_s = None
        if not self._outer:  # in `begin` or `end`, which the exception will end
            self._restore_handler()
        try:
            self._before(number, frame)
        except BaseException as error:
            if heeded:
                self.raised = error
            raise


def _begins_or_ends(frame: FrameType | None) -> bool:
    """Return whether `begin` or `end` runs, or the code of `OneThread` that calls them.

    If an exception stopped `end`, all later SIGINTs would be delayed.
    """
    while frame is not None:
        if frame.f_globals.get("__name__") in _BEGIN_OR_END:
            return True
        frame = frame.f_back
    return False


UNINTERRUPTED: Final = _Uninterrupted()


class Interruptible:
    """Lets SIGINT raise KeyboardInterrupt in a `with` block that only waits or runs user code."""

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
    """Raises KeyboardInterrupt for a SIGINT in a `with` block, or delays it if not `enabled`.

    The object has no effect outside the main thread.
    """

    def __init__(self) -> None:
        self.enabled = True
        """Whether SIGINT raises now. It is an attribute and not a method, because a SIGINT can
        arrive between `except …:` and a method call, but not before an assignment."""
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
        if error is not None and issubclass(type(error), Exception) and came_of_interrupt(error):
            raise KeyboardInterrupt from None  # SIGINT has caused the error, such as an ImportError

    def enable(self) -> None:
        """Let SIGINT raise KeyboardInterrupt from now on, even soon after an earlier SIGINT.

        Raises:
            KeyboardInterrupt: A SIGINT has arrived after the last SIGINT that raised.
        """
        self._raised_s = -math.inf
        self.enabled = True
        if self.pending:
            self.pending = False
            self._raise()

    def take_over(self, raised_s: float) -> None:
        """Record that an inner block has raised KeyboardInterrupt at `raised_s`."""
        self._raised_s = max(self._raised_s, raised_s)

    def _handle(self, _signal: int, _frame: FrameType | None) -> None:
        if self.enabled and time.monotonic() - self._raised_s >= AGAIN_S:
            self._raise()
        self.pending = True

    def _raise(self) -> None:
        self._raised_s, self._has_raised = time.monotonic(), True
        raise KeyboardInterrupt

    def _unraisable(self, unraisable: Any) -> None:
        """Keep a SIGINT that arrived in a finalizer; Python would only print KeyboardInterrupt."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            self.pending = True
        else:
            self._unraisable_before(unraisable)


def came_of_interrupt(error: BaseException) -> bool:
    """Return whether an error, or one of its causes or contexts, is a KeyboardInterrupt."""
    return any(issubclass(type(one), KeyboardInterrupt) for one in with_causes(error))


class held:  # noqa: N801  # used like a function, as `contextlib.suppress` is
    """Delays SIGINT until the end of a `with` block, which must be short.

    KeyboardInterrupt can be raised at the end of the block. So each resource that the block has
    acquired must have an owner by then.
    """

    def __init__(self) -> None:
        self._came = False
        self._before: Any = None

    def __enter__(self) -> None:
        if signal.getsignal(signal.SIGINT) is not None:  # None: the handler is not Python code
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
                raise interrupt from None  # hide errors that the interrupt has caused

    def _note(self, _signal: int, _frame: FrameType | None) -> None:
        self._came = True


@contextmanager
def blocked() -> Iterator[None]:
    """Block SIGINT in processes that are started in the `with` block, until they unblock it.

    Otherwise a SIGINT to all processes would end a new process while it imports its modules.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the `with` block after `seconds`.

    Use this for code that may wait for workers that run user code. There is no time limit outside
    the main thread.
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
