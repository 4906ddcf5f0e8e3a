"""Environment variables: every `VARSIM_*` variable is read here.

A variable is read when its value is needed, so that an error is raised where it can be understood.
"""

from __future__ import annotations

import math
import os
from typing import Final

from varsim.errors import ConfigError

WORKERS: Final = "VARSIM_WORKERS"
"""How many replicas there are where a program or an experiment names no devices."""

CALL_TIMEOUT: Final = "VARSIM_CALL_TIMEOUT_S"
"""How long a running call may go without a message from any replica, in seconds."""

SHARED_MEMORY: Final = "VARSIM_SHARED_MEMORY_BYTES"
"""How much memory all processes of a cluster may share."""


def text(name: str) -> str | None:
    """The value of a variable as it stands there; None if it is not set."""
    return os.environ.get(name)


def whole_number(name: str, must_be: str, least: int = 0, most: int | None = None) -> int | None:
    """The value of a variable that counts something; None if it is not set.

    Args:
        must_be: What is possible, for the error.
    Raises:
        ConfigError: The value is another one.
    """
    asked = text(name)
    if asked is None:
        return None
    number = int(asked) if asked.isascii() and asked.isdecimal() else -1
    if number < least or (most is not None and number > most):
        raise _impossible(name, asked, must_be)
    return number


def seconds(name: str) -> float | None:
    """The value of a variable that says how long; None if it is not set.

    Raises:
        ConfigError: It is no number of seconds above 0.
    """
    asked = text(name)
    if asked is None:
        return None
    try:
        number = float(asked)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise _impossible(name, asked, "a number of seconds above 0, such as 600 or 0.5")
    return number


def _impossible(name: str, asked: str, must_be: str) -> ConfigError:
    return ConfigError(f"{name}={asked!r} (environment): it must be {must_be}")
