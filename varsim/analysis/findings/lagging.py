"""Lagging reads: one-sided reads whose values were several versions old when they were used.

A fetch lags if the owner has written its component several times since it published it. A pull lags
if the copy has received several pushes of other processes before the reader's next push, which was
probably computed from the pulled value. One version per other replica is the normal staleness of
asynchronous replicas, so only more than two per replica are reported.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from dataclasses import dataclass, field
from typing import Final

from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finder,
    Finding,
    FindingKind,
    finding_of,
    milliseconds,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.texts.facts import share, times
from varsim.tracing.history import PROGRAM, Event

LAGGING: Final = FindingKind(name="lagging read", certainty=Certainty.PATTERN)

_MOST_VERSIONS: Final = 2
"""Number of versions of each other process that a value may miss without a finding."""


@dataclass(slots=True)
class _Lags:
    """How old the values of one kind of read were."""

    total: int = 0
    longest_s: float = 0.0
    histogram: Counter[int] = field(default_factory=Counter)  # versions → number of reads
    evidence: Evidence = field(default_factory=Evidence)  # of the reads that lagged

    def add(self, lag: int, allowed: int, age_s: float, event: Event, *others: int) -> None:
        """Count a read."""
        self.total += 1
        self.histogram[lag] += 1
        if lag > allowed:
            self.longest_s = max(self.longest_s, age_s)
            self.evidence.add(event, *others)


@dataclass(slots=True)
class _SharedVariable:
    """The published components and the authoritative copy of one variable."""

    writes: Counter[int] = field(default_factory=Counter)  # replica → number of local writes
    # owner → for each publication: the number of writes before it, its event and its time
    published: defaultdict[int, list[tuple[int, int, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    version: int = 0  # number of pushes that have arrived
    pulled: dict[int, tuple[int, Event]] = field(default_factory=dict)
    """Process → the version and the event of its last pull, until its next push has arrived."""

    fetches: _Lags = field(default_factory=_Lags)
    pushes: _Lags = field(default_factory=_Lags)


class Lagging(Finder):
    """Finds fetches of components, and pushes after pulls, that lag by several versions."""

    kinds = (LAGGING,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._shared: defaultdict[int, _SharedVariable] = defaultdict(_SharedVariable)
        self._coming: defaultdict[int, deque[Event]] = defaultdict(deque)

    def concerns(self, variable: int | None) -> bool:
        """Return whether replicas have values of their own of the variable."""
        if variable is None:
            return True
        facts = self.context.variables.get(variable)
        return facts is not None and not facts.mirrored

    def on_write_by_replica(self, event: Event) -> None:
        """Count a local write."""
        if event.variable is not None:
            self._shared[event.variable].writes[event.process] += 1

    def on_publish(self, event: Event) -> None:
        """Record how often the replica had written its component."""
        assert event.variable is not None
        shared = self._shared[event.variable]
        before = shared.writes[event.process], event.event, event.time_s
        shared.published[event.process].append(before)

    def on_carry(self, event: Event) -> None:
        """Begin with the number of pushes in an earlier incarnation."""
        assert event.variable is not None
        if event.replica is None:
            self._shared[event.variable].version = event.version or 0

    def on_push_by_program(self, event: Event) -> None:
        """Count a push of the program, which arrives at once."""
        self._arrive(event)

    def on_push_by_replica(self, event: Event) -> None:
        """Store a push until the program receives it."""
        self._coming[event.process].append(event)

    def on_receive(self, event: Event) -> None:
        """Count the pushes that have arrived."""
        coming = self._coming.get(event.replica or 0)
        while coming and coming[0].event <= (event.cause or 0):
            self._arrive(coming.popleft())

    def _arrive(self, event: Event) -> None:
        assert event.variable is not None
        shared, writer = self._shared[event.variable], event.process
        if writer in shared.pulled:
            version, pull = shared.pulled.pop(writer)
            others = self.num_replicas - (0 if writer == PROGRAM else 1)
            age_s = event.time_s - pull.time_s
            lag = shared.version - version
            shared.pushes.add(lag, _MOST_VERSIONS * others, age_s, event, pull.event)
        shared.version += 1

    def on_obtain(self, event: Event) -> None:
        """Compare a fetched component with its owner's writes, or store the version of a pull."""
        assert event.variable is not None
        assert event.version is not None
        shared = self._shared[event.variable]
        if event.operation == "pull":
            shared.pulled[event.process] = event.version, event
            return
        owner, published = event.replica or 0, shared.published[event.replica or 0]
        if 0 < event.version <= len(published):  # else it was published before the record began
            before, publication, time_s = published[event.version - 1]
            lag = shared.writes[owner] - before
            age_s = event.time_s - time_s
            shared.fetches.add(lag, _MOST_VERSIONS, age_s, event, publication)

    def finish(self) -> list[Finding]:
        """Return at most two findings for each variable: about its fetches, and its pulls."""
        found = []
        for number, shared in sorted(self._shared.items()):
            facts = self.context.variables[number]
            for lags, text, by_hand in (
                (shared.fetches, _of_fetches, _PUBLISH),
                (shared.pushes, _of_pushes, _PULL),
            ):
                if lags.evidence.count:
                    histogram = tuple(sorted(lags.histogram.items()))
                    what, remedy = text(lags), _remedy(facts, by_hand)
                    found.append(finding_of(LAGGING, facts, lags.evidence, what, remedy, histogram))
        return found


def _of_fetches(lags: _Lags) -> str:
    were_old = share(lags.evidence.count, lags.total, "fetched component", ("was", "were"))
    most = times(max(lags.histogram), "time")
    return (
        f"{were_old} old: since its replica had published it, this replica had written the "
        f"variable more than {times(_MOST_VERSIONS, 'time')}, and up to {most}. What was fetched "
        f"lacks these writes. The oldest component was published {milliseconds(lags.longest_s)} "
        "before the fetch."
    )


def _of_pushes(lags: _Lags) -> str:
    were_old = share(lags.evidence.count, lags.total, "pulled value", ("was", "were"))
    most = times(max(lags.histogram), "change")
    return (
        f"{were_old} old at the next push: since the pull, the copy had received up to {most} of "
        "others. The pushed change was probably computed without them. The oldest value was pulled "
        f"{milliseconds(lags.longest_s)} before the push."
    )


_PUBLISH: Final = (
    "Call v.publish() after the writes that other replicas need. Or make the replicas wait for "
    "each other before the fetch, by {meeting}."
)
_PULL: Final = (
    "Pull directly before you compute what you push, and push after fewer steps. Or make the "
    "replicas wait for each other from time to time, by {meeting}."
)
_BY_POLICY: Final = (
    "The policy {name} decides when a replica exchanges. Choose parameters with which it exchanges "
    "more often, or make the replicas wait for each other from time to time, by a barrier. If "
    "every replica must use every write, choose ON_WRITE."
)


def _remedy(facts: VariableFacts, by_hand: str) -> str:
    """Return what to do: `by_hand` if the program itself makes these reads, not the policy."""
    if not facts.manual:
        return _BY_POLICY.format(name=facts.synchronization)
    return by_hand.format(meeting="a barrier" if facts.summed else "v.sync or a barrier")
