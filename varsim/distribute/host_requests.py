"""Define the requests of a replica to the program's own process, which a `HostCall` contains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from varsim.spec import Operand, Operation
from varsim.value_class import value_class


@value_class(eq=False)
class ReadVariable:
    """Read a plain variable, or another replica's component. The result is an array."""

    variable: Any


@value_class(eq=False)
class WriteVariable:
    """Write a plain variable, or another replica's component."""

    variable: Any
    operation: Operation
    operand: Operand


@value_class(eq=False)
class DescribeVariable:
    """Return the `repr` of a distributed variable with all its components."""

    variable: Any


@value_class(eq=False)
class CreateVariable:
    """Create a distributed variable. All replicas of a call must create the same variables."""

    arguments: dict[str, Any]  # name → value, for all arguments of `tf.Variable`


@value_class(eq=False)
class LogMetrics:
    """Keep metrics of a script that every worker runs. The result is None."""

    step: int | None  # None: the run counts
    values: Mapping[str, float]


HostRequest = ReadVariable | WriteVariable | DescribeVariable | CreateVariable | LogMetrics
