"""Read the environment variables `VARSIM_*`; no other module reads them.

A variable is read when an operation needs its value, so that this operation raises the error about
an invalid value.
"""

from __future__ import annotations

import math
import os
from typing import Final

from varsim.errors import ConfigError

MAX_REPLICAS: Final = 1024
"""Largest number of replicas of a cluster. A history or a trace with more replicas is damaged."""

PREFIX: Final = "VARSIM_"
"""The beginning of the names of all these variables."""

WORKERS: Final = "VARSIM_WORKERS"
"""Number of replicas, for programs and experiments that do not name devices."""

CALL_TIMEOUT: Final = "VARSIM_CALL_TIMEOUT_S"
"""Longest time without progress of a replica during a call, in seconds; 0 means no limit."""

SHARED_MEMORY: Final = "VARSIM_SHARED_MEMORY_BYTES"
"""Limit of the shared memory of all processes of a cluster, in bytes."""

RUNS_LIMIT: Final = "VARSIM_RUNS_LIMIT"
"""Size limit of the folder of runs, such as 2GiB; after each run, the oldest runs are removed."""

EVENT_LOGS: Final = "VARSIM_EVENT_LOGS"
"""Folder in which every process of a cluster records the events of its state, for tests."""


def text(name: str) -> str | None:
    """Return the text of an environment variable; None if it is not set."""
    return os.environ.get(name)


def whole_number(name: str, expected: str, least: int = 0, most: int | None = None) -> int | None:
    """Return an environment variable as an integer; None if it is not set.

    Args:
        expected: The allowed values, for the error.
    Raises:
        ConfigError: The value is not an integer from `least` to `most`.
    """
    asked = text(name)
    if asked is None:
        return None
    number = int(asked) if asked.isascii() and asked.isdecimal() else -1
    if number < least or (most is not None and number > most):
        raise _impossible(name, asked, expected)
    return number


def seconds(name: str) -> float | None:
    """Return an environment variable as a number of seconds; None if it is not set.

    Raises:
        ConfigError: The value is not a finite number of at least 0.
    """
    asked = text(name)
    if asked is None:
        return None
    try:
        number = float(asked)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        expected = "a number of seconds, such as 600 or 0.5; 0 means no limit"
        raise _impossible(name, asked, expected)
    return number


def _impossible(name: str, asked: str, expected: str) -> ConfigError:
    return ConfigError(f"{name}={asked!r} (environment): expected {expected}")
