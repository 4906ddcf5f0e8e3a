"""Variables that are wrong by the same factor, but are right when one is divided by the other.

A mean metric adds each replica's mean to a total, and 1 to a count. Both sums are N times the
single device's, and their quotient is right. So such variables are no findings. A program can also
divide one variable by the number of replicas, and return the single device's value. The record does
not show from which read a returned value was computed, so this value must be equal to that of the
variable, and so specific that it is not equal by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Final

import numpy as np

from varsim.analysis.findings.compared import Quotient, Site
from varsim.analysis.findings.comparison import Relation
from varsim.analysis.findings.reads_together import ReadsTogether
from varsim.analysis.findings.scaling_messages import WRONG_FACTOR, ScalingFault
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.returned import ReturnedValue, numbers_of

Faults = Mapping[int, Mapping[Site, ScalingFault]]
"""Variable → site → what is wrong there."""

_SAME: Final = 1e-6
"""Largest relative distance of a returned value from the single device's value of a variable."""

_TELLING_DIGITS: Final = 4
"""Least number of significant digits of a value that two quantities do not share by chance."""

_TELLING_VALUES: Final = 2
"""Least number of different values that are enough together, although each has fewer digits."""

_NEAR: Final = 1e-3
"""Largest relative distance of a factor from the number of replicas."""


def quotients(
    faults: Faults,
    variables: Mapping[int, VariableFacts],
    reads: ReadsTogether,
    returned: Sequence[ReturnedValue],
) -> list[Quotient]:
    """Return the groups of variables whose quotients are right, as far as the record shows.

    The variables of a group have the same settings and the same factor, and the program reads them
    together. If a value that the program returned has the factor, there is no such group. If all
    returned values equal the single device's, it is one. Otherwise the replicas' contributions to
    one of the variables must differ, as parts of a total do; two counters to which each replica
    adds the same are not divided by each other.
    """
    alike: dict[tuple[object, ...], list[int]] = {}
    for number, sites in faults.items():
        kinds = {(one.kind, one.relation) for one in sites.values()}
        if len(kinds) == 1 and (kind := kinds.pop()) in _EXACT:
            facts = variables[number]
            alike.setdefault((kind, facts.synchronization, facts.aggregation), []).append(number)
    found = []
    for numbers in alike.values():
        for group in _groups(numbers, reads):
            shown = [one for number in group for one in faults[number].values()]
            by = "" if len(group) > 1 else _divided(shown, returned)
            if by or (len(group) > 1 and _are_right(shown, returned)):
                found.append(_quotient(group, shown, variables, by))
    return found


_EXACT: Final = frozenset((WRONG_FACTOR, one) for one in (Relation.TIMES_N, Relation.OVER_N))


def _groups(numbers: Sequence[int], reads: ReadsTogether) -> list[list[int]]:
    """Return the variables in groups, in which each is read together with another."""
    groups = {number: [number] for number in numbers}
    for one, other in combinations(numbers, 2):
        if groups[one] is not groups[other] and reads.together(one, other):
            groups[one] += groups[other]
            for moved in groups[other]:
                groups[moved] = groups[one]
    return list({id(group): group for group in groups.values()}.values())


def _are_right(faults: Sequence[ScalingFault], returned: Sequence[ReturnedValue]) -> bool:
    count = len(faults[0].shown.by_replica)
    compared = [one for one in returned if not one.why]
    if any(_is_multiple(one, count) for one in compared):
        return False
    if compared and not any(one.differs for one in compared):
        return True
    return any(not fault.alike for fault in faults)


def _divided(faults: Sequence[ScalingFault], returned: Sequence[ReturnedValue]) -> str:
    """Return the name of a returned value that is the single device's value of a variable, or "".

    The result is "" if a returned value differs from the single device's, or if the equal values
    are too few and too short to show that they are the variable's.
    """
    if any(one.differs for one in returned):
        return ""
    wanted = [fault.shown.wanted for fault in faults if len(fault.shown.wanted) == 1]
    sought = {float(one[0]) for one in wanted if one[0] not in (0, 1)}  # each count begins so
    equal: set[float] = set()
    name = ""
    for one in returned:
        numbers = None if one.why else numbers_of(one.got)
        if numbers is not None:
            found = {it for it in sought if np.isclose(numbers, it, _SAME, 0.0).any()}
            name = name or (one.name if found else "")
            equal |= found
    telling = len(equal) >= _TELLING_VALUES or any(_digits(one) >= _TELLING_DIGITS for one in equal)
    return name if telling else ""


def _digits(value: float) -> int:
    """Return the number of significant digits of a value, of at most six."""
    return len(f"{value:.5e}".partition("e")[0].strip("-").replace(".", "").rstrip("0"))


def _is_multiple(returned: ReturnedValue, count: int) -> bool:
    """Return whether a returned value has the factor itself, so it is no quotient."""
    got, wanted = returned.got, returned.wanted
    if not returned.differs or not all(type(one) in {int, float} for one in (got, wanted)):
        return False
    return any(abs(got - wanted * by) <= _NEAR * abs(wanted * by) for by in (count, 1 / count))


def _quotient(
    group: Sequence[int],
    faults: Sequence[ScalingFault],
    variables: Mapping[int, VariableFacts],
    returned: str,
) -> Quotient:
    count = len(faults[0].shown.by_replica)
    return Quotient(
        variable_ids=tuple(group),
        variables=tuple(variables[number].name for number in group),
        factor=f"{count}" if faults[0].relation is Relation.TIMES_N else f"1/{count}",
        location=faults[0].shown.event.location or "",
        returned=returned,
    )
