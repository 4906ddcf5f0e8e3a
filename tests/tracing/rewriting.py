"""Change the content of a trace, with the right CRC-32, as a fault of varsim would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from varsim.tracing.crash_safe_log import CrashSafeLog, chunks, remove_log


def rewrite(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """Replace the content of a closed log, and return the new content."""
    content = change(b"".join(chunks(path)))
    remove_log(path)
    log = CrashSafeLog(path, len(content) + 2**20)
    assert log.append(content)
    log.close(b"")
    return content
