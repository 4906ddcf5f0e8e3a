"""Define the faults that users can inject into replicas, and parse their texts.

A fault has a place: a replica, a call of `strategy.run` (or a step of the workload), and an
operation of the replica's function. It has no time. Random choices are drawn from the seed, so the
same experiment has the same faults in every run.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from varsim.errors import DistributedValueError
from varsim.nearest import did_you_mean, listed
from varsim.transport.transport import TRANSPORTS
from varsim.value_class import value_class

KILL, EXIT, RAISE, PAUSE, SLOW, DELAY = "kill", "exit", "raise", "pause", "slow", "delay"
DISK_FULL, MEMORY_FULL = "disk_full", "memory_full"
DROP, DUPLICATE, REORDER = "drop", "duplicate", "reorder"
CORRUPT, TRUNCATE, PARTITION = "corrupt", "truncate", "partition"

AMOUNTS: Final[Mapping[str, Mapping[str, float | None]]] = {
    KILL: {},
    EXIT: {"code": 1},
    RAISE: {},
    PAUSE: {"s": None},
    SLOW: {"factor": None},
    DELAY: {"ms": None, "jitter_ms": 0},
    DISK_FULL: {},
    MEMORY_FULL: {},
    DROP: {"count": 1},
    DUPLICATE: {"count": 1},
    REORDER: {"count": 1},
    CORRUPT: {},
    TRUNCATE: {},
    PARTITION: {"s": None},
}
"""Kind of fault → its amounts and their defaults. None: the user must give the amount."""

_LASTING: Final = (SLOW, DELAY)
"""Faults that last for whole calls, or for all calls if the user gives no call and no step."""

_OF_PROCESSES: Final = (KILL, DISK_FULL, MEMORY_FULL)
"""Faults that can happen to the coordinator."""

_OF_LINKS: Final = (DROP, DUPLICATE, REORDER, CORRUPT, TRUNCATE, PARTITION)
"""Faults of the link between a worker and the coordinator."""

COORDINATOR: Final = "coordinator"
ANY, ALL = "any", "all"
REPLICA, REPLICAS = "replica", "replicas"  # the keys for one replica, and for several
_RANGE: Final = re.compile(r"(\d{1,9})(?::(\d{1,9}))?")
_PLACES: Final = ("call", "step", "operation")  # the keys that place a fault on its replica

SYNTAX: Final = (
    "kill replica=2 call=30; exit replica=2 call=30 code=1; raise replica=2 call=30; "
    "pause replica=2 call=30 s=2; slow replica=2 factor=3; delay replica=2 ms=5 jitter_ms=2; kill "
    "replica=coordinator call=30; disk_full replica=coordinator call=30; memory_full replica=2 "
    "call=30; drop replica=2 call=30 count=3 (also duplicate, reorder); corrupt replica=2 call=30; "
    "truncate replica=2 call=30; partition replicas=1,2 call=30 s=1. step=30 can replace call=30. "
    "operation=4 places a fault before the replica's fourth operation. The seed draws the replica "
    "of replica=any, and one of the calls of call=10:50; but slow and delay last for all these "
    "calls. slow, delay and the faults of links (drop to partition) accept replica=all"
)


@value_class
class Fault:
    """A fault as the user wrote it; `drawn` chooses what is random."""

    text: str
    kind: str
    replica: int | str | tuple[int, ...]  # one or several ids, "any", "all" or "coordinator"
    call: tuple[int, int] | None = None  # first call, and call after the last one; counted from 1
    step: tuple[int, int] | None = None  # first step, and step after the last one; counted from 1
    operation: int | None = None  # counted from 1; None: before the function begins
    amounts: tuple[tuple[str, float], ...] = ()

    def amount(self, name: str) -> float:
        """Return an amount of this kind of fault."""
        return dict(self.amounts)[name]

    def check(self, num_replicas: int) -> None:
        """Check that the replica exists.

        Raises:
            DistributedValueError: The replica does not exist.
        """
        missing = [one for one in self.replica_ids if one >= num_replicas]
        if missing:
            raise DistributedValueError(
                f"fault {self.text!r}: there is no replica {missing[0]}; the replicas are 0 to "
                f"{num_replicas - 1}"
            )

    def check_link(self, transport: str) -> None:
        """Check that the links of a transport can have the fault.

        Raises:
            DistributedValueError: The fault changes a link, and these links lose nothing.
        """
        if self.is_of_link and not TRANSPORTS.make(transport).can_lose:
            raise DistributedValueError(
                f"fault {self.text!r}: a link over {transport} loses nothing, so it cannot have "
                "this fault; use the transport tcp"
            )

    def drawn(self, seed: int, index: int, num_replicas: int) -> Fault:
        """Return the fault with the replica, the call and the step that the seed chooses.

        Args:
            index: The index of the fault in its experiment. Equal faults get different draws.
        """
        draw = random.Random(f"{seed}/{index}")
        where = draw.randrange(num_replicas) if self.replica == ANY else self.replica
        call, step = self.call, self.step
        if not self.is_lasting:
            call = None if call is None else _at(draw.randrange(*call))
            step = None if step is None else _at(draw.randrange(*step))
        return replace(self, replica=where, call=call, step=step)

    @property
    def replica_ids(self) -> tuple[int, ...]:
        """Return the replicas that the fault names by their ids."""
        if isinstance(self.replica, tuple):
            return self.replica
        return (self.replica,) if isinstance(self.replica, int) else ()

    def is_on(self, replica_id: int) -> bool:
        """Return whether a drawn fault happens on a replica."""
        return self.replica == ALL or replica_id in self.replica_ids

    @property
    def is_lasting(self) -> bool:
        """Return whether the fault lasts for whole calls, and can happen in several calls."""
        return self.kind in _LASTING

    @property
    def is_of_link(self) -> bool:
        """Return whether the fault happens to the link of a worker."""
        return self.kind in _OF_LINKS

    @property
    def place(self) -> str:
        """Return the place of a drawn fault: the operation, the call or step, and the replica."""
        at = [f"operation {self.operation}"] if self.operation else []
        at += [f"call {self.call[0]}"] if self.call else []
        at += [f"step {self.step[0]}"] if self.step else []
        return f"{' of '.join(at) or 'a call'} on {self.where}"

    @property
    def where(self) -> str:
        """Return the replicas of a drawn fault, as text."""
        ids = ", ".join(map(str, self.replica_ids))
        return f"replica{'s' * (',' in ids)} {ids}" if ids else str(self.replica)

    def is_at(self, call: int, step: int) -> bool:
        """Return whether the fault belongs to this call, which begins in this step.

        A workload may report several steps at once, so a fault that happens once may happen later
        than in its step.
        """
        if self.is_lasting or self.step is None:
            return _is_in(self.call, call) and _is_in(self.step, step)
        return self.step[0] <= step


def _at(number: int) -> tuple[int, int]:
    return number, number + 1


def _is_in(span: tuple[int, int] | None, number: int) -> bool:
    return span is None or span[0] <= number < span[1]


# ---------------------------------------------------------------- what users write


def parse_fault(text: str) -> Fault:
    """Parse a fault, such as `kill replica=2 call=30`.

    Raises:
        DistributedValueError: The text is not a fault. The error has the allowed forms.
    """
    kind, *others = text.split() or [""]
    if kind not in AMOUNTS:
        near = did_you_mean(kind, AMOUNTS)
        raise _wrong(text, f"{kind!r} is not a kind of fault{near or f': {listed(AMOUNTS)}'}")
    values: dict[str, str] = {}
    for word in others:
        name, equals, value = word.partition("=")
        known = (REPLICA, *_PLACES, *AMOUNTS[kind])
        known = (REPLICAS, *known) if kind == PARTITION else known
        if not equals or name not in known:
            accepted = [f"{one}=" for one in known]
            near = did_you_mean(name, accepted)
            raise _wrong(text, f"{word!r}: {kind} has {', '.join(accepted)}{near}")
        if name in values:
            raise _wrong(text, f"duplicate {name}=")
        values[name] = value
    fault = Fault(
        text=" ".join(text.split()),
        kind=kind,
        replica=_replicas(text, kind, values),
        call=_span(text, "call", values.get("call")),
        step=_span(text, "step", values.get("step")),
        operation=_operation(text, values.get("operation")),
        amounts=tuple(_amounts(text, kind, values)),
    )
    if fault.call is not None and fault.step is not None:
        raise _wrong(text, "give call= or step=, not both")
    if fault.call is None and fault.step is None and kind not in _LASTING:
        raise _wrong(text, f"{kind} needs call= or step=")
    if fault.replica == COORDINATOR and fault.operation is not None:
        raise _wrong(text, "the coordinator has no operations; omit operation=")
    return fault


def _wrong(text: str, problem: str) -> DistributedValueError:
    return DistributedValueError(
        f"invalid fault {text!r}: {problem} (docs/faults.md lists all faults)"
    )


def _replicas(text: str, kind: str, values: Mapping[str, str]) -> int | str | tuple[int, ...]:
    if REPLICAS not in values:
        return _replica(text, kind, values.get(REPLICA))
    ids = values[REPLICAS].split(",")
    is_valid = all(one.isdecimal() and len(one) <= 4 for one in ids)
    if REPLICA in values or not is_valid or len({*map(int, ids)}) < len(ids):
        raise _wrong(text, "replicas= must be different replica ids, such as 1,2, without replica=")
    return tuple(map(int, ids))


def _replica(text: str, kind: str, value: str | None) -> int | str:
    words = [ANY]
    words += [ALL] if kind in _LASTING + _OF_LINKS else []
    words += [COORDINATOR] if kind in _OF_PROCESSES else []
    if value in words:
        return value
    if value is None or not value.isdecimal() or len(value) > 4:
        raise _wrong(text, f"replica= must be a replica id or one of {', '.join(words)}")
    return int(value)


def _span(text: str, name: str, value: str | None) -> tuple[int, int] | None:
    if value is None:
        return None
    found = _RANGE.fullmatch(value)
    first = int(found[1]) if found else 0
    last = int(found[2]) if found and found[2] else first + 1
    if not 1 <= first < last:
        raise _wrong(text, f"{name}= must be a number from 1, or a range such as 10:50 (10 to 49)")
    return first, last


def _operation(text: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal() or not 1 <= int(value[:10]) < 10**9:
        raise _wrong(text, "operation= must be a number from 1")
    return int(value)


def _amounts(text: str, kind: str, values: Mapping[str, str]) -> list[tuple[str, float]]:
    found = []
    for name, default in AMOUNTS[kind].items():
        given = values.get(name)
        if given is None and default is None:
            raise _wrong(text, f"{kind} needs {name}=")
        try:
            value = default if given is None else float(given)
        except ValueError:
            value = -1.0
        least = 1.0 if name in {"factor", "count"} else 0.0
        if value is None or not least <= value <= 1e6:
            raise _wrong(text, f"{name}= must be a number from {least:g} to 1e6")
        found.append((name, value))
    return found
