"""A bar above which everything appears that Python code prints, bytes included."""

from __future__ import annotations

import codecs
import io
import sys
from typing import Any, Final

from rich.file_proxy import FileProxy
from rich.progress import Progress

_STREAMS: Final = ("stdout", "stderr")


class AboveBar(FileProxy):
    """A standard stream while a bar is shown: lines appear above the bar.

    rich's own class has no encoding, and its bytes go to the terminal, where the next drawing of
    the bar erases them.
    """

    def __init__(self, stream: FileProxy, progress: Progress) -> None:
        super().__init__(progress.console, stream.rich_proxied_file)
        self._real: Any = stream.rich_proxied_file
        self._bytes = _Bytes(self)

    @property
    def encoding(self) -> Any:  # type: ignore[override]  # a property, as in io.TextIOWrapper
        """The encoding of the stream itself."""
        return self._real.encoding

    @property
    def errors(self) -> Any:  # type: ignore[override]
        """How the stream itself handles characters that its encoding lacks."""
        return self._real.errors

    @property
    def newlines(self) -> Any:  # type: ignore[override]
        """The line ends that the stream itself has read."""
        return self._real.newlines

    @property
    def buffer(self) -> io.BufferedIOBase:
        """A stream for bytes, whose lines appear above the bar, too."""
        return self._bytes


class _Bytes(io.BufferedIOBase):
    """A stream that decodes bytes, and writes them as text to another stream."""

    def __init__(self, stream: AboveBar) -> None:
        self._stream = stream
        # `click` writes UTF-8 to a stream whose encoding is ASCII.
        name = codecs.lookup(stream.encoding or "utf-8").name
        decoder = codecs.getincrementaldecoder("utf-8" if name == "ascii" else name)
        self._decoder = decoder(errors="replace")

    def write(self, content: Any) -> int:
        """Write bytes; return their number."""
        got = bytes(content)
        self._stream.write(self._decoder.decode(got))
        return len(got)

    def flush(self) -> None:
        """Write the last line, even if it has no end yet."""
        self._stream.flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def fileno(self) -> int:
        """Return the descriptor of the terminal."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        return self._stream.isatty()


class BarBelow(Progress):
    """A bar below everything that Python code prints. Child processes write over it."""

    def start(self) -> None:
        """Show the bar, and redirect the streams."""
        super().start()
        for name in _STREAMS:
            stream = getattr(sys, name)
            if isinstance(stream, FileProxy) and not isinstance(stream, AboveBar):
                setattr(sys, name, AboveBar(stream, self))  # `stop` restores the stream itself
