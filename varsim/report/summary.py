"""What is known of a run when it has ended: all that a report shows, and that `summary.json` holds.

Only plain values: whatever JSON can hold, so that what is read back equals what was written.
docs/results.md describes each field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from varsim.analysis.notes import Note

Plain: TypeAlias = Any
"""What JSON can hold: see `varsim.report.plain`, which makes it."""


class Status(Enum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Part(Enum):
    """What a run does, one after the other."""

    PILOT = "pilot"  # with `auto: advised`: a short run, and what it advises
    START_UP = "start_up"
    TRAINING = "training"
    MERGING = "merging"  # the traces of all processes into the history
    ORACLE = "oracle"  # the same program on one replica
    JUDGING = "judging"
    WRITING = "writing"  # the summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One array: all of it if it is small, else what can be said in few words."""

    shape: list[int]
    elements: Plain  # nested lists; null if there are more than four
    minimum: Plain  # null where there is no such thing: of an empty or a complex array
    mean: Plain  # likewise
    maximum: Plain  # likewise


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The same element of all components, and of the cross-replica value."""

    index: list[int]  # of the element
    components: list[Plain]  # in replica order
    value: Plain  # null if there is no cross-replica value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """The values of one variable at the end: each replica's, and the one that a read gives."""

    components: list[Digest]  # in replica order
    value: Digest | None  # what a cross-replica read gives; null if it is refused
    refused: str  # why; "" if it is not
    apart: Plain  # the largest difference between components in any element; null if shapes differ
    samples: list[Sample]  # of large arrays: where components differ most; else the largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What synchronising a variable costs."""

    merges: int
    messages: int
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What `varsim check` says of the run."""

    outcome: str  # VALID: varsim kept its promises; INVALID: it broke one; UNKNOWN
    reasons: list[str]  # a sentence for each check that is not VALID
    findings: list[str] = field(default_factory=list)  # kind, variables, place; similar ones once
    compared: str = ""  # the comparison with a single device; "" without one
    not_looked_at: list[Note] = field(default_factory=list)  # with the option that would look at it


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSummary:
    """One variable: its settings, what its synchronisation cost, and what it holds."""

    name: str  # as the workload gave it; two may have the same
    free: bool  # whether the workload left its synchronization to the experiment
    requested: str  # a member of VariableSynchronization, by name
    synchronization: str  # what was in force: AUTO only if adaptive
    aggregation: str  # a member of VariableAggregation, by name
    shape: list[int | None]  # null for a dimension that an assign may change
    dtype: str  # NumPy's name
    writes: int  # by the program and by every replica
    reads: int  # likewise
    merges: int  # times that all replicas met over a write
    messages: int  # that it would need alone; in fact many travel together
    size_bytes: int  # of the values in them
    waited_s: float  # summed over replicas: from a contribution's arrival to the commit
    lens: Lens | None  # null if the values could not be had any more
    on_write: Cost | None = None  # what ON_WRITE would have cost; null unless it is adaptive


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed."""

    kind: str  # the exception's class
    text: str  # its message
    traceback: str  # the replica's, if it was raised there, and where the workload was
    exit_code: int = 1  # of `varsim exec`: what the program gave to sys.exit, else 1
    place: str = ""  # where in the program, as file:line; "" if that is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The program in the run's directory, and the versions that it ran with."""

    files: list[str]  # in `program/`, the main file first; none for a built-in workload
    left_out: list[str]  # modules of its own folder that are not included, and why
    commit: str | None  # of its git repository; null if there is none
    dirty: bool | None  # whether tracked files there differed from the commit
    versions: dict[str, str]  # of varsim, Python and NumPy
    system: str  # "Linux x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run."""

    status: Status  # "done", "failed" or "interrupted"
    failure: Failure | None  # null unless it failed
    varsim: str  # the version that ran it
    started: str  # local time with its offset, ISO 8601
    directory: str  # as `out` said, so relative to where varsim was started
    experiment: dict[str, Any]  # as experiment.yaml has it
    devices: list[str]  # the name of each replica's device, in replica order
    seconds: dict[str, float]  # of each part (start_up, training, …) that was reached, and in_all
    step: int  # how many steps the workload said were done
    total_steps: int | None  # how many it said there would be; null if it never said
    metrics: dict[str, Plain]  # the last that it reported
    result: dict[str, Plain]  # what it returned
    variables: list[VariableSummary] = field(default_factory=list)  # in order of creation
    warnings: list[str] = field(default_factory=list)  # each once
    verdict: Judgement | None = None  # null if nothing was recorded
    advice: list[str] = field(default_factory=list)  # of the pilot run that it took
    oracle_result: dict[str, Plain] | None = None  # what it returned on a single device
    calls: int = 0  # of strategy.run
    interrupted: list[str] = field(default_factory=list)  # parts that Ctrl-C ended early
    no_oracle: str = ""  # why there is no comparison with the oracle, if one was asked for
    carried: Carried | None = None  # null in runs of older versions
