"""Assertions for tests of training steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from varsim.analysis.asked_kinds import kinds_in, meant_by
from varsim.analysis.findings.model import Finding
from varsim.analysis.outcome import Outcome
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.strategy import Strategy
from varsim.report.findings_text import findings_text, told_findings
from varsim.testing.simulation import simulated_cluster
from varsim.texts.facts import times


class Judged(Protocol):
    """A run with a record: `varsim.FinishedRun`, or the fixture `varsim_cluster`."""

    @property
    def verdict(self) -> Outcome:
        """Return whether varsim kept its promises."""

    @property
    def findings(self) -> Sequence[Finding]:
        """Return what looks wrong in the program."""


def assert_replicas_equal(value: Any, *, rtol: float = 0.0, atol: float = 0.0) -> None:
    """Fail if the components of a variable, or of a `PerReplica` value, are not equal.

    Args:
        value: A distributed variable or value; each component is a number or an array.
        rtol: The relative tolerance; by default equal means equal.
        atol: The absolute tolerance.
    Raises:
        AssertionError: A component differs from that of replica 0; the text has both values.
        TypeError: The value has no components.
    """
    __tracebackhide__ = True
    components = getattr(value, "values", None)
    if not isinstance(components, tuple):
        raise TypeError(
            f"a {type(value).__name__} has no components: give a variable of a strategy, or what "
            "strategy.run returned"
        )
    first = np.asarray(components[0])
    for replica, component in enumerate(components[1:], 1):
        where = (f"on replica {replica}", "on replica 0")
        difference = _difference(np.asarray(component), first, rtol, atol, where)
        if difference:
            name = getattr(value, "label", "the value")
            raise AssertionError(f"the components of {name} differ: {difference}")


def assert_close_to_single_device(
    program: Callable[[Strategy], Any],
    strategy: Strategy,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-8,
) -> None:
    """Fail if a program returns other values on the replicas than on a single device.

    The program runs twice: on `strategy`, and on one replica in this process. So it must create its
    variables and read its data itself, and give each replica its share of the batch.

    Args:
        program: Trains with the strategy that it gets, and returns a number, an array, or a mapping
            or sequence of them, such as losses and weights.
        strategy: A strategy with several replicas, such as the fixture `varsim_strategy`.
        rtol: The relative tolerance. Sums of float32 in another order differ by about 1e-6.
        atol: The absolute tolerance.
    Raises:
        AssertionError: A value differs; the text has its key, both values, and whether one is N
            times the other.
    """
    __tracebackhide__ = True
    found = dict(_leaves(program(strategy)))
    with simulated_cluster(), MirroredStrategy(["CPU:0"]) as single:
        wanted = dict(_leaves(program(single)))
    if found.keys() != wanted.keys():
        raise AssertionError(
            f"the program returned {_listed(found)} on the replicas, and {_listed(wanted)} on a "
            "single device"
        )
    for key, value in found.items():
        where = (f"on {times(strategy.num_replicas_in_sync, 'replica')}", "on the single device")
        difference = _difference(value, wanted[key], rtol, atol, where)
        if difference:
            factor = _factor(value, wanted[key], strategy.num_replicas_in_sync, rtol)
            raise AssertionError(
                f"{key or 'the value'} differs from a single device: {difference}{factor}"
            )


def assert_valid(run: Judged, *, fail_on: Sequence[str] = ()) -> None:
    """Fail if the record of a run does not show that varsim kept its promises.

    Args:
        run: A `varsim.FinishedRun`, or the fixture `varsim_cluster`, which ends with this call.
        fail_on: Kinds of findings that fail, too, as for `varsim check --fail-on`: `stale-read`;
            a part of the name, such as `conflict`; or `any`.
    Raises:
        AssertionError: The verdict is INVALID or UNKNOWN, or there is such a finding.
        ValueError: There is no such kind.
    """
    __tracebackhide__ = True
    asked = frozenset[str]().union(*(meant_by(one) for one in fail_on))
    if run.verdict is not Outcome.VALID:
        raise AssertionError(
            f"the verdict is {run.verdict.value}: `varsim check` says why for the run"
        )
    kinds = kinds_in(run.findings, asked)
    if kinds:
        asked_for = [one for one in run.findings if one.kind.word in kinds]
        told = told_findings(asked_for, everything=True)
        raise AssertionError("\n".join([f"found: {', '.join(kinds)}", *findings_text(told)]))


def _leaves(value: Any, key: str = "") -> list[tuple[str, np.ndarray[Any, Any]]]:
    """Return the arrays of a value, each with its place in the value."""
    if isinstance(value, Mapping):
        inner = [(f"{key}[{name!r}]", one) for name, one in value.items()]
    elif isinstance(value, list | tuple):
        inner = [(f"{key}[{index}]", one) for index, one in enumerate(value)]
    else:
        return [(key, np.asarray(value))]
    return [leaf for place, one in inner for leaf in _leaves(one, place)]


def _listed(found: Mapping[str, Any]) -> str:
    return ", ".join(key or "a value" for key in found) or "nothing"


def _difference(
    found: np.ndarray[Any, Any],
    wanted: np.ndarray[Any, Any],
    rtol: float,
    atol: float,
    where: tuple[str, str],
) -> str:
    """Return where two arrays differ, with both values; "" if they are equal or close.

    Args:
        where: Where `found` is, and where `wanted` is, such as "on replica 0".
    """
    if found.shape != wanted.shape:
        return f"the shape is {found.shape} {where[0]}, {wanted.shape} {where[1]}"
    same = np.isclose(found, wanted, rtol, atol, equal_nan=True)
    if same.all():
        return ""
    differing = np.argwhere(~same)
    place = tuple(differing[0].tolist())
    at = f", at {list(place)} ({len(differing)} of {found.size} elements differ)" if place else ""
    return f"{found[place]!s} {where[0]}, {wanted[place]!s} {where[1]}{at}"


def _factor(
    found: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any], replicas: int, rtol: float
) -> str:
    """Return whether a value is N times another one; "" if it is not."""
    if replicas > 1 and np.allclose(found, replicas * wanted, rtol):
        return (
            f". It is {replicas} times the single device's value, and there are {replicas} replicas"
        )
    if replicas > 1 and np.allclose(replicas * found, wanted, rtol):
        return (
            f". It is 1/{replicas} of the single device's value, and there are {replicas} replicas"
        )
    return ""
