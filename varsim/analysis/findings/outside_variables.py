"""Uses of the program's objects in replicas that do not do what they seem to do.

The events `notice` show them: the result of a collective that is not used, an object of the program
of which a replica changed its own copy, and a plain variable, which was created outside the scope.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from varsim.analysis.findings.collectives import Given, array_of
from varsim.analysis.findings.conflicts import READ_WRITE
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
    led_by,
)
from varsim.analysis.outcome import Note
from varsim.analysis.sampled import MESSAGES
from varsim.texts.faces import CONTEXT, Face, reducing
from varsim.texts.facts import name_replicas, times
from varsim.texts.program_lines import lines_that_write_outside
from varsim.tracing import notices
from varsim.tracing.history import Event

DISCARDED: Final = FindingKind(name="discarded result", certainty=Certainty.PATTERN)
CHANGED: Final = FindingKind(name="object changed on a replica", about_values=True)
PLAIN: Final = FindingKind(name="variable outside the scope", about_values=True)

_MOST_NAMED: Final = 3
_LOCKS: Final = frozenset({"lock", "read_lock"})
"""The operations of requests for a lock."""
_WITHOUT_GIVEN: Final = frozenset({"merge_call", "strategy.reduce", "strategy.gather"})
"""Methods whose values no event shows. The notice is recorded only if the result has a use."""


@dataclass(slots=True)
class _Collectives:
    """The collectives at one line."""

    evidence: Evidence = field(default_factory=Evidence)
    op: str = ""
    count: int = 0
    differing: int = 0  # how often the replicas gave different values
    only_ids: bool = True  # whether each replica always gave only its id: a signal, no value


@dataclass(slots=True)
class _Unused:
    """The results of one line that the program does not use."""

    notice: Event  # the first one
    method: str
    given_at: str  # the line of the collective, if a function returns its result
    evidence: Evidence = field(default_factory=Evidence)  # of the notices


@dataclass(slots=True)
class _Plain:
    """The operations of replicas on one plain variable."""

    created_at: str
    evidence: Evidence = field(default_factory=Evidence)  # of the writes
    writes: int = 0
    reads: int = 0
    lacks_values: bool = False  # whether a value was not recorded whole
    assigners: set[int] = field(default_factory=set)  # replicas that assign a value
    writers: set[int] = field(default_factory=set)
    readers: set[int] = field(default_factory=set)
    read_at: str = ""  # the line of the first read
    # each replica's last write and last read in the call `call`: the events of its requests
    call: int | None = None
    last_write: dict[int, tuple[int, Event]] = field(default_factory=dict)
    last_read: dict[int, tuple[int, Event]] = field(default_factory=dict)
    racing: Evidence = field(default_factory=Evidence)  # of pairs of a read and a write
    racing_readers: set[int] = field(default_factory=set)
    locks: frozenset[str] | None = None  # locks that every access has held; None before the first

    def begin(self, call: int | None) -> None:
        """Forget the accesses of the last call, if this is another one."""
        if call != self.call:
            self.call = call
            self.last_write.clear()
            self.last_read.clear()


class OutsideVariables(Finder):
    """Finds discarded results, lost changes of objects, and plain variables that replicas write."""

    kinds = (PLAIN, CHANGED, DISCARDED, READ_WRITE)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._collectives: defaultdict[str | None, _Collectives] = defaultdict(_Collectives)
        self._discarded: dict[str, _Unused] = {}  # by the line that drops a result
        self._changed: defaultdict[str, list[Event]] = defaultdict(list)  # name → notices
        self._plain: dict[tuple[str, str], _Plain] = {}  # (name, line of the creation)
        self._requests: dict[int, tuple[int, list[int]]] = {}
        """Replica → its last request to the program, and the events of others that it knew then."""

        self._locks: defaultdict[int, set[str]] = defaultdict(set)
        """Replica → the locks that it holds. In the record, it requests and gets them in turn."""

    def on_request(self, event: Event) -> None:
        """Record that a replica gets a lock: until then, it does nothing else."""
        if event.operation in _LOCKS and event.note is not None:
            self._locks[event.process].add(event.note)

    def on_release(self, event: Event) -> None:
        """Record that a replica releases a lock."""
        self._locks[event.process].discard(event.note or "")

    def on_return(self, event: Event) -> None:
        """Record that a replica ends a function, which releases all its locks."""
        self._locks.pop(event.process, None)

    def on_raise(self, event: Event) -> None:
        """Record that a replica ends a function."""
        self.on_return(event)

    def on_arrive(self, event: Event) -> None:
        """Record what a replica knows when it makes a request to the program."""
        if event.operation == "host_call":
            knows = self.context.clocks.clock(event.process)
            self._requests[event.process] = event.event, [*knows]

    def on_answer(self, event: Event) -> None:
        """Compare what replicas gave to a collective that combines values."""
        given = self.context.collectives.answered
        if given is not None and given.variable is None:
            self._collect(given, event)

    def _collect(self, given: Given, event: Event) -> None:
        one = self._collectives[given.first.location]
        one.count += 1
        one.op = one.op or str(given.arguments.get("op", ""))
        one.only_ids = one.only_ids and _are_ids(given)
        if given.differ(self.givers(event)):
            one.differing += 1
            one.evidence.add(given.first, *(arrival.event for arrival in given.arrivals.values()))

    def on_notice(self, event: Event) -> None:
        """Store a notice."""
        told, location = notices.details(event.note), event.location or ""
        match event.operation:
            case notices.DISCARDED:
                given_at = told.get("given_at", location)
                unused = _Unused(event, told.get("method", ""), given_at)
                self._discarded.setdefault(location, unused).evidence.add(event)
            case notices.CHANGED:
                self._changed[told.get("name", "")].append(event)
            case notices.PLAIN:
                key = told.get("variable", ""), told.get("created_at", "")
                one = self._plain.setdefault(key, _Plain(key[1]))
                _use(one, event, told.get("operation", ""))
                self._race(one, event, told.get("operation", ""))

    def _race(self, one: _Plain, event: Event, operation: str) -> None:
        """Compare an access with those of other replicas that its replica did not know."""
        replica_id = event.replica
        if replica_id is None:
            return
        held = frozenset(self._locks.get(replica_id, ()))
        one.locks = held if one.locks is None else one.locks & held
        if replica_id not in self._requests:
            return
        one.begin(event.call)
        request, known = self._requests[replica_id]
        reads = operation == notices.READ
        for other, (number, access) in (one.last_write if reads else one.last_read).items():
            if other != replica_id and known[other] < number:
                read, write = (event, access) if reads else (access, event)
                one.racing.add(write, read.event)
                one.racing_readers.add(replica_id if reads else other)
        (one.last_read if reads else one.last_write)[replica_id] = request, event

    def notes(self) -> list[Note]:
        """Return notes about plain variables: which of their values were not recorded."""
        return [
            Note(text=f"{text}: {_listed(used)}")
            for text, used in (
                (_OWN_WRITES, list(self._plain)),
                (_NOT_WHOLE, [key for key, one in self._plain.items() if one.lacks_values]),
            )
            if used
        ]

    def finish(self) -> list[Finding]:
        """Return the findings, one for each object, variable or line."""
        plain = [_plain(name, one) for (name, _), one in self._plain.items() if _is_contended(one)]
        plain += [
            _read_write(name, one)
            for (name, _), one in self._plain.items()
            if one.racing.count and not _is_contended(one)
        ]
        changed = [_changed(name, events) for name, events in self._changed.items()]
        discarded = [
            self._of_unused(one)
            for one in self._discarded.values()
            if one.method in _WITHOUT_GIVEN or self._has_values(one)
        ]
        return [*plain, *changed, *discarded]

    def _has_values(self, one: _Unused) -> bool:
        """Return whether the replicas gave different values, and not only their ids."""
        given = self._collectives[one.given_at]
        # a function that returns the result has other callers, which may give the different values
        is_of_line = one.given_at == one.notice.location or given.differing == given.count
        return bool(given.differing) and is_of_line and not given.only_ids

    def _of_unused(self, one: _Unused) -> Finding:
        given = self._collectives[one.given_at]
        evidence, method = one.evidence, one.method
        said = f"The result of {method} at {one.notice.location} is not used"
        if method not in _WITHOUT_GIVEN:
            evidence = given.evidence
            name = f"{given.op} of {method}" if given.op else method
            said = (
                f"The result of the {name} at {one.notice.location} is not used, although the "
                f"replicas gave different values {times(given.differing, 'time')}"
            )
        said += ". A collective returns the combined value, and changes none of its arguments."
        parted = [
            f"{facts.name}{_first_parting(copies.diverged)}"
            for number, facts in self.context.variables.items()
            if not facts.aggregation or facts.first
            if (copies := self.context.components[number]).differ
        ]
        if parted:
            more = f" and {len(parted) - _MOST_NAMED} more" if len(parted) > _MOST_NAMED else ""
            said += f" Components diverge: {', '.join(parted[:_MOST_NAMED])}{more}."
        found = finding_of(
            DISCARDED,
            None,
            evidence,
            said,
            "Use the result: assign it to the name that the next lines use, and return it. To wait "
            "for the other replicas, call barrier().",
            paste=_lines_with(method, given.op, self.context.face),
        )
        return led_by(found, one.notice.location)


_OWN_WRITES: Final = (
    "what the program itself reads and writes, outside strategy.run, of variables that were "
    "created outside the scope"
)
_NOT_WHOLE: Final = (
    "values of variables outside the scope that were not recorded whole, so they were not compared "
    f"with a single device ({MESSAGES} records them)"
)


def _listed(used: Sequence[tuple[str, str]]) -> str:
    """Return plain variables as text: their names and the lines of their creation."""
    shown = [f"{name!r} ({created_at})" for name, created_at in used[:_MOST_NAMED]]
    more = f" and {len(used) - _MOST_NAMED} more" if len(used) > _MOST_NAMED else ""
    return f"{', '.join(shown)}{more}"


def _lines_with(method: str, op: str, face: Face) -> tuple[str, ...]:
    """Return lines that use the result of a collective."""
    match method:
        case "merge_call":
            return CONTEXT, "value = context.merge_call(…)"
        case "all_reduce" if op:
            return reducing(face, op, "value")
        case "strategy.gather":
            return ("value = strategy.gather(value, axis=0)",)
        case "strategy.reduce":
            return ("value = strategy.reduce(…, value, axis=None)",)
        case _ if method.startswith("hvd."):
            return (f"value = {method}(value, …)",)
    return (CONTEXT, f'value = context.{method}("{op}", value)') if op else ()


def _are_ids(given: Given) -> bool:
    """Return whether each replica gave one whole number: its id, or a number after it."""
    offsets = set()
    for replica_id, own in given.arrays.items():
        array = array_of(own[0]) if len(own) == 1 else None
        if array is None or array.size != 1 or array.dtype.kind not in "iu":
            return False
        offsets.add(int(array.reshape(-1)[0]) - replica_id)
    return len(offsets) == 1


def _use(one: _Plain, event: Event, operation: str) -> None:
    """Count an operation on a plain variable, in the order in which the program did it."""
    replica_id = -1 if event.replica is None else event.replica
    one.lacks_values = one.lacks_values or event.value is None
    if operation == notices.READ:
        one.reads += 1
        one.readers.add(replica_id)
        one.read_at = one.read_at or event.location or ""
        return
    one.writes += 1
    one.writers.add(replica_id)
    if operation not in {"assign_add", "assign_sub", "scatter_add", "scatter_sub"}:
        one.assigners.add(replica_id)
    one.evidence.add(event)


def _is_contended(one: _Plain) -> bool:
    """Return whether the order in which replicas use the variable decides values.

    Replicas that only add to a counter, which the program reads afterwards, get the same sum in
    every order. If one lock protects all accesses, the program has thought of the order.
    """
    if one.locks:
        return False
    several = len(one.writers) > 1
    read = len(one.readers | one.writers) > 1 and bool(one.readers)
    return several and (len(one.assigners) > 1 or read)


def _plain(name: str, one: _Plain) -> Finding:
    who = name_replicas(sorted(one.writers))
    said = (
        f"{name!r} was created at {one.created_at}, outside the scope of the strategy: it is not "
        f"distributed, but one variable in the program's process. In strategy.run, {who} wrote it "
        f"{times(one.writes, 'time')}"
    )
    if one.reads:
        said += f", and replicas read it {times(one.reads, 'time')} (first at {one.read_at})"
    said += (
        ". The writes take effect in the order of arrival, so a replica can read the value before "
        "or after another replica's write, and an assign overwrites another replica's value."
    )
    remedy = (
        f"Create the variable under strategy.scope(), at {one.created_at}, with an aggregation for "
        "the writes of the replicas. If only one value is needed, write it outside strategy.run, "
        "or in a merge_call."
    )
    paste = (
        "with strategy.scope():",
        f'    {name} = tf.Variable(…, name="{name}", aggregation=tf.VariableAggregation.MEAN)',
    )
    found = finding_of(PLAIN, None, one.evidence, said, remedy, paste=paste)
    where = (one.created_at, one.writes), *found.locations
    return replace(found, variable=name, locations=where)


def _read_write(name: str, one: _Plain) -> Finding:
    readers, writers = sorted(one.racing_readers), sorted(one.writers)
    said = (
        f"{name_replicas(readers)} read {name!r} while {name_replicas(writers)} wrote it "
        f"({times(one.racing.count, 'case')}): the read (first at {one.read_at}) and the write "
        f"have no order, so a replica gets the value before or after the write. {name!r} was "
        f"created at {one.created_at}, outside the scope of the strategy: it is one variable in "
        "the program's process."
    )
    remedy = (
        "Return the value from the function, and write the variable outside strategy.run; or write "
        "it in a merge_call. Or put a collective, such as barrier(), between the write and the "
        "reads."
    )
    paste = _written_outside(name, one)
    found = finding_of(READ_WRITE, None, one.racing, said, remedy, paste=paste)
    where = *found.locations, *([(one.read_at, found.count)] if one.read_at else [])
    return replace(found, variable=name, locations=where)


def _written_outside(name: str, one: _Plain) -> tuple[str, ...]:
    """Return lines that write one value outside the call: that of the writer, or a sum."""
    adds = not one.assigners
    return lines_that_write_outside(
        name,
        operation="assign_add" if adds else "assign",
        op="SUM" if adds and len(one.writers) > 1 else "",
        replica_id=min(one.writers),
    )


def _changed(name: str, events: Sequence[Event]) -> Finding:
    evidence = Evidence()
    for event in events:
        evidence.add(event)
    first = events[0]
    told = notices.details(first.note)
    kind, used_at = told.get("kind", "object"), told.get("used_at", "")
    if used_at:
        replicas = sorted({event.replica for event in events if event.replica is not None})
        who = name_replicas(replicas).capitalize()
        said = (
            f"{who} changed the {kind} {name!r} of the program at {first.location}, and the "
            f"program uses it at {used_at}. This works only in a simulated cluster, where replicas "
            "share the program's objects. On worker processes, each replica changes its own copy, "
            f"and the program's {kind} does not change."
        )
    else:
        said = (
            f"Replica {first.replica} changed its own copy of the {kind} {name!r} at "
            f"{first.location}. A replica is another process, so the program's {kind} did not "
            "change."
        )
    found = finding_of(
        CHANGED,
        None,
        evidence,
        said,
        "Return the new value from the function of strategy.run, and change the object in the "
        "program; or write the value to a variable.",
        paste=(
            "results = strategy.run(step, args=…)",
            "for value in strategy.experimental_local_results(results): …",
        ),
    )
    named_at = told.get("named_at", "")
    if named_at and named_at not in dict(found.locations):
        found = replace(found, locations=(*found.locations, (named_at, found.count)))
    return found


def _first_parting(event: Event | None) -> str:
    if event is None or event.location is None:
        return ""
    call = f" in call {event.call}" if event.call is not None else ""
    return f" since the write at {event.location}{call}"
