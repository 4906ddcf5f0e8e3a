"""Write the output of user code to the worker's log, and keep its end for the coordinator."""

from __future__ import annotations

import io
from typing import BinaryIO, Final

KEPT_CHARACTERS: Final = 64 * 1024
"""Number of characters that are kept between two calls of `take`. The log contains all output."""


class KeepingOutput(io.TextIOWrapper):
    """A text stream that also keeps the end of the written text."""

    def __init__(self, buffer: BinaryIO, log_path: str) -> None:
        super().__init__(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._log_path = log_path
        self._parts: list[str] = []
        self._kept = 0
        self._dropped = 0

    def write(self, text: str) -> int:
        """Write the text to the stream, and keep it."""
        written = super().write(text)
        self._parts.append(text)
        self._kept += len(text)
        if self._kept > 2 * KEPT_CHARACTERS:  # rarely, because this copies the kept text
            self._shorten()
        return written

    def _shorten(self) -> None:
        excess = max(0, self._kept - KEPT_CHARACTERS)
        self._parts = ["".join(self._parts)[excess:]]
        self._kept -= excess
        self._dropped += excess

    def take(self) -> str:
        """Return the end of the text that was written since the last call."""
        self._shorten()
        (text,) = self._parts
        if self._dropped:
            text = f"[{self._dropped} characters before this are only in {self._log_path}]\n{text}"
        self._parts, self._kept, self._dropped = [], 0, 0
        return text
