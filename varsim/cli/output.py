"""Standard output for the report alone: whatever else is printed goes to standard error."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout


@contextmanager
def stdout_as_stderr() -> Iterator[None]:
    """Within the block, what Python code and other programs write to stdout goes to stderr."""
    with redirect_stdout(sys.stderr), _descriptors_too():
        yield


@contextmanager
def _descriptors_too() -> Iterator[None]:
    """Of the process, for programs that a workload starts; not if stdout is no file."""
    try:
        out, err = sys.__stdout__.fileno(), sys.__stderr__.fileno()  # type: ignore[union-attr]
    except (AttributeError, io.UnsupportedOperation, ValueError):
        yield
        return
    sys.__stdout__.flush()  # type: ignore[union-attr]  # it has a descriptor
    kept = os.dup(out)
    os.dup2(err, out)
    try:
        yield
    finally:
        sys.__stdout__.flush()  # type: ignore[union-attr]
        os.dup2(kept, out)
        os.close(kept)
