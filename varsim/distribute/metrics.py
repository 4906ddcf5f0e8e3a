"""Provide `tf.log`: keep the metrics of a step in the run that records the program."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

import numpy as np

from varsim.distribute.context import current_frame
from varsim.distribute.host_requests import LogMetrics
from varsim.distribute.supervision import are_refused
from varsim.errors import ContextError, MetricError, VarsimError
from varsim.location import user_location

LAST_STEP: Final = 2**53
"""The largest number of a step: JSON and charts have whole numbers up to here."""

RESERVED: Final = ("step", "seconds")
"""The names that no metric can have: every line of a series has these numbers."""


class MetricReceiver(Protocol):
    """The part of a run that keeps the metrics of its program."""

    def log(self, step: int | None, values: Mapping[str, float]) -> None:
        """Keep the metrics of a step; None is the run's own count of steps."""


_receivers: list[tuple[int, MetricReceiver | None]] = []
"""The ids of processes and their receivers; the last one is in use. Forks do not use it.

This is no ContextVar: a thread that the program starts may log, too.
"""


@contextmanager
def logging_to(receiver: MetricReceiver | None) -> Iterator[None]:
    """Give what this process logs in the `with` block to a receiver; None drops it."""
    _receivers.append((os.getpid(), receiver))
    try:
        yield
    finally:
        _receivers.pop()


def log(*, step: int | None = None, **metrics: Any) -> None:
    """Keep metrics of a step as series of the run, such as `tf.log(loss=0.3, accuracy=0.9)`.

    Under `varsim run` and `varsim exec`, each call adds a line to `metrics.jsonl` of the run.
    Without a run, as under `python`, the values are checked, and nothing is written.

    Call it outside `strategy.run`, with values of the whole step. In a script of all workers
    (`varsim exec --spmd`), every worker may call it, and the values of replica 0 are kept.

    Args:
        step: The number of the step, from 0. By default the number of the running step of
            `job.each_step`; in a program without this loop, the number of calls of `strategy.run`
            so far; in a script of all workers, the number of calls of `log` so far.
        metrics: Numbers: of Python, of NumPy, or any value without axes that `float` accepts.
    Raises:
        MetricError: A value is not a number, or a metric has a reserved or an empty name.
        ContextError: A function of `strategy.run`, or a closure, logs.
    """
    values = numbers(metrics)
    number = None if step is None else step_number(step)
    frame = current_frame()
    replica = None if frame is None else frame.replica
    if replica is None and (frame is None or frame.home is None):
        receive(number, values)
    elif replica is None or not are_refused():
        at = f" at {where}" if (where := user_location()) else ""
        text = _IN_A_CLOSURE if replica is None else _ON_A_REPLICA
        raise ContextError(text.format(at=at, names=", ".join(values)))
    elif replica.replica_id_in_sync_group == 0:
        replica.session.call_host(LogMetrics(number, values))


_ON_A_REPLICA: Final = (
    "log({names}){at} is called by the function of a replica: each replica has only its own part "
    "of the step.\n"
    "  Return the values from the function, combine them with strategy.reduce(...), and log the "
    "result outside strategy.run."
)


_IN_A_CLOSURE: Final = (
    "log({names}){at} is called by a closure, which runs on a worker: no run receives its values.\n"
    "  Return the values from the closure, and log result.fetch() in the program."
)


def receive(step: int | None, values: Mapping[str, float]) -> None:
    """Give checked metrics to the run of this process, if there is one."""
    if not _receivers:
        return
    process, receiver = _receivers[-1]
    if receiver is not None and process == os.getpid():
        receiver.log(step, values)


def step_number(step: Any) -> int:
    """Return the number of a step.

    Raises:
        MetricError: It is not a whole number from 0 to `LAST_STEP`.
    """
    try:
        number = operator.index(step)
    except TypeError:
        number = int(step) if isinstance(step, float) and step.is_integer() else -1
    if number < 0:
        raise _error(f"step={step!r} is not a whole number from 0", "give the number of the step")
    if number > LAST_STEP:
        raise _error(f"step= is larger than {LAST_STEP:,}", "give the number of the step")
    return number


def numbers(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics as numbers of Python. Integers stay integers.

    Raises:
        MetricError: A value is not a number, or a name is reserved or empty.
    """
    return {name: _number(name, value) for name, value in metrics.items()}


def _number(name: str, value: Any) -> float:
    if name in RESERVED:
        raise _error(f"no metric can be called {name!r}", "choose another name")
    if not name.strip():
        raise _error(f"a metric is called {name!r}", "give it a name")
    try:
        number = number_or_none(value)
        axes = 0 if number is not None else np.ndim(value)
    except VarsimError:  # per-replica values, and variables without a single value
        raise _error(
            f"the metric {name!r} has no single value: {type(value).__name__}, a value per replica",
            "combine them, as by strategy.reduce(tf.distribute.ReduceOp.MEAN, value, axis=None), "
            "and log the result",
        ) from None
    if number is None:
        text = repr(value) if axes == 0 else f"of shape {list(np.shape(value))}"
        raise _error(
            f"the value of the metric {name!r} is not one number: {type(value).__name__} "
            f"{text[:_MOST_SHOWN]}",
            "log numbers; strategy.reduce(...) makes one value of the values of all replicas",
        )
    return number


def number_or_none(value: Any) -> float | None:
    """Return a value as an int or a float of Python; None if it is not one number."""
    if type(value) is float:
        return value
    if isinstance(value, bool | np.bool_ | int | np.integer):
        number = int(value)
        return number if abs(number) < _LARGEST else None
    is_scalar = hasattr(value, "__float__") and getattr(value, "shape", ()) == ()
    if not is_scalar or isinstance(value, np.complexfloating):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


_LARGEST: Final = 2**1023
_MOST_SHOWN: Final = 60
"""The number of characters that an error shows of a wrong value."""


def spelt(number: float) -> float | str:
    """Return a number as JSON can hold it: the numbers that JSON lacks become texts."""
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _error(problem: str, remedy: str) -> MetricError:
    where = user_location()
    error = MetricError(f"log(...){f' at {where}' if where else ''}: {problem}: {remedy}")
    error.location = where
    return error
