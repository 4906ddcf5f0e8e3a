"""Where in the user's program something happens, as file:line."""

from __future__ import annotations

import sys
import warnings
from functools import lru_cache
from pathlib import Path

from varsim.errors import VarsimWarning

_OURS = (
    "varsim.distribute",
    "varsim.coordinator",
    "varsim.sync",
    "varsim.testing",
    "varsim.experiments",
    "varsim_worker",
    "contextlib",
)


def user_place() -> str:
    """file:line of the innermost frame that is not varsim's own."""
    frame = sys._getframe(1)  # noqa: SLF001  # inspect.stack() reads every file on the way
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if not module.startswith(_OURS):
            return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"
        if frame.f_back is None:
            return ""
        frame = frame.f_back
    return ""


@lru_cache(maxsize=1024)
def _shown(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else filename


def warn(text: str, place: str) -> None:
    """Warns, pointing at a place in the user's program."""
    filename, _, line = place.rpartition(":")
    warnings.warn_explicit(
        text, VarsimWarning, filename or "<unknown>", int(line) if line.isdigit() else 0
    )
