"""Merges and collectives to which every replica contributes the same values, which change.

There are two kinds. If other contributions differ between replicas, this value does not depend on
the replica's data: the exchange is not necessary, and costs only messages. If no contribution of
the run differs, all replicas have probably used the same data: the program forgot to split its
batches, or its generators have equal seeds.

Not reported:
- Values that come after another collective of the same call, which may have made them equal.
- In the first case, arrays that a replica writes after it has read a mirrored variable, because a
  moving average of weights is computed from equal copies; and values of collectives after such a
  read, by which a program may check that copies are equal.
- A SUM of equal values in the first case: it can be a sum of equal shares.
- In the second case, numbers and arrays of equal elements, which need no data: a schedule, or a
  toy. And a SUM of whole numbers, by which replicas count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from varsim.analysis import sparse
from varsim.analysis.arithmetic import digest_of
from varsim.analysis.findings.collectives import Given, array_of
from varsim.analysis.findings.model import (
    Certainty,
    Evidence,
    Finding,
    FindingKind,
    Proposed,
    finding_of,
)
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.extension_dtypes import kind_of
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.texts.faces import Face, own_part
from varsim.texts.facts import times
from varsim.tracing.history import Event

SAME_CONTRIBUTIONS: Final = FindingKind(
    name="merges of the same values", certainty=Certainty.PATTERN, costs_only=True
)
SAME_DATA: Final = FindingKind(name="same data on all replicas", certainty=Certainty.PATTERN)

_KEPT_BY_THE_FIRST: Final = Proposed(
    VariableSynchronization.ON_READ, VariableAggregation.ONLY_FIRST_REPLICA
)

AGAIN_AND_AGAIN: Final = 3
"""Least number of occurrences that make a redundancy a finding."""

_DISTINCT: Final = 3
"""Least number of different values: a constant, such as a count of 1, is equal on all replicas."""

_MOST_NAMED: Final = 3

_Digests = tuple[int | None, ...]


@dataclass(slots=True)
class _Equal:
    """The merges of one variable, or the collectives at one line of the program."""

    count: int = 0
    equal: int = 0  # number of merges of equal contributions
    are_sparse: bool = False  # whether a merged write is sparse; ON_READ refuses such writes
    agreed: bool = False  # whether some contributions came after a collective of the same call
    derived: bool = False  # whether some came after a read of a mirrored variable in the same call
    whole: bool = True  # whether all contributions, as far as they are known, are whole numbers
    varied: bool = False  # whether a contribution has elements that differ from each other
    values: set[_Digests] = field(default_factory=set)  # the digests of a few different values
    evidence: Evidence = field(default_factory=Evidence)
    given: Given | None = None  # the first collective; None for a variable

    @property
    def always(self) -> bool:
        """Return whether all contributions were equal, and there were several merges."""
        return self.equal == self.count >= AGAIN_AND_AGAIN

    @property
    def changing(self) -> bool:
        """Return whether contributions without an earlier collective were equal, and changed."""
        return self.always and len(self.values) >= _DISTINCT and not self.agreed

    def look_at(self, array: np.ndarray | None) -> None:
        """Look at the elements of a contribution; None if they were not recorded."""
        if array is None or kind_of(array.dtype) not in "iuf" or not np.isfinite(array).all():
            self.whole = False
            return
        elements = array.astype(np.float64)
        self.whole = self.whole and bool((elements == np.round(elements)).all())
        self.varied = self.varied or bool((elements != elements.flat[:1]).any())

    def after(self, *, collective: bool, read: bool) -> None:
        """Record what preceded a contribution in the same call.

        Args:
            collective: Whether the replica came to another collective.
            read: Whether the replica read a mirrored variable.
        """
        self.agreed, self.derived = self.agreed or collective, self.derived or read

    def add(
        self, digests: Sequence[_Digests], first: Event, *others: int, location: str | None
    ) -> bool:
        """Add a merge with these digests of each replica; return whether they are equal."""
        self.count += 1
        if len(set(digests)) > 1 or None in digests[0]:
            return False
        self.equal += 1
        if len(self.values) < _DISTINCT:
            self.values.add(digests[0])
        self.evidence.add(first, *others, location=location)
        return True


class SameContributions:
    """Compares the contributions of all replicas, for all variables and collectives of a run."""

    def __init__(self) -> None:
        self._variables: defaultdict[int, _Equal] = defaultdict(_Equal)
        self._collectives: defaultdict[str | None, _Equal] = defaultdict(_Equal)  # by location
        self.some_differ = False
        """Whether some contributions, or components, have differed between replicas."""

    def merge(
        self, commit: Event, facts: VariableFacts, contributions: Mapping[int, Event]
    ) -> None:
        """Add the contributions of all replicas to a merge."""
        one = self._variables[facts.variable_id]
        one.are_sparse = one.are_sparse or commit.operation in sparse.OPERATIONS
        first = next(iter(contributions.values()))
        digests = [(digest_of(event),) for event in contributions.values()]
        if not one.add(digests, commit, first.event, location=first.location):
            self.some_differ = True
        elif not facts.first and (one.whole or not one.varied):
            one.look_at(facts.elements_of(first))

    def write(self, variable: int, *, collective: bool, read: bool) -> None:
        """Record what preceded a replica's write of a variable; see `_Equal.after`."""
        self._variables[variable].after(collective=collective, read=read)

    def collect(self, given: Given, givers: Sequence[int], *, collective: bool, read: bool) -> None:
        """Add what all replicas gave to a collective, and what preceded it; see `_Equal.after`."""
        if not given.of_one_form(givers):
            return
        digests = [tuple(map(digest_of, given.arrays[one])) for one in givers]
        if not given.sums or given.variable is not None or given.operation != "all_reduce":
            self.some_differ = self.some_differ or len(set(digests)) > 1
            return
        one = self._collectives[given.first.location]
        one.given = one.given or given
        one.after(collective=collective, read=read)
        others = tuple(event.event for event in given.arrivals.values())
        if not one.add(digests, given.first, *others, location=None):
            self.some_differ = True
        elif one.whole or not one.varied:
            for event in given.arrays[givers[0]]:
                one.look_at(array_of(event))

    def first_only(self, facts: VariableFacts) -> Finding | None:
        """Return the finding about a variable of which the first replica's value is used."""
        one = self._variables.get(facts.variable_id)
        if one is None or not facts.first or not one.always or one.agreed:
            return None
        said = (
            f"In all {times(one.count, 'merge')} every replica contributed the same value, and the "
            "first replica's value was used. Each replica could have written it without an "
            "exchange."
        )
        return _written_once(facts, one, said)

    def aggregated(self, variables: Mapping[int, VariableFacts], face: Face) -> list[Finding]:
        """Return the findings about the other variables and collectives.

        Args:
            variables: The variables without another finding about their merges.
            face: The face of varsim that the program uses.
        """
        same = [
            (variables[number], one)
            for number, one in self._variables.items()
            if number in variables and not variables[number].first and one.changing
        ]
        bare = [one for one in self._collectives.values() if one.changing]
        suspects: list[tuple[VariableFacts | None, _Equal]] = [*same, *((None, it) for it in bare)]
        if self.some_differ:
            return [
                _broadcast(facts, one)
                for facts, one in suspects
                if _op_of(facts, one) == "MEAN"
                and not (one.derived and (one.varied or facts is None))
            ]
        suspects = [
            (facts, one)
            for facts, one in suspects
            if one.varied and (not one.whole or _op_of(facts, one) == "MEAN")
        ]
        suspects.sort(key=lambda pair: pair[1].evidence.events[0])
        return [_same_data(suspects, face)] if suspects else []


def _op(given: Given) -> str:
    return str(given.arguments.get("op", ""))


def _op_of(facts: VariableFacts | None, one: _Equal) -> str:
    if facts is not None:
        return facts.aggregation
    assert one.given is not None
    return _op(one.given)


def _what_was_equal(facts: VariableFacts | None, one: _Equal) -> str:
    if facts is None:
        assert one.given is not None
        name = f"{_op(one.given)} of {one.given.operation}"
        count = times(one.count, "collective")
        return f"In all {count} every replica gave the same value, and the {name}"
    merges = times(one.count, "merge")
    return f"In all {merges} every replica contributed the same value, and the {facts.aggregation}"


_WRITE_OUTSIDE: Final = (
    "Write these rows outside strategy.run, where the program sends them once and replicas do not "
    "wait for each other. ON_READ refuses sparse writes."
)
"""The remedy if all replicas write the same rows."""


def _written_once(facts: VariableFacts, one: _Equal, said: str, more: str = "") -> Finding:
    """Return the finding about a variable whose values need no exchange.

    Args:
        more: A further remedy.
    """
    if one.are_sparse:
        return finding_of(SAME_CONTRIBUTIONS, facts, one.evidence, said, _WRITE_OUTSIDE)
    remedy = (
        "Choose ON_READ with ONLY_FIRST_REPLICA: the values are the same, and nothing is sent "
        f"before a read.{more}"
    )
    settings = _KEPT_BY_THE_FIRST
    return finding_of(SAME_CONTRIBUTIONS, facts, one.evidence, said, remedy, settings=settings)


def _broadcast(facts: VariableFacts | None, one: _Equal) -> Finding:
    said = (
        f"{_what_was_equal(facts, one)} is this value again. In this run, the value was equal on "
        "all replicas, although other values differed. It probably does not depend on a replica's "
        "data, and then needs no exchange."
    )
    if facts is None:
        remedy = "Remove the collective, and use the value itself: all replicas have it."
        return finding_of(SAME_CONTRIBUTIONS, None, one.evidence, said, remedy)
    more = " Or compute the value in the program, and give it to strategy.run in `args`."
    return _written_once(facts, one, said, more)


def _same_data(suspects: Sequence[tuple[VariableFacts | None, _Equal]], face: Face) -> Finding:
    (facts, one), *others = suspects
    said = (
        f"{_what_was_equal(facts, one)} adds nothing. No value that replicas exchanged in this run "
        "differed between replicas, so all replicas probably used the same data."
    )
    if names := [other.name for other, _ in others if other is not None]:
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        said += f" This is also so for {', '.join(names[:_MOST_NAMED])}{more}."
    alike = "compute it in the program, and give it to strategy.run in `args`."
    remedy = (
        "Give each replica its own part of the batch, and seed random numbers by replica. If the "
        f"value should be the same, {alike if face is Face.CONTEXT else 'exchange nothing.'}"
    )
    paste = own_part(face)
    return finding_of(SAME_DATA, facts, one.evidence, said, remedy, paste=paste)
