"""Lines of a program that create a variable with certain settings."""

from __future__ import annotations

import json

from varsim.spec import Synchronization, VariableSynchronization


def variable_lines(name: str, synchronization: Synchronization, aggregation: str) -> list[str]:
    """Return the arguments of `tf.Variable` that select settings.

    Args:
        aggregation: The name of a member of `tf.VariableAggregation`.
    """
    return [
        f"tf.Variable(…, name={json.dumps(name, ensure_ascii=False)},",
        f"    synchronization={_in_python(synchronization)},",
        f"    aggregation=tf.VariableAggregation.{aggregation})",
    ]


def _in_python(synchronization: Synchronization) -> str:
    if isinstance(synchronization, VariableSynchronization):
        return f"tf.VariableSynchronization.{synchronization.name}"
    return f"…  # {synchronization.name}"
