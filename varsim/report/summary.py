"""The summary of a run: the content of `summary.json`, which the report shows.

JSON can hold all values, so a summary that is read from its file equals the summary that was
written. docs/results.md describes each field.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from varsim.analysis.outcome import Note
from varsim.shown_as_html import ShownAsHtml
from varsim.tracing.host_traffic import HostLink as HostLink  # noqa: PLC0414  # for docs/results.md
from varsim.tracing.host_traffic import HostTraffic

Plain: TypeAlias = Any
"""A value that JSON can hold; `varsim.report.json_values` converts to it."""


class RunStatus(Enum):
    """How a run ended."""

    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Phase(Enum):
    """The phases of a run, in order."""

    PILOT = "pilot"  # a short run that advises settings (`auto: advised`)
    START_UP = "start_up"
    TRAINING = "training"
    MERGING = "merging"  # merging the traces of all processes into the history
    ORACLE = "oracle"  # running the same program on one replica
    JUDGING = "judging"
    WRITING = "writing"  # writing the summary


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """An array: its shape, its extremes and mean, and all elements if it is small."""

    shape: list[int]
    elements: Plain  # nested lists; null if there are more than four
    minimum: Plain  # null if the array is empty or its dtype has no order, e.g. complex64
    mean: Plain  # null if `minimum` is null
    maximum: Plain  # null if `minimum` is null


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The same element of all components, and of the cross-replica value."""

    index: list[int]  # the element's index in each dimension
    components: list[Plain]  # as in `Lens`
    value: Plain  # null if there is no cross-replica value


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """The values of one variable at the end: each component, and the cross-replica value."""

    components: list[Digest | None]
    """In replica order; null for a lost component. Empty if the variable has one copy."""
    value: Digest | None  # the result of a cross-replica read; null if such a read is refused
    refused: str  # why a cross-replica read is refused; "" if it is not refused
    apart: Plain  # largest difference in an element; null if shapes differ, or values are lost
    samples: list[Sample]  # for a large array: the elements that differ most, or the largest
    lost: str = ""  # which components are lost, and why; "" if none is lost


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncCost:
    """The cost of synchronising a variable."""

    merges: int  # number of collective writes
    messages: int  # number of messages
    size_bytes: int  # size of the values in these messages


@dataclass(frozen=True, slots=True, kw_only=True)
class OneSidedUse:
    """The one-sided operations on a variable, and the staleness of the values that were read.

    A read is a fetch or a pull. It is behind by the versions that were published or pushed since
    the same process read the value before; a replica's own pushes do not count.
    """

    publishes: int
    fetches: int
    pushes: int
    pulls: int
    behind: float  # by how many versions a read was behind, on average
    most_behind: int
    age_s: float  # time since the publication or the last push at a read, on average
    longest_age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedUse:
    """The requests for a variable on a parameter server, and the staleness of writes.

    A write is based on a read if its closure has read the variable before. It is behind by the
    versions that others have made since then.
    """

    server: int  # the server that has the variable
    read_bytes: int  # size of the values that were read
    written_bytes: int  # size of the operands of writes
    based_writes: int  # number of writes that are based on a read
    stale_writes: int  # number of those that are behind
    behind: float  # by how many versions a write that is based on a read was behind, on average
    most_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionUse:
    """The compressed contributions to a variable: their bytes, and the error that they leave."""

    contributions: int  # number of contributions of all replicas
    size_bytes: int  # size of these contributions
    whole_bytes: int  # their size without compression
    error: float | None  # residual relative to the change, both as root mean squares of their norms


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedWaitUse:
    """How long one replica waited for another one at its writes to a variable."""

    replica: int
    waited_for: int  # the replica whose write, or whose end, has ended the waits
    waits: int
    waited_s: float  # the sum of these waits
    longest_s: float  # the longest of these waits


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedUse:
    """How far replicas were apart at a variable with bounded staleness, and what it cost them.

    A renewal of a replica's cache is behind by the versions that the cache lacked: the writes of
    others since the last renewal.
    """

    bound: int  # by how many writes a replica may be ahead of the slowest one
    most_ahead: int  # by how many writes a replica was ahead, at most
    writes: int  # the replicas' writes that have taken effect
    renewals: int
    behind: float  # by how many versions a cache was behind at its renewal, on average
    most_behind: int
    waits: list[BoundedWaitUse]  # for each pair of replicas of which one waited for the other


@dataclass(frozen=True, slots=True, kw_only=True)
class LockUse:
    """The use of one lock by one replica."""

    lock: str  # the name that the program gave; "(other locks)" for all after the first 1,000
    replica: int
    requests: int  # how often the replica got the lock
    waits: int  # how often it had to wait for the lock
    waited_s: float  # the sum of these waits
    longest_s: float  # the longest of these waits
    held_s: float  # how long it held the lock, in all


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainVariable:
    """A variable that was created outside the scope, and how replicas used it."""

    name: str  # the name that the program gave
    created_at: str  # location in the program, as file:line
    shape: list[int | None]  # null for an unknown dimension
    dtype: str  # NumPy's name
    writes: int  # number of writes by replicas
    reads: int  # number of reads by replicas


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """The verdict and the findings, as `varsim check` prints them."""

    outcome: str  # VALID: varsim kept its promises; INVALID: it broke a promise; or UNKNOWN
    reasons: list[str]  # a clause for each check that is not VALID; or what was not recomputed
    findings: list[str] = field(default_factory=list)  # one line for each group of similar findings
    compared: str = ""  # the comparison with a single device; "" without a comparison
    not_looked_at: list[Note] = field(default_factory=list)  # what was not examined, and the option


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSummary:
    """One variable: its settings, the cost of its synchronisation, and its values."""

    name: str  # the name that the program gave; two variables may have the same name
    free: bool  # whether the workload left the variable's synchronization to the experiment
    requested: str  # a member of VariableSynchronization, by name
    synchronization: str  # in force; AUTO only if adaptive; "server" on a parameter server
    aggregation: str  # a member of VariableAggregation, by name
    shape: list[int | None]  # null for an unknown dimension, which an assign may change
    dtype: str  # NumPy's name
    writes: int  # number of writes, in replica context and in cross-replica context
    reads: int  # number of reads, in replica context and in cross-replica context
    merges: int  # number of collective writes
    messages: int  # number of messages if the variable were sent alone, without shared messages
    size_bytes: int  # size of the values in these messages
    waited_s: float  # time from the arrival of a write to its effect, summed over replicas
    lens: Lens | None  # null if the values could not be fetched any more
    on_write: SyncCost | None = None  # what ON_WRITE would have cost; null unless AUTO was adaptive
    sparse_bytes: int = 0  # the part of size_bytes that sparse writes caused
    dense_bytes: int = 0  # the bytes that dense writes would have caused instead
    one_sided: OneSidedUse | None = None  # null if no one-sided operation was used
    compression: CompressionUse | None = None  # null if no contribution was compressed
    bounded: BoundedUse | None = None  # null without bounded staleness
    served: ServedUse | None = None  # null unless the variable is on a parameter server


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a run failed."""

    kind: str  # the exception's class
    text: str  # its message
    traceback: str  # the program's traceback, after the replica's traceback if a replica raised
    exit_code: int = 1  # the exit code of `varsim exec`: the argument of sys.exit, or 1
    location: str = ""  # location in the program, as file:line; "" if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """The program in the run's directory, and the versions it ran with."""

    files: list[str]  # in `program/`, the main file first; empty for a built-in workload
    left_out: list[str]  # modules in the program's folder that are not included, and why
    commit: str | None  # the commit of the program's git repository; null if there is none
    dirty: bool | None  # whether tracked files of the repository differed from the commit
    versions: dict[str, str]  # versions of varsim, Python and NumPy
    system: str  # "Linux x86_64"


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary(ShownAsHtml):
    """One run."""

    status: RunStatus  # "done", "failed" or "interrupted"
    failure: Failure | None  # null if the run did not fail
    varsim: str  # the version of varsim
    started: str  # local time with its offset, ISO 8601
    directory: str  # the run's directory, relative to the folder where varsim was started
    experiment: dict[str, Any]  # the content of experiment.yaml
    devices: list[str]  # the name of each replica's device, in replica order
    seconds: dict[str, float]  # time of each phase that began (start_up, …); in_all is the total
    step: int  # number of finished steps that the workload reported
    total_steps: int | None  # number of planned steps, if the workload reported this number
    metrics: dict[str, Plain]  # the last value of each metric that the program reported or logged
    result: dict[str, Plain]  # what the program returned
    variables: list[VariableSummary] = field(default_factory=list)  # in order of creation
    locks: list[LockUse] = field(default_factory=list)  # by name, and then in replica order
    outside_scope: list[PlainVariable] = field(default_factory=list)  # in order of the first use
    warnings: list[str] = field(default_factory=list)  # without repetitions
    verdict: Judgement | None = None  # null if nothing was recorded
    advice: list[str] = field(default_factory=list)  # the pilot run's advice (`auto: advised`)
    oracle_result: dict[str, Plain] | None = None  # what the program returned on one replica
    calls: int = 0  # number of calls of strategy.run
    closures: int = 0  # number of closures that a coordinator has scheduled
    closures_ended: int | None = None  # those that a worker ran to the end; null in older runs
    servers: int = 0  # number of parameter servers
    interrupted: list[str] = field(default_factory=list)  # phases that Ctrl-C ended early
    interrupted_call: int | None = None  # the last call of strategy.run, if Ctrl-C has ended it
    interrupted_in: str = ""  # what each replica did in this call, in lines
    no_oracle: str = ""  # why a comparison with the oracle is impossible or missing
    carried: Carried | None = None  # null in runs of older versions
    unfinished: list[str] = field(default_factory=list)  # what was not written or judged, and why
    strategy: int = 1  # the number of the strategy; its incarnations have the same number
    incarnation: int = 1  # the number of this start of the strategy's workers
    incarnations: int = 1  # number of starts in the run; above 1 after lost workers
    unstarted: bool = False  # whether the last of these starts was not completed
    faults: list[str] = field(default_factory=list)  # the faults that happened in this incarnation
    first_metrics: dict[str, Plain] = field(default_factory=dict)  # the first value of each metric
    resumed: str = ""  # the run and the step whose checkpoint this run continues, if any
    hosts: list[str] = field(default_factory=list)  # of each replica; empty: the program's host
    traffic: HostTraffic | None = None  # null if hosts is empty, or in older runs
    exchange: str = ""  # how large values were sent; "" without workers, or in older runs

    @property
    def script_reached(self) -> str:
        """Return how far a script came that every worker ran (`--spmd`); "" for other runs."""
        if not self.experiment.get("spmd"):
            return ""
        return f"{'in' if self.calls else 'before'} the script that every worker runs"

    @property
    def num_findings(self) -> int | None:
        """Return the number of groups of findings; None if the run was not judged.

        The failure of the run is one of the findings.
        """
        if self.verdict is None:
            return None
        return len(self.verdict.findings) + (self.failure is not None)

    @property
    def ended_closures(self) -> int:
        """Return the number of closures that ended; older runs have only the scheduled ones."""
        return self.closures if self.closures_ended is None else self.closures_ended

    @property
    def is_of_last(self) -> bool:
        """Return whether the strategy has no later incarnation."""
        return self.incarnation == self.incarnations
