"""Lines of a program that create a variable with certain settings."""

from __future__ import annotations

import json

from varsim.spec import Synchronization, VariableSynchronization
from varsim.texts.faces import Face, mean_of_rows


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


def lines_that_write_outside(
    name: str, *, operation: str = "assign", op: str = "", replica_id: int = 0
) -> tuple[str, str, str]:
    """Return lines that write one value in the program, instead of a value on each replica.

    Args:
        name: The name of the variable.
        operation: "assign", or a method that adds, such as "assign_add".
        op: How the program combines the replicas' values: "SUM" or "MEAN"; "" to take one value.
        replica_id: The replica whose value the program takes.
    """
    if op:
        value = f'strategy.reduce("{op}", results, axis=None)'
    else:
        value = f"strategy.experimental_local_results(results)[{replica_id}]"
    return (
        "return value  # the last line of step, instead of the write",
        "results = strategy.run(step, args=…)  # in the program",
        f"{in_program(name)}.{operation}({value})",
    )


def lines_of_a_mean(name: str = "", operation: str = "", face: Face = Face.CONTEXT) -> list[str]:
    """Return lines that compute the mean of all rows, whatever the numbers of rows of replicas.

    Args:
        name: The name of the variable that the program writes by `operation`; "" for no variable.
        face: Programs with other faces than tf.distribute have no `strategy.run`.
    """
    if face is not Face.CONTEXT:
        return list(mean_of_rows(face))
    lines = [
        "return np.sum(values, axis=0), len(values)  # the last line of step",
        "sums, counts = strategy.run(step, args=…)  # in the program",
        'total = strategy.reduce("SUM", sums, axis=None)',
        'mean = total / strategy.reduce("SUM", counts, axis=None)',
    ]
    writes = operation in {"assign", "assign_add", "assign_sub"}
    return [*lines, f"{in_program(name)}.{operation}(mean)"] if writes else lines


def in_program(name: str) -> str:
    """Return how a line of a program calls a variable: by its name, if that is an identifier."""
    return name if name.isidentifier() else "variable"
