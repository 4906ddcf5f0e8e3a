"""Judge the operations of parameter servers: recompute every value, and find lost updates.

Everything about a variable is on one server, in the order in which the server has handled it. So
each variable is judged by itself. A *lost update* is a write that is no part of the final value: a
later assign has overwritten it, although the closure of this assign had read an older value.

Each version has a *parent*, from which it was made. The parent of an assign is the version that its
closure had read, or else the version before it: an assign without a read overwrites on purpose. The
parent of any other write is the version before it, because the server adds to the value that it
has. The updates that are left are those on the way from the last version back to version 0.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final

import numpy as np

from varsim.analysis import arithmetic
from varsim.analysis.arithmetic import Flat
from varsim.analysis.failures import FAILED, Ending, failed_run
from varsim.analysis.findings.model import Finding, FindingKind, most
from varsim.analysis.notes import ENDING
from varsim.analysis.outcome import Note, Outcome, Recomputed, Verdict, overall
from varsim.analysis.sampled import SampledRows, is_part, recorded
from varsim.analysis.sparse import INDEX
from varsim.extension_dtypes import named
from varsim.spec import Rows
from varsim.texts.facts import times
from varsim.tracing.samples import Statistics
from varsim.tracing.served_record import NOT_READ, ServedOperation, ServerRecord

LOST_UPDATE: Final = FindingKind(name="lost update", about_values=True)
REPEATED_WRITE: Final = FindingKind(name="repeated write", about_values=True)

KINDS: Final = (LOST_UPDATE, REPEATED_WRITE)
"""What a record of parameter servers is searched for."""

MOST_EVENTS: Final = 6
"""Largest number of operations kept for a finding."""

PROMISE: Final = (
    "every value that was read is the initial value with all writes before it, in the order of the "
    "server"
)

_NOT_RECORDED: Final = (
    "is not in the record: it is too large (--trace messages records it), or was left out of an "
    "export"
)

_REMEDY: Final = (
    "Let the server compute the change: v.assign_add(change), v.assign_sub(change), or a sparse "
    "write. Each is atomic. Or let only one closure write the variable."
)

_REMEDY_OF_REPEATED: Final = (
    "A closure runs at least once, as in TensorFlow. Let closures write what does not change if "
    "they run twice, such as an assign of a computed value, or restore a checkpoint after the loss."
)


_NOTES: Final = (
    Note(
        text="updates that are lost because an assigned value was read in an earlier closure, or "
        "in the program: only reads of the same closure are known"
    ),
    Note(
        text="which closures failed, what they computed, and values outside variables: the record "
        "has only the reads and writes of variables"
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedAccount:
    """What happened to one variable.

    Attributes:
        number: The number of the variable, which distinguishes variables of the same name.
        behind: The number of writes of others between the read and the write of a closure → how
            many writes had it. Writes without a read are not counted.
        lost: The number of lost updates.
        repeated: The number of writes that happened twice, because a closure ran again.
    """

    variable: str
    number: int
    server: int
    reads: int
    writes: int
    behind: tuple[tuple[int, int], ...]
    lost: int
    repeated: int


@dataclass(frozen=True, slots=True)
class ServedExamination:
    """The result of examining the records of all servers."""

    verdicts: tuple[Verdict, ...]
    """One for each variable; the checker is the name of the variable."""

    findings: tuple[Finding, ...]
    accounts: tuple[ServedAccount, ...]
    num_operations: int
    not_looked_at: tuple[Note, ...]
    is_whole: bool
    """Whether all records are whole; only whole records are searched for lost updates."""

    ending: Ending | None
    """How the program ended; None if this is not known."""

    compared: ClassVar[None] = None
    """There is no comparison: a single device has no closures."""

    @property
    def run_failed(self) -> bool:
        """Return whether the run failed."""
        return self.ending is not None and self.ending.status == FAILED

    @property
    def outcome(self) -> Outcome:
        """Return the outcome of all verdicts together."""
        return overall(self.verdicts)


def examine_servers(
    records: Sequence[ServerRecord], ending: Ending | None = None
) -> ServedExamination:
    """Judge the records of all servers of a strategy.

    Args:
        records: In the order of the servers; see `varsim.tracing.served_record.server_records`.
        ending: How the program ended; None if this is not known.
    Raises:
        TraceError: A file is not a trace of this version.
    """
    verdicts: list[Verdict] = []
    findings: list[Finding] = []
    if ending is not None and ending.status == FAILED:
        failed = failed_run(ending)
        findings.append(replace(failed, what=f"{failed.what}\n{ending.early}."))
    accounts: list[ServedAccount] = []
    notes: list[Note] = []
    count = 0
    for server, record in enumerate(records):
        judged = _judged(record, count)
        count = judged.count
        if record.missing:
            notes.append(Note(text=f"what server {server} did last: {record.missing}"))
            if not judged.variables:
                verdicts.append(Verdict(f"server {server}", Outcome.UNKNOWN, _cut(record.missing)))
        for variable in judged.variables.values():
            verdicts.append(variable.verdict(record.missing))
            accounts.append(variable.account(server))
            if not record.missing:
                findings += variable.findings()
    notes += _NOTES
    if ending is None or not ending.is_known:
        notes.append(ENDING)
    return ServedExamination(
        verdicts=tuple(verdicts),
        findings=tuple(findings),
        accounts=tuple(accounts),
        num_operations=count,
        not_looked_at=tuple(notes),
        is_whole=not any(record.missing for record in records),
        ending=ending,
    )


@dataclass(slots=True)
class _Judged:
    count: int
    """The number of operations, those of the servers before this one included."""

    variables: dict[int, ServedVariable] = field(default_factory=dict)


def _judged(record: ServerRecord, before: int) -> _Judged:
    judged = _Judged(before)
    with arithmetic.quiet():
        for operation in record.operations(before):
            judged.count += 1
            number = operation.variable
            if number not in judged.variables:
                judged.variables[number] = ServedVariable(number, record.names.get(number, ""))
                if operation.operation != "create":
                    judged.variables[number].unknown = "its creation was not recorded"
            judged.variables[number].take(operation)
    return judged


@dataclass(slots=True)
class ServedVariable:
    """One variable, after the operations that were taken until now."""

    number: int
    name: str
    value: Flat | None = None
    version: int = 0
    reads: int = 0
    parents: list[int] = field(default_factory=lambda: [0])  # version → its parent
    writes: list[str] = field(default_factory=lambda: [""])  # version → location of its write
    numbers: list[int] = field(default_factory=lambda: [0])  # version → number of its operation
    makers: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)])
    """Version → closure that made it, or 0, and the process."""

    assigns: Counter[str] = field(default_factory=Counter)  # of a read value, by location
    behind: Counter[int] = field(default_factory=Counter)
    wrong: Verdict | None = None
    unknown: str = ""
    size: int = 0  # number of elements
    unrecorded: bool = False  # whether only a checksum of some written rows was recorded
    count: int = 0  # number of reads that were compared, or could not be compared
    sampled: int = 0  # those of which only a sample was compared
    left: int = 0  # those that could not be compared, because only a checksum was recorded

    def take(self, one: ServedOperation) -> None:
        """Apply one operation, and compare it with the expected value and version."""
        if one.operation == "create":
            self.value, self.size = _flat(one), math.prod(one.shape)
        elif one.operation == "read":
            self._read(one)
        else:
            self._write(one)

    def _read(self, one: ServedOperation) -> None:
        self.reads += 1
        if one.version != self.version:
            self._refute(one, f"a read got version {one.version}, but {self.version} was current")
            return
        self.count += 1
        if self.value is None and self.unrecorded:
            self.left += 1
            return
        if self.value is None:
            self.unknown = f"the value of a write {_NOT_RECORDED}"
            return
        if one.content is None and one.digest is None:
            self.unknown = f"a value that was read {_NOT_RECORDED}"
            return
        shown = _shows(one, self.value)
        self.left += shown is None
        self.sampled += bool(shown) and is_part(self.value)
        if shown is False:
            self._refute(
                one, f"a read at {one.location} got another value of version {one.version}"
            )

    def _write(self, one: ServedOperation) -> None:
        if one.version != self.version + 1:
            self._refute(one, f"a write made version {one.version}, after version {self.version}")
        if one.read_version > self.version:
            self._refute(one, f"a closure wrote on version {one.read_version}, which did not exist")
        before, self.version = self.version, self.version + 1
        is_based = one.read_version != NOT_READ and one.read_version <= before
        parent = before
        if is_based:
            self.behind[before - one.read_version] += 1
            if one.operation == "assign":
                parent = one.read_version
                self.assigns[one.location] += 1
        self.parents.append(parent)
        self.writes.append(one.location)
        self.makers.append((one.closure_id, one.process))
        self.numbers.append(one.number)
        operand = _operand(one, self.size)
        if operand is None:
            self.unrecorded = one.digest is not None
        if operand is None or (self.value is None and one.operation != "assign"):
            self.value = None
            return
        if self.value is None:
            self.value = None if isinstance(operand, Rows) else operand
        else:
            self.value = arithmetic.updated(self.value, one.operation, operand)

    def _refute(self, one: ServedOperation, reason: str) -> None:
        if self.wrong is None:
            reason = f"{reason} (event {one.number})"
            self.wrong = Verdict(self.name, Outcome.INVALID, reason, variable=self.number)

    # ------------------------------------------------------------ results

    def verdict(self, missing: str) -> Verdict:
        """Return whether the server kept its promise."""
        if self.wrong is not None:
            return self.wrong
        if missing or self.unknown:
            why = self.unknown or _cut(missing)
            return Verdict(self.name, Outcome.UNKNOWN, why, variable=self.number)
        recomputed = Recomputed(self.count, self.sampled, self.left)
        limit = recomputed.limit("read")
        reason = f"{PROMISE}; {limit}" if limit else PROMISE
        return Verdict(
            self.name, Outcome.VALID, reason, variable=self.number, recomputed=recomputed
        )

    def lost(self) -> Iterator[tuple[int, int]]:
        """Yield each lost version, with the version that overwrote it."""
        version = self.version
        while version:
            parent = self.parents[version]
            for lost in range(parent + 1, version):
                yield lost, version
            version = parent

    def repeated(self) -> list[int]:
        """Return the versions that the incomplete runs of closures made, if these ran again.

        A worker runs a closure once, so writes of two workers are writes of two runs. The run with
        most writes is the complete one.
        """
        runs: dict[int, dict[int, list[int]]] = {}
        for version, (closure, process) in enumerate(self.makers):
            if closure:
                runs.setdefault(closure, {}).setdefault(process, []).append(version)
        again = [sorted(one.values(), key=len)[:-1] for one in runs.values() if len(one) > 1]
        return sorted(version for some in again for run in some for version in run)

    def account(self, server: int) -> ServedAccount:
        """Return what happened to the variable."""
        return ServedAccount(
            variable=self.name,
            number=self.number,
            server=server,
            reads=self.reads,
            writes=self.version,
            behind=tuple(sorted(self.behind.items())),
            lost=sum(1 for _ in self.lost()),
            repeated=len(self.repeated()),
        )

    def findings(self) -> Iterator[Finding]:
        """Yield the findings about lost updates and about repeated writes."""
        if lost := list(self.lost()):
            yield self._of_lost(lost)
        if repeated := self.repeated():
            yield self._of_repeated(repeated)

    def _of_repeated(self, repeated: Sequence[int]) -> Finding:
        closures = {self.makers[version][0] for version in repeated}
        processes = sorted({process for closure, process in self.makers if closure in closures})
        return Finding(
            kind=REPEATED_WRITE,
            variable_id=self.number,
            variable=self.name,
            locations=most(Counter(self.writes[version] for version in repeated)),
            count=len(repeated),
            what=(
                f"A worker was lost, and {times(len(closures), 'closure')} ran again (on workers "
                f"{', '.join(map(str, processes))}). Writes before the loss are kept: "
                f"{len(repeated):,} of {times(self.version, 'write')} happened twice."
            ),
            remedy=_REMEDY_OF_REPEATED,
            events=tuple(self.numbers[version] for version in repeated[:MOST_EVENTS]),
        )

    def _of_lost(self, lost: Sequence[tuple[int, int]]) -> Finding:
        where = Counter(self.writes[by] for _, by in lost)
        first = sorted({self.numbers[one] for pair in lost[-MOST_EVENTS:] for one in pair})
        assigns = sum(self.assigns.values())
        return Finding(
            kind=LOST_UPDATE,
            variable_id=self.number,
            variable=self.name,
            locations=most(where),
            count=len(lost),
            what=(
                f"{assigns:,} assigns came after a read in the same closure: "
                f"{len(lost):,} of {self.version:,} updates are lost, because another write had "
                "arrived between the read and the assign."
            ),
            remedy=_REMEDY,
            events=tuple(first[:MOST_EVENTS]),
            histogram=tuple(sorted(self.behind.items())),
        )


def _cut(missing: str) -> str:
    return f"the record of the server is not whole: {missing}"


def _flat(one: ServedOperation) -> Flat | None:
    """Return the value of an operation without its shape, or its sample; None without either."""
    part = one.sampled
    if part is not None and part.elements is not None and part.ordinals is None:
        elements = np.frombuffer(part.elements, named(one.dtype))
        numbers = Statistics(*part.statistics) if part.statistics else None
        return recorded(elements, math.prod(one.shape), one.digest, numbers)
    value = one.value()
    return None if value is None else value.reshape(-1)


def _operand(one: ServedOperation, size: int) -> Flat | Rows | None:
    """Return the operand of a write, or a part; None if it was not recorded.

    Args:
        size: The number of elements of the variable.
    """
    part = one.sampled
    if part is not None and part.elements is not None and part.ordinals is not None:
        values = np.frombuffer(part.elements, named(one.dtype)).reshape(-1, 1)
        return SampledRows(np.frombuffer(part.ordinals, INDEX), values, size, one.digest)
    operand = one.operand()
    return operand if isinstance(operand, Rows) else _flat(one)


def _shows(one: ServedOperation, expected: Flat) -> bool | None:
    """Return whether a read shows the expected value, or its digest; None if this is not known."""
    found = _flat(one)
    if found is None and is_part(expected):
        return None
    if found is not None:
        return arithmetic.same(found, expected)
    return one.digest == arithmetic.crc_of(expected.tobytes(), None)
