"""Follow which variables differ from a single device because their modes are approximate.

A mode is approximate if it exchanges values only now and then, or compresses them. ON_READ with
MEAN is approximate if replicas train their components apart: they read them while they differ, and
then write them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from varsim.analysis.findings.compared import Approximate, ValueDifference
from varsim.analysis.findings.components import ComponentTracker
from varsim.analysis.findings.variable_facts import VariableFacts


class ApproximateModes:
    """The variables of a history whose values differ from a single device as their modes intend."""

    def __init__(
        self, variables: Mapping[int, VariableFacts], components: ComponentTracker
    ) -> None:
        self._variables = variables
        self._components = components
        # replica → what it has read in this call while the components differed
        self._read_apart: defaultdict[int, set[int]] = defaultdict(set)
        self._trained_apart: set[int] = set()
        self._sources: defaultdict[int, set[int]] = defaultdict(set)
        """Variable → what its writers had read in the same call while components differed."""

    def on_call(self) -> None:
        """Begin or end a call."""
        self._read_apart.clear()

    def on_read(self, replica_id: int, variable: int) -> None:
        """Record that a replica reads its component."""
        facts = self._variables[variable]
        own = facts.gathered and not (facts.summed or facts.first)
        if own and self._components[variable].differ:
            self._read_apart[replica_id].add(variable)

    def on_write(self, replica_id: int, variable: int) -> None:
        """Record that a replica writes a variable."""
        read = self._read_apart.get(replica_id)
        if not read:
            return
        self._sources[variable] |= read
        if variable in read:
            self._trained_apart.add(variable)

    def of(self, *variables: int | None) -> VariableFacts | None:
        """Return an approximate variable among these, or of which they are computed; or None."""
        known = [one for one in variables if one is not None and one in self._variables]
        for number in (*known, *(source for one in known for source in self._sources.get(one, ()))):
            facts = self._variables[number]
            if facts.approximate or number in self._trained_apart:
                return facts
        return None

    def explaining(
        self,
        differences: Iterable[ValueDifference],
        origin_of: Callable[[int], int | None],
        largest_of: Callable[[int], float],
    ) -> Iterator[Approximate]:
        """Yield the variables with differences that no finding explains, but an approximate mode.

        Args:
            origin_of: Returns the variable with whose difference that of a variable began.
            largest_of: Returns the largest relative difference of a variable.
        """
        left = (one.variable_id for one in differences if one.unexplained)
        for number in dict.fromkeys(left):
            mode = self.of(number, origin_of(number))
            if mode is not None:
                yield Approximate(
                    variable_id=number,
                    variable=self._variables[number].name,
                    mode=mode.synchronization,
                    largest=largest_of(number),
                    apart=not mode.approximate,
                    follows=mode.variable_id != number,
                    source=mode.name,
                )
