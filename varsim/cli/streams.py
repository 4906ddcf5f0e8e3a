"""Keep the standard streams of the program usable when a stream cannot be written any more.

Python raises an OSError at any `print` to a full disk or to a reader that has ended. Such an error
would end a training whose results can still be saved. So text that cannot be written is dropped,
and the program's exit code reports it.

This module imports only a little of the standard library, because the program imports it first.
"""

from __future__ import annotations

import codecs
import errno
import io
import os
import sys
from typing import Any, Final, TextIO

_READER_ENDED: Final = errno.EPIPE
"""The error after, for example, `| head -1`. It is no failure, because the reader ended itself."""

_guarded: dict[str, _Guarded] = {}
_replaced: list[object] = []  # Python's own streams; freeing one would close its descriptor


class _Guarded(io.FileIO):
    """The descriptor of a standard stream. After an error, everything that is written is dropped.

    `io.TextIOWrapper` and `io.BufferedWriter` would keep unwritten text, and write it again.
    """

    error: OSError | None = None
    raises = False  # whether errors are raised, as in Python
    was_closed = False  # whether the descriptor was closed when the program started

    def write(self, content: Any) -> int | None:  # type: ignore[override]  # as FileIO
        """Write all bytes; return their number."""
        rest = memoryview(content).cast("B")
        size = len(rest)
        if self.was_closed:  # as in Python, a print to a closed stream raises no error
            self.error = self.error or OSError(errno.EBADF, "it is closed")
            return size
        while rest and (self.error is None or self.raises):
            try:
                written = super().write(rest)
            except OSError as error:
                self.error = self.error or OSError(error.errno, error.strerror)
                if self.raises:
                    raise
                break
            if written is None:  # a descriptor that does not block is not ready
                return None if len(rest) == size else size - len(rest)
            rest = rest[written:]
        return size


def guard() -> None:
    """Reopen closed standard streams, and let no error of stdout and stderr end the program."""
    closed = _open_what_is_closed()
    for name in ("stdout", "stderr"):
        before: io.TextIOWrapper = getattr(sys, name)
        _replaced.append(before)
        raw = _guarded[name] = _Guarded(before.fileno(), "w", closefd=False)
        raw.was_closed = name in closed
        # Python itself has no buffer between text and descriptor if PYTHONUNBUFFERED is set.
        buffer: Any = raw if before.write_through else io.BufferedWriter(raw)
        raw.name = before.name
        stream = io.TextIOWrapper(
            buffer,
            encoding=before.encoding,
            errors=_errors_of(before),
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )
        stream.mode = "w"  # type: ignore[misc]  # as Python's own streams have it
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _errors_of(stream: io.TextIOWrapper) -> str | None:
    """Return how a stream handles characters that its encoding lacks: it escapes them.

    UTF-8 encodes all characters of texts, so its streams stay as Python has opened them.
    """
    utf_8 = codecs.lookup(stream.encoding).name.startswith("utf-8")
    return stream.errors if utf_8 else "backslashreplace"


def raise_errors(*, raises: bool) -> None:
    """Set whether errors of the streams are raised. A script expects that they are raised."""
    for raw in _guarded.values():
        raw.raises = raises


def problem() -> str | None:
    """Write all buffered text. Return the reason why text was lost, or None if no text was lost.

    Text for a reader that has ended is not lost.
    """
    raise_errors(raises=False)
    for name, raw in _guarded.items():
        _flush(getattr(sys, name))
        _flush(getattr(sys, f"__{name}__"))
        if raw.error is not None and raw.error.errno != _READER_ENDED:
            what = "the output" if name == "stdout" else "the messages on stderr"
            return f"{what} cannot be written: {raw.error.strerror}"
    return None


def _flush(stream: TextIO) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):  # a script has replaced or closed the stream
        return


def _open_what_is_closed() -> list[str]:
    """Reopen closed standard streams, because other files would get their descriptors.

    Returns:
        The names of these streams.
    """
    closed = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, "w" if number else "r", encoding="utf-8"))
            closed.append(name)
    return closed
