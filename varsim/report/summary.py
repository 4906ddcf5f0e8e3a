"""What is known of a run when it has ended: all that a report shows, and that `summary.json` holds.

Only plain values: whatever JSON can hold, so that what is read back equals what was written.
docs/results.md describes each field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

Plain: TypeAlias = Any
"""What JSON can hold: see `varsim.report.plain`, which makes it."""


class Status(Enum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One array: all of it if it is small, else what can be said in few words."""

    shape: list[int]
    elements: Plain  # nested lists; None if the array is large
    minimum: Plain  # these three are None where there is no such thing: empty, or complex
    mean: Plain
    maximum: Plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The same element of all components, and of the cross-replica value."""

    index: list[int]
    components: list[Plain]
    value: Plain  # None if there is no cross-replica value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """The values of one variable at the end: each replica's, and the one that a read gives."""

    components: list[Digest]  # in replica order
    value: Digest | None  # None if a cross-replica read is refused, and then why
    refused: str
    apart: Plain  # the largest difference between components in any element; None if unlike
    samples: list[Sample]  # of large arrays: where components differ most, and the first elements


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSummary:
    """One variable: its settings, what its synchronisation cost, and what it holds."""

    name: str
    free: bool  # the workload left its synchronization to the experiment
    requested: str  # a member of VariableSynchronization, by name
    synchronization: str  # what was in force: never AUTO
    aggregation: str  # a member of VariableAggregation, by name
    shape: list[int | None]
    dtype: str
    writes: int
    reads: int
    merges: int
    messages: int
    size_bytes: int
    waited_s: float
    lens: Lens | None  # None if it could not be had any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed."""

    kind: str  # the exception's class
    text: str
    traceback: str  # through the workload; "" if it says nothing more


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run."""

    status: Status
    failure: Failure | None
    varsim: str  # the version
    started: str  # local time with offset, ISO 8601
    directory: str
    experiment: dict[str, Any]  # as experiment.yaml has it
    devices: list[str]  # one per replica
    seconds: dict[str, float]  # start_up, training, in_all
    step: int  # how far the workload said it was
    total_steps: int | None  # None if it never said
    metrics: dict[str, Plain]  # the last that it reported
    result: dict[str, Plain]  # what it returned
    variables: list[VariableSummary] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
