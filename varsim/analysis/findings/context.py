"""The context that all finders of one history share.

It has facts about variables, the clocks, the components, and the comparisons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from varsim.analysis.clocks import Clocks
from varsim.analysis.findings.collective_results import CollectiveResults
from varsim.analysis.findings.collectives import CollectiveValues
from varsim.analysis.findings.comparisons import Comparisons
from varsim.analysis.findings.components import ComponentTracker
from varsim.analysis.findings.contributions import Contributions
from varsim.analysis.findings.decisions import Decisions
from varsim.analysis.findings.reads_together import ReadsTogether
from varsim.analysis.findings.summed_parts import SummedParts
from varsim.analysis.findings.variable_facts import VariableFacts, variable_facts
from varsim.analysis.observer import EventObserver
from varsim.analysis.oracle import Oracle
from varsim.analysis.presence import Presence
from varsim.analysis.returned import ReturnedValue
from varsim.texts.faces import Face, face_of
from varsim.tracing.history import Event, History


@dataclass(slots=True)
class NotFiniteAt:
    """Where a history shows NaN and infinities: the last events."""

    value: int = 0
    """Of a variable, a plain variable, a result that the program gets, or a replica that gave
    finite values to the same collective before; 0 if there is none."""
    collectives: dict[str | None, int] = field(default_factory=dict)  # that compute, by location

    def is_after(self, first: Event, *, given: bool) -> bool:
        """Return whether NaN or infinity reaches a variable, a result or a later collective.

        Args:
            first: The arrival at a collective that gets or computes such a value.
            given: Whether replicas give the value. They may give it each time, so the collective
                itself shows nothing.
        """
        later = (last for at, last in self.collectives.items() if not given or at != first.location)
        return max(self.value, *later, 0) > first.event


@dataclass(slots=True, kw_only=True)
class FindingContext:
    """What finders know about one history. Its observers get each event before the finders."""

    num_replicas: int
    simulated: bool  # whether times show nothing, because the record is of a simulated cluster
    presence: Presence
    variables: Mapping[int, VariableFacts]
    clocks: Clocks
    components: ComponentTracker
    contributions: Contributions
    decisions: Decisions
    collectives: CollectiveValues
    comparisons: Comparisons | None  # comparisons with a single device; None without an oracle
    results: CollectiveResults | None  # compared with a single device
    summed: SummedParts
    created: Mapping[int, str]  # variable → the line that creates it
    reads: ReadsTogether
    face: Face = Face.CONTEXT  # by which the program uses varsim
    returned: Sequence[ReturnedValue] = ()  # what the program returned, compared
    explained_sums: set[int] = field(default_factory=set)
    """Variables whose difference from a single device `Sums` explains. `Sums` adds them."""
    taken_as_one: set[int] = field(default_factory=set)
    """Variables of which the program read one component as the value. `Divergence` adds them."""
    conflicting: set[int] = field(default_factory=set)
    """Variables with a finding of `Conflicts`, which adds them at the end. Stale reads follow."""
    summed_before: dict[int, str] = field(default_factory=dict)
    """Variable → the line of an all_reduce whose sum all replicas write to it. `SummedAgain` adds.
    """
    started_apart: set[int] = field(default_factory=set)
    """Variables whose replicas started from different values. `Parted` sets it at the end."""
    misordered: set[str] = field(default_factory=set)
    """Lines whose unnamed collectives replicas call in another order. `Orders` adds them."""
    overflow_given: Event | None = None
    """The first collective whose sum of floats overflowed. `Overflow` sets it in the pass."""
    not_finite_at: NotFiniteAt = field(default_factory=NotFiniteAt)
    """Where NaN and infinities were seen. `NotFinite` sets it in the pass."""
    overflow_followers: Sequence[str] = ()
    """The variables that became NaN or infinite by this sum. `NotFinite` sets it at the end."""

    @property
    def observers(self) -> tuple[EventObserver, ...]:
        """Return the observers that need the events, in the required order."""
        values = self.contributions, self.collectives, self.decisions
        first = self.presence, self.clocks, self.components, *values
        if self.comparisons is None:
            return first
        assert self.results is not None
        return (*first, self.summed, self.reads, self.results, self.comparisons)

    def created_at(self, variable: int) -> str:
        """Return the line that creates a variable."""
        return self.created[variable]


def context_of(
    history: History, oracle: History | None = None, returned: Sequence[ReturnedValue] = ()
) -> FindingContext:
    """Return the context of the findings of a history.

    Args:
        oracle: The history of the same program on one replica, to compare with.
        returned: What the program returned, compared with a single device.
    """
    num_replicas, variables = history.num_replicas, variable_facts(history.variables)
    components = ComponentTracker(num_replicas, variables)
    presence, comparisons = Presence(num_replicas), None
    if oracle is not None:
        both = Oracle(history, oracle)
        comparisons = Comparisons(num_replicas, presence, variables, components, both)
    return FindingContext(
        num_replicas=num_replicas,
        simulated=bool(history.run.get("simulated")),
        presence=presence,
        variables=variables,
        clocks=Clocks(num_replicas),
        components=components,
        contributions=Contributions(variables),
        decisions=Decisions(presence, variables),
        collectives=CollectiveValues(presence),
        comparisons=comparisons,
        results=None if oracle is None else CollectiveResults(history, oracle),
        summed=SummedParts(variables, components),
        created={number: row.created_at for number, row in history.variables.items()},
        reads=ReadsTogether(),
        face=face_of(history.run.get("counted") or ()),
        returned=returned,
    )
