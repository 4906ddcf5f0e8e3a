"""The texts about workers that ask for different operations in cross-replica context."""

from __future__ import annotations

from typing import TYPE_CHECKING

from varsim.texts.facts import Fact, name_replicas, shown
from varsim.texts.replicas import Namesake
from varsim.value_class import value_class

if TYPE_CHECKING:  # as in `facts`
    from varsim.spec import Array


@value_class(eq=False)
class Request:
    """The value that one worker gives to an operation, and the line."""

    replica_id: int
    value: Array | tuple[Array, Array] | None  # rows are (indices, values); None: not shown
    location: str


@value_class(eq=False)
class Disagreement(Fact):
    """The workers give different values to one operation of cross-replica context."""

    operation: str
    requests: tuple[Request, ...]

    def __str__(self) -> str:
        lines = [
            f"the workers give different values to {self.operation} in cross-replica context, so "
            "their copies would differ; nothing has changed"
        ]
        groups: dict[str, list[int]] = {}
        for request in self.requests:
            groups.setdefault(_text(request), []).append(request.replica_id)
        lines += [f"  {name_replicas(ids)}: {text}" for text, ids in groups.items()]
        return "\n".join(lines)


def _text(request: Request) -> str:
    at = f" at {request.location}" if request.location else ""
    match request.value:
        case None:
            return f"another value{at}"
        case (indices, values):
            return f"rows {shown(indices)}: {shown(values)}{at}"
        case value:
            return f"{shown(value)}{at}"


@value_class
class Use:
    """The variable that one worker means, and the line."""

    replica_id: int
    variable_id: int
    created_at: str
    location: str


@value_class
class OtherVariable(Fact):
    """The workers mean different variables that have the same name."""

    operation: str
    uses: tuple[Use, ...]

    def __str__(self) -> str:
        groups: dict[int, list[Use]] = {}
        for use in self.uses:
            groups.setdefault(use.variable_id, []).append(use)
        lines = [f"{self.operation}: the workers mean different variables with this name"]
        numbers = {one: number for number, one in enumerate(sorted(groups), 1)}
        for variable_id, uses in groups.items():
            which = Namesake(numbers[variable_id], len(groups), uses[0].created_at)
            at = f"; used at {uses[0].location}" if uses[0].location else ""
            lines.append(f"  {name_replicas([use.replica_id for use in uses])}: {which}{at}")
        lines.append(
            "  All workers must perform the same operations in the same order. Give each variable "
            "its own name, so that errors can tell them apart."
        )
        return "\n".join(lines)
