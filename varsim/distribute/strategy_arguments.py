"""Check the arguments of a strategy with workers.

Every function raises a `DistributedValueError` about a wrong argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from varsim.distribute.shares import UNEVEN
from varsim.errors import DistributedValueError
from varsim.launch.devices import default_devices, problem_with
from varsim.tracing.trace import TraceOptions


def checked_trace(trace: Any) -> TraceOptions | None:
    """Return the options of the trace; refuse any other object."""
    if trace is not None and not isinstance(trace, TraceOptions):
        raise DistributedValueError(
            f"trace={trace!r}: it must be a TraceOptions of varsim.tracing.trace, such as "
            f"TraceOptions({str(trace)!r})"
        )
    return trace


def checked_seed(seed: int | None) -> int | None:
    """Return the seed as an int, or None; refuse any other value."""
    if seed is not None and (not hasattr(seed, "__index__") or index(seed) < 0):
        raise DistributedValueError(f"seed={seed!r}: it must be None or an int of at least 0")
    return None if seed is None else index(seed)


def checked_devices(devices: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the devices; None gives the default devices."""
    if devices is None:
        return default_devices()
    if isinstance(devices, str):
        raise DistributedValueError(f"devices must be a list of names: write [{devices!r}]")
    names = tuple(devices)
    problem = problem_with(names)
    if problem:
        raise DistributedValueError(f"devices: {problem}")
    return names


def checked_uneven(uneven: Any) -> str:
    """Return what a distributed dataset does if a replica has no rows; refuse other values."""
    if uneven not in UNEVEN:
        raise DistributedValueError(f"uneven={uneven!r}: expected one of {', '.join(UNEVEN)}")
    return str(uneven)
