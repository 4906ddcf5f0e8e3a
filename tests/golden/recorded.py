"""The recorded cases, as values: what a program was, and what TensorFlow made of it."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases.json.gz"

Json = Any
"""A value in the recording's own terms: see README.md. A number is exact; NaN and infinities are
the strings "nan", "inf" and "-inf"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An error that a program ended with."""

    kind: str  # the exception's class
    kinds: frozenset[str] = frozenset()  # it, and all classes that it inherits from
    at: int  # index of the program's entry that raised
    after: Json  # the components after it; None if there is no variable
    message: str
    by_program: bool = False  # whether the program's own line raised it, and not a library


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a program left behind, in the recording's own terms."""

    error: Failure | None = None
    state: Mapping[str, Json] = field(default_factory=dict)
    """per_replica, cross_read, cross_read_dtype, attrs and initializer_calls, as far as known."""
    returned: Json = None


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded program with TensorFlow's outcome."""

    record: Mapping[str, Json]

    @property
    def id(self) -> str:
        """The name of the case, for people."""
        return str(self.record["id"])

    @cached_property
    def family(self) -> str:
        """What kind of question the case asks."""
        group, family = self.id.split("/")[:2]
        return group if group == "mixing" else family

    @property
    def world(self) -> int:
        """How many replicas there are."""
        return int(self.record["world"])

    @property
    def strategy(self) -> str:
        """mirrored, one_device, default or no_strategy; in mixing, several."""
        return str(self.record["strategy"])

    @property
    def is_mirrored(self) -> bool:
        """Whether the variables are distributed."""
        return self.strategy.startswith("mirrored")

    @property
    def in_function(self) -> bool:
        """Whether TensorFlow ran it inside a tf.function."""
        return self.record.get("mode") == "function"

    @property
    def is_python(self) -> bool:
        """Whether the program is lines of Python and not a list of operations."""
        return self.record.get("lang") == "py"

    @property
    def program(self) -> list[Any]:
        """Operations, or lines of Python."""
        program: list[Any] = self.record["program"]
        return program

    @cached_property
    def text(self) -> str:
        """The lines of a Python program, put together."""
        return "\n".join(self.program) if self.is_python else ""

    @property
    def synchronization(self) -> str:
        """The synchronization that the program asks for."""
        return str(self.record.get("sync", "AUTO"))

    @property
    def aggregation(self) -> str:
        """The aggregation that the program asks for."""
        return str(self.record.get("agg", "NONE"))

    @property
    def dtype(self) -> str:
        """The dtype that the program asks for; "" if it leaves it to the value."""
        return str(self.record.get("dtype", ""))

    @cached_property
    def recorded(self) -> Outcome:
        """What TensorFlow did."""
        error = self.record.get("error")
        if error is not None:
            return Outcome(
                error=Failure(
                    kind=error["type"],
                    at=error["at"],
                    after=error["per_replica_after"],
                    message=error["message"],
                )
            )
        result = dict(self.record["result"])
        returned = result.pop("returned", None)
        return Outcome(state=result, returned=returned)


def load() -> list[Case]:
    """All cases in scope, sorted by id."""
    recording = json.loads(gzip.decompress(CASES.read_bytes()))
    return [Case(record) for record in recording["cases"]]
