"""Check the arguments of a strategy with workers.

Functions raise a `DistributedValueError` about a wrong argument.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from operator import index
from typing import Any, Final

from varsim import environment
from varsim.distribute.lost_workers import LostWorkers, OnWorkerLost
from varsim.distribute.options import RunOptions
from varsim.errors import DistributedValueError
from varsim.launch.devices import default_devices, problem_with
from varsim.sync.stalls import DEFAULT_LIMITS, StallLimits
from varsim.texts.uneven import UNEVEN
from varsim.tracing.trace import TraceOptions

AUTO_MEANS: Final = ("on_write", "adaptive")
"""The possible meanings of synchronization AUTO. The first one is the default."""


def is_count(value: object) -> bool:
    """Return whether a value is an int of at least 0. A bool is not, although it is an int."""
    return not isinstance(value, bool) and hasattr(value, "__index__") and index(value) >= 0


def is_real(value: object) -> bool:
    """Return whether a value is a real number. A bool is not, although it is an int."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def checked_auto(auto: str) -> str:
    """Return the meaning of AUTO; refuse any other text."""
    if auto not in AUTO_MEANS:
        raise DistributedValueError(f"auto={auto!r}: expected one of {', '.join(AUTO_MEANS)}")
    return auto


def checked_trace(trace: Any) -> TraceOptions | None:
    """Return the options of the trace; refuse any other object."""
    if trace is not None and not isinstance(trace, TraceOptions):
        raise DistributedValueError(
            f"trace={trace!r}: it must be a TraceOptions: write TraceOptions({str(trace)!r}) after "
            "`from varsim.tracing.trace import TraceOptions`"
        )
    return trace


def checked_seed(seed: int | None) -> int | None:
    """Return the seed as an int, or None; refuse any other value."""
    if seed is not None and not is_count(seed):
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


def checked_lost_workers(on_worker_lost: str, max_restarts: int) -> LostWorkers:
    """Return what happens after a worker was lost; refuse other values."""
    policies = [one.value for one in OnWorkerLost]
    if on_worker_lost not in policies:
        raise DistributedValueError(
            f"on_worker_lost={on_worker_lost!r}: expected one of {', '.join(policies)}"
        )
    if not is_count(max_restarts):
        raise DistributedValueError(f"max_restarts={max_restarts!r}: expected an int of at least 0")
    return LostWorkers(OnWorkerLost(on_worker_lost), index(max_restarts))


def checked_stall_times(
    stall_warn_s: float | None, stall_fail_s: float | None
) -> tuple[float | None, float | None]:
    """Return both times, each None or a finite number that is not negative; refuse other values."""
    for name, time_s in (("stall_warn_s", stall_warn_s), ("stall_fail_s", stall_fail_s)):
        if time_s is None:
            continue
        if not is_real(time_s) or not 0 <= time_s < math.inf:  # a program can pass anything
            raise DistributedValueError(
                f"{name}={time_s!r}: expected a number of seconds, such as 60 or 0.5; 0 means never"
            )
    return stall_warn_s, stall_fail_s


def checked_link_loss(link_loss_s: float | None) -> float | None:
    """Return `link_loss_s`, which is None or a finite number above 0; refuse other values."""
    if link_loss_s is not None and (not is_real(link_loss_s) or not 0 < link_loss_s < math.inf):
        raise DistributedValueError(
            f"link_loss_s={link_loss_s!r}: expected a number of seconds above 0, such as 20"
        )
    return link_loss_s


def limits_of_call(options: Any, limits: StallLimits) -> StallLimits | None:
    """Return the limits of a call with options; None if the strategy's limits apply."""
    if not isinstance(options, RunOptions):
        return None
    return limits.changed(*checked_stall_times(options.stall_warn_s, options.stall_fail_s))


def limits_of_environment() -> StallLimits:
    """Return the limits of replicas without progress, with the environment's time-out of calls.

    Raises:
        ConfigError: VARSIM_CALL_TIMEOUT_S is not a time.
    """
    return DEFAULT_LIMITS.changed(fail_s=environment.seconds(environment.CALL_TIMEOUT))
