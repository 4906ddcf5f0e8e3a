"""Send a SIGINT, or raise KeyboardInterrupt, before a chosen instruction of varsim."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import varsim as tf

_PACKAGE = str(Path(tf.__file__).parent)


def send_interrupt() -> None:
    """Send SIGINT to this process."""
    signal.raise_signal(signal.SIGINT)


def raise_interrupt() -> None:
    """Raise KeyboardInterrupt outside the handler of SIGINT."""
    raise KeyboardInterrupt


class Interrupter:
    """Call `interrupt` before instruction number `at` of varsim in this process."""

    def __init__(self, at: int, interrupt: Callable[[], None]) -> None:
        self.left = at
        self.interrupt = interrupt
        self.location = "none"

    @contextmanager
    def active(self) -> Iterator[None]:
        """Count and interrupt the instructions of the block.

        Garbage of earlier tests is not collected in the block. Its finalizers would be counted too,
        and Python does not raise an exception of a finalizer.
        """
        before = sys.gettrace()
        collecting = gc.isenabled()
        gc.disable()
        sys.settrace(self._enters)
        try:
            yield
        finally:
            sys.settrace(before)
            if collecting:
                gc.enable()

    def _enters(self, frame: FrameType, _event: str, _argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(_PACKAGE):
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "opcode":
            self.left -= 1
            if not self.left:
                self.location = f"{frame.f_code.co_filename}:{frame.f_lineno}"
                sys.settrace(None)
                self.interrupt()
        return self._instruction
