"""The recorded cases: programs, and the outcomes in TensorFlow."""

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
"""A value in the format of the recording, which README.md describes. Numbers are exact; NaN and
infinities are the strings "nan", "inf" and "-inf"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedError:
    """The error that ended a program."""

    kind: str  # name of the exception's class
    kinds: frozenset[str] = frozenset()  # names of the exception's class and of its base classes
    at: int  # index of the program's entry that raised
    after: Json  # the components after the error; None if there is no variable
    message: str
    by_program: bool = False  # whether a line of the program raised the error, not a library


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseOutcome:
    """The outcome of a program, in the format of the recording."""

    error: RecordedError | None = None
    state: Mapping[str, Json] = field(default_factory=dict)
    """per_replica, cross_read, cross_read_dtype, attrs and initializer_calls, if known."""
    returned: Json = None
    workers: tuple[CaseOutcome, ...] = ()
    """The outcomes of all workers, if each of them has run the program."""


@dataclass(frozen=True, eq=False)
class Case:
    """One recorded program with TensorFlow's outcome."""

    record: Mapping[str, Json]

    @property
    def id(self) -> str:
        """Return the name of the case."""
        return str(self.record["id"])

    @cached_property
    def family(self) -> str:
        """Return the family of the case, which is part of its id."""
        group, family = self.id.split("/")[:2]
        if self.is_central or self.is_multi_worker:
            return self.strategy
        if self.is_served:
            return "pss"
        return group if group in {"mixing", "ckpt"} else family

    @property
    def topic(self) -> str:
        """Return what the program is about, such as create, read or numerics."""
        return self.id.split("/")[1]

    @property
    def world(self) -> int:
        """Return the number of replicas."""
        return int(self.record["world"])

    @property
    def strategy(self) -> str:
        """Return mirrored, mwms, central, one_device, default, no_strategy or pss….

        The cases of the family "mixing" have others.
        """
        return str(self.record["strategy"])

    @property
    def is_mirrored(self) -> bool:
        """Return whether the variables are distributed."""
        return self.strategy.startswith("mirrored") or self.is_multi_worker

    @property
    def is_multi_worker(self) -> bool:
        """Return whether several processes ran the program, each with one replica."""
        return self.strategy == "mwms"

    @property
    def worker(self) -> int:
        """Return the worker whose outcome this is, if `is_multi_worker`; see `of_workers`."""
        return int(self.record["worker"])

    @property
    def is_central(self) -> bool:
        """Return whether the variable has one copy, which several replicas write."""
        return self.strategy == "central"

    @property
    def is_served(self) -> bool:
        """Return whether the variables are on parameter servers."""
        return self.strategy.startswith("pss")

    @property
    def in_function(self) -> bool:
        """Return whether TensorFlow ran the program inside a tf.function."""
        return self.record.get("mode") == "function"

    @property
    def is_python(self) -> bool:
        """Return whether the program is lines of Python, not a list of operations."""
        return self.record.get("lang") == "py"

    @property
    def program(self) -> list[Any]:
        """Return the operations, or the lines of Python."""
        program: list[Any] = self.record["program"]
        return program

    @cached_property
    def text(self) -> str:
        """Return the lines of a Python program as one text."""
        return "\n".join(self.program) if self.is_python else ""

    @property
    def synchronization(self) -> str:
        """Return the synchronization that the program asks for."""
        return str(self.record.get("sync", "AUTO"))

    @property
    def aggregation(self) -> str:
        """Return the aggregation that the program asks for."""
        return str(self.record.get("agg", "NONE"))

    @property
    def dtype(self) -> str:
        """Return the dtype that the program asks for, or "" if the program names none."""
        return str(self.record.get("dtype", ""))

    @cached_property
    def recorded(self) -> CaseOutcome:
        """Return the outcome in TensorFlow."""
        error = self.record.get("error")
        if error is not None:
            return CaseOutcome(
                error=RecordedError(
                    kind=error["type"],
                    at=error["at"],
                    after=error["per_replica_after"],
                    message=error["message"],
                )
            )
        result = dict(self.record["result"])
        returned = result.pop("returned", None)
        return CaseOutcome(state=result, returned=returned)


def of_workers(case: Case) -> list[Case]:
    """Return the case as each worker saw it: the recorded outcome is that of one process."""
    outcomes = case.record.get("per_worker") or [_outcome_of(case, i) for i in range(case.world)]
    kept = {key: value for key, value in case.record.items() if key not in ("result", "error")}
    return [
        Case({**kept, "worker": i, **(own if "error" in own else {"result": own})})
        for i, own in enumerate(outcomes)
    ]


def _outcome_of(case: Case, worker: int) -> Mapping[str, Json]:
    """Return the part of one worker in an outcome that is otherwise equal on all workers."""
    error = case.record.get("error")
    if error is None:
        return _own_part(case.record["result"], "per_replica", worker)
    return {"error": _own_part(error, "per_replica_after", worker)}


def _own_part(outcome: Mapping[str, Json], key: str, worker: int) -> Mapping[str, Json]:
    return outcome if outcome.get(key) is None else {**outcome, key: [outcome[key][worker]]}


def load() -> list[Case]:
    """Return all cases in scope, sorted by id."""
    recording = json.loads(gzip.decompress(CASES.read_bytes()))
    return [Case(record) for record in recording["cases"]]
