"""NaN and infinity: the first write of such a value to a variable, and the replicas that wrote it.

If a collective without a variable got such a value before any variable, or its sum overflowed
before, this is the cause: see `not_finite_given.py` and `overflow.py`. Variables that all replicas
then write as NaN or infinity only follow, and have no findings of their own.

The finder needs no oracle. If elements are NaN or infinite in the initial value of a variable, this
is intended, for example as padding, so these elements are not reported. An infinite sum of finite
values is an overflow (`overflow.py`).

In three cases the operands of the writes do not show NaN or infinity. Then the finder reports the
first read that shows such a value:
- The value of a write was not recorded.
- A component exceeded the range of its dtype, and the finder of overflows does not examine it.
- The rows of a sparse write were finite, but the result was not: for example, after a division by
  zero.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from varsim.analysis.arithmetic import Flat, is_finite, value_of
from varsim.analysis.findings.context import FindingContext
from varsim.analysis.findings.model import (
    Evidence,
    Finding,
    FindingKind,
    SelectiveFinder,
    finding_of,
    led_by,
)
from varsim.analysis.findings.not_finite_given import MASKED, GivenNotFinite, became, told
from varsim.analysis.findings.not_finite_given import Seen as SeenGiven
from varsim.analysis.findings.variable_facts import VariableFacts
from varsim.analysis.sampled import is_part, statistics_of
from varsim.extension_dtypes import kind_of, named
from varsim.spec import Rows
from varsim.texts.facts import name_replicas, times
from varsim.texts.program_lines import lines_of_a_mean
from varsim.texts.uneven import BY_ROWS
from varsim.tracing import notices
from varsim.tracing.history import PROGRAM, Event

NOT_FINITE: Final = FindingKind(name="NaN or infinity", about_values=True)

_NO_ROWS: Final = "0 of "
"""If a replica's arguments have no rows, the field `note` of its `begin` event starts with this."""

Mask = np.ndarray[tuple[int], np.dtype[np.bool_]]


@dataclass(slots=True)
class _Seen:
    """The writes of NaN or infinity to one variable."""

    first: Event  # the earliest of these writes, or the first read that shows NaN or infinity
    elements: tuple[int, int]  # of `first`: how many are not finite, how many there are
    is_nan: bool  # whether one of these elements is NaN
    round: int  # k if `first` is its replica's k-th write in the call; 0 for a read
    wrote: set[int] = field(default_factory=set)  # replicas whose write in `round` is not finite
    finite: set[int] = field(default_factory=set)  # replicas whose write in `round` is finite
    evidence: Evidence = field(default_factory=Evidence)
    row: int | None = None  # if `first` is a sparse write: the first row with NaN or infinity
    before: Event | None = None  # if `first` is a read: the last write before this read
    step: int = 0  # how many calls of strategy.run had begun


@dataclass(slots=True)
class _Rounds:
    """The writes to one variable in one call: the k-th writes of all replicas are round k."""

    call: int | None
    counts: Counter[int] = field(default_factory=Counter)  # process → number of its writes
    # round → replicas whose write is finite
    finite: defaultdict[int, set[int]] = field(default_factory=lambda: defaultdict(set))


class NotFinite(SelectiveFinder):
    """Finds variables that become NaN or infinite, and collectives that get such values."""

    kinds = (NOT_FINITE,)

    def __init__(self, context: FindingContext) -> None:
        super().__init__(context)
        self._contributions = context.contributions
        self._meant: dict[int, Mask] = {}  # elements that are not finite in the initial value
        self._num_meant: dict[int, int] = {}  # their number, if only a sample was recorded
        self._rounds: dict[int, _Rounds] = {}  # variable → the rounds of its last call
        self._empty: dict[int | None, set[int]] = {}  # call → replicas without rows
        self._seen: dict[int, _Seen] = {}
        self._given = GivenNotFinite(context.not_finite_at)
        self._step = 0
        self._merge_calls: dict[int, list[tuple[Event, str]]] = {}
        """Step → notices of the replicas that gave NaN or infinity to a merge function, and what.
        """
        self._unrecorded: set[int] = set()  # variables with a write whose value was not recorded
        self._sparse: set[int] = set()  # variables with a sparse write whose rows were recorded
        self._last: dict[int, Event] = {}  # last writes of the variables whose reads are examined
        # Variables whose sums the finder of overflows does not examine.
        self._not_summed = {
            number
            for number, one in self._variables.items()
            if not (one.merged or one.gathered)
            or one.aggregation not in {"SUM", "MEAN"}
            or one.numpy_dtype.kind == "c"
        }

    def examines(self, facts: VariableFacts) -> bool:
        """Return whether the variable can hold NaN and infinity."""
        return kind_of(facts.numpy_dtype) in "fc"

    def on_begin(self, event: Event) -> None:
        """Record that the replica's arguments have no rows."""
        if event.note is not None and event.note.startswith(_NO_ROWS):
            self._empty.setdefault(event.call, set()).add(event.process)

    def on_answer(self, event: Event) -> None:
        """Examine the values that replicas gave to a collective."""
        if (given := self.context.collectives.answered) is not None:
            self._given.examine(given, self.givers(event), passes=not self._seen)

    def on_call(self, event: Event) -> None:
        """Count the steps."""
        self._step += event.begins_step

    def on_notice(self, event: Event) -> None:
        """Store what replicas gave to `strategy.reduce` or to a merge function."""
        if event.operation == notices.PLAIN and not _is_finite_number(event):
            self.context.not_finite_at.value = event.event
        if event.operation != notices.NOT_FINITE:
            return
        about = notices.details(event.note)
        if not {"operation", "replicas", "what"} <= about.keys():
            return
        if about["operation"] == notices.MERGE_CALL:
            self._merge_calls.setdefault(self._step, []).append((event, about["what"]))
        else:
            self._given.reduced(event, about, self._step)

    def on_take(self, event: Event) -> None:
        """Store whether a result that the program gets is finite."""
        if not _is_finite_number(event):
            self.context.not_finite_at.value = event.event
        elif event.operation == "reduce":
            self._given.recover(event.location)

    def on_create(self, event: Event) -> None:
        """Record the elements of the initial value that are not finite."""
        number, value = event.variable, self._value_of(event)
        if number is not None and value is not None and not is_finite(value):
            self._meant[number] = ~np.isfinite(value)
            self._num_meant[number] = _outside(event)

    def on_write_by_replica(self, event: Event) -> None:
        """Examine a local write. Other writes are examined when they are committed."""
        if event.position is None:
            self._examine(event)

    def on_write_by_program(self, event: Event) -> None:
        """Examine a write from outside the replicas."""
        self._examine(event)

    def on_commit(self, event: Event) -> None:
        """Examine the contributions that a merge uses."""
        if event.variable is None:
            return
        contributions = self._contributions.committed
        only_first = self._variables[event.variable].first
        for replica_id, one in contributions.items():
            if one.variable == event.variable:
                self._examine(one, is_used=not (only_first and replica_id))

    def on_read(self, event: Event) -> None:
        """Examine a read value, if the operands of the writes are not enough."""
        number = event.variable
        if number not in self._last or number in self._seen:
            return
        value = self._value_of(event)
        bad = None
        if value is not None and (not is_finite(value) or _outside(event)):
            bad = self._unexpected(event, value)
        if bad is not None and value is not None:
            self.context.not_finite_at.value = event.event
            seen = self._seen[number] = _first(event, value, bad, 0)
            seen.before = self._last[number]
            seen.evidence.add(event, seen.before.event)

    def finish(self) -> list[Finding]:
        """Return the finding about the collective that is the cause, if any, and one per variable.

        Call this before the `finish` of `Overflow`, which needs the followers of its sum.
        """
        if (comparisons := self.context.comparisons) is not None:
            for number, seen in self._seen.items():
                comparisons.explain_not_finite(number, seen.evidence.locations)
        start = min(self._seen, key=lambda number: self._seen[number].first.event, default=None)
        since = None if start is None else self._seen[start].first.event
        given, overflow = self._given.start(since), self.context.overflow_given
        if given is not None and overflow is not None and overflow.event < given.first.event:
            given = None  # the sum that overflowed is the cause
        cause = overflow if given is None else given.first
        if cause is not None and since is not None and since < cause.event:
            cause = given = None
        following = {n for n, one in self._seen.items() if cause and self._follows(one)}
        names = [self._described(number) for number in sorted(following)]
        if given is None and cause is not None:
            self.context.overflow_followers = names
        found = [] if given is None else [self._finding_of_given(given, names)]
        origin = "" if start is None else f"Variable {self._variables[start].name!r} became"
        if cause is not None:
            operation = f"the {cause.operation}" if given is None else given.operation
            origin = f"The result of {operation} at {cause.location} became"
        for number, seen in sorted(self._seen.items()):
            if number not in following:
                is_start = cause is None and number == start
                one = self._finding(self._variables[number], seen, "" if is_start else origin)
                found.append(self._with_source(one, seen) if is_start else one)
        return found

    def _with_source(self, finding: Finding, seen: _Seen) -> Finding:
        """Return the finding with what passed NaN or infinity on to the variable, if that is known.

        This is a collective or a merge_call of the same call. Its line is the first.
        """
        if not self._follows(seen):
            return finding
        passed = [one for one in self._given.passed.values() if one.first.call == seen.first.call]
        if not passed:
            is_by_program = not seen.wrote - {PROGRAM}
            return self._with_merge_calls(finding, seen.step) if is_by_program else finding
        source = min(passed, key=lambda one: one.first.event)
        empty = [one for one in source.gave if one in self._empty.get(seen.first.call, ())]
        said = told(source, empty)
        what = f"{finding.what} {said[0].upper()}{said[1:]}"
        return led_by(replace(finding, what=what), source.first.location)

    def _follows(self, seen: _Seen) -> bool:
        """Return whether a variable got NaN or infinity from all replicas, or from the program."""
        writers = seen.wrote - {PROGRAM}
        return not writers or len(writers) == len(self.present(seen.first.call))

    def _described(self, number: int) -> str:
        location = self._seen[number].first.location
        return self._variables[number].name + (f" at {location}" if location else "")

    def _finding_of_given(self, seen: SeenGiven, followers: list[str]) -> Finding:
        empty = [one for one in seen.gave if one in self._empty.get(seen.first.call, ())]
        masked = not self.context.not_finite_at.is_after(seen.first, given=True)
        said = told(seen, empty) + became(followers) + MASKED * masked
        remedy = _remedy(name_replicas(seen.gave), empty, is_meant=False)
        paste = lines_of_a_mean(face=self.context.face) if empty else ()
        found = finding_of(NOT_FINITE, None, seen.evidence, said, remedy, paste=paste)
        found = replace(found, is_possible=masked)
        return self._with_merge_calls(found, seen.step)

    def _with_merge_calls(self, finding: Finding, step: int) -> Finding:
        """Return the finding with the merge_call of a step that got NaN or infinity, if any."""
        merges = self._merge_calls.get(step)
        if not merges:
            return finding
        who = name_replicas(sorted({event.process for event, _ in merges}))
        event, what = merges[0]
        said = f"{who[0].upper()}{who[1:]} gave {what} to the merge_call at {event.location}."
        return led_by(replace(finding, what=f"{finding.what} {said}"), event.location)

    def _value_of(self, event: Event) -> Flat | None:
        assert event.variable is not None
        return self._variables[event.variable].elements_of(event)

    def _examine(self, event: Event, *, is_used: bool = True) -> None:
        """Examine a write.

        Args:
            is_used: Whether the write changes the variable. A write that does not only shows
                whether its replica wrote NaN or infinity together with the others.
        """
        number = event.variable
        assert number is not None
        operand = self._variables[number].operand_of(event)
        rows = operand if isinstance(operand, Rows) else None
        value = operand.values.reshape(-1) if isinstance(operand, Rows) else operand
        if value is None or rows is not None or number in self._not_summed:
            self._last[number] = event
        if value is None:
            self._unrecorded.add(number)
            return
        if rows is not None:
            self._sparse.add(number)
        rounds = self._rounds.get(number)
        if rounds is None or rounds.call != event.call:
            rounds = self._rounds[number] = _Rounds(event.call)
        rounds.counts[event.process] = k = rounds.counts[event.process] + 1
        seen = self._seen.get(number)
        bad = None
        if not is_finite(value) or _outside(event):
            bad = self._unexpected(event, value, rows)
        if seen is None:
            if bad is None:
                rounds.finite[k].add(event.process)
            if bad is None or not is_used:
                return
            seen = self._seen[number] = _first(event, value, bad, k)
            seen.step = self._step
            seen.row = None if rows is None or is_part(rows) else _row_of(rows, bad)
            seen.finite = rounds.finite[k]
        if (event.call, k) == (seen.first.call, seen.round):
            (seen.finite if bad is None else seen.wrote).add(event.process)
        if bad is not None and is_used:
            seen.evidence.add(event)
            self.context.not_finite_at.value = event.event

    def _unexpected(self, event: Event, value: Flat, rows: Rows | None = None) -> Mask | None:
        """Return the elements that are not finite now, but were finite initially.

        If only elements outside of the sample are not finite, the mask has no element.

        Args:
            rows: For a sparse write, the indices of the rows that `value` contains.
        """
        assert event.variable is not None
        bad: Mask = ~np.isfinite(value)
        meant = self._meant.get(event.variable)
        if meant is not None and rows is not None:
            meant = _at_rows(meant, rows)
        if meant is not None and len(meant) == len(bad):
            bad &= ~meant
        hidden = _outside(event) > self._num_meant.get(event.variable, 0)
        return bad if hidden or bad.any() else None

    def _finding(self, facts: VariableFacts, seen: _Seen, origin: str) -> Finding:
        """Return the finding about one variable.

        Args:
            origin: "Variable 'loss' became" for what became NaN or infinite first; "" for this
                variable itself.
        """
        first, evidence = seen.first, seen.evidence
        if seen.before is not None:
            return self._finding_of_read(facts, seen, seen.before)
        wrote, finite = sorted(seen.wrote - {PROGRAM}), sorted(seen.finite - seen.wrote - {PROGRAM})
        empty = [one for one in wrote if one in self._empty.get(first.call, ())]
        who = "the program" if first.process == PROGRAM else name_replicas(wrote)
        said = [f"{who} wrote the first {_what_and_where(seen)}."]
        if first.process != PROGRAM and finite:
            several = len(finite) > 1 or seen.elements[1] > 1
            values = "finite values" if several else "a finite value"
            said.append(f"In the same write, {name_replicas(finite)} wrote {values}.")
            if facts.aggregation in {"SUM", "MEAN"}:
                to = "every component" if facts.mirrored else "the value of a cross-replica read"
                what = "NaN" if seen.is_nan else "infinity"
                said.append(f"The {facts.aggregation} passes the {what} on to {to}.")
        if empty:
            said.append(f"The arguments of {name_replicas(empty)} had no rows.")
        if evidence.count > 1:
            said.append(f"{times(evidence.count, 'write')} contained NaN or infinity.")
        if origin:
            said.append(f"{origin} NaN or infinite earlier.")
        elif len(wrote) == len(self.present(first.call)) and not empty:
            said.append(
                "All replicas wrote such a value. It may come from a value that they share, for "
                "example the result of an all_reduce."
            )
        paste = lines_of_a_mean(facts.name, first.operation or "") if empty else ()
        remedy = _remedy(who, empty)
        return finding_of(NOT_FINITE, facts, evidence, " ".join(said), remedy, paste=paste)

    def _finding_of_read(self, facts: VariableFacts, seen: _Seen, last: Event) -> Finding:
        first = seen.first
        reader = "the program" if first.process == PROGRAM else name_replicas([first.process])
        said = f"{reader} read the first {_what_and_where(seen)}. "
        if facts.variable_id in self._unrecorded:
            said += "A write whose value was not recorded may have caused this. "
        elif facts.variable_id in self._sparse:
            said += (
                "The written rows were finite, but a sparse write can divide by zero, or exceed "
                f"what {facts.dtype} holds. "
            )
        else:
            said += f"The writes were finite, but their sum can exceed what {facts.dtype} holds. "
        said += f"The last write before this read is at {last.location}."
        remedy = "Look at the values that are written, or give the variable a wider dtype."
        return finding_of(NOT_FINITE, facts, seen.evidence, said, remedy)


def _first(event: Event, value: Flat, bad: Mask, k: int) -> _Seen:
    elements, is_nan = (int(bad.sum()), len(value)), bool(np.isnan(value[bad]).any())
    statistics = statistics_of(event)
    if statistics is not None:
        size = math.prod(json.loads(event.shape or "[]"))
        elements, is_nan = (statistics.not_finite, size), statistics.nans > 0
    return _Seen(event, elements, is_nan, k)


def _is_finite_number(event: Event) -> bool:
    """Return whether a recorded value outside variables is finite; also if it is not known."""
    value = None if event.dtype is None else value_of(event, named(event.dtype))
    return value is None or kind_of(value.dtype) not in "fc" or is_finite(value)


def _outside(event: Event) -> int:
    """Return how many elements are not finite, if only a sample of the value was recorded."""
    statistics = statistics_of(event)
    return 0 if statistics is None else statistics.not_finite


def _row_of(rows: Rows, bad: Mask) -> int:
    """Return the index of the first row with an element that is not finite."""
    return int(rows.indices[int(bad.argmax()) // rows.values.shape[1]])


def _at_rows(meant: Mask, rows: Rows) -> Mask | None:
    """Return the part of a mask at these rows; None if the variable lacks one of the rows."""
    width = rows.values.shape[1]
    if not width or len(meant) % width or (rows.indices >= len(meant) // width).any():
        return None
    part: Mask = meant.reshape(-1, width)[rows.indices].reshape(-1)
    return part


def _what_and_where(seen: _Seen) -> str:
    first, (bad, size) = seen.first, seen.elements
    what = "NaN" if seen.is_nan else "infinity"
    part = f" in {bad:,} of {size:,} elements" if size > 1 else ""
    if seen.row is not None:
        part += f", first in row {seen.row}" if size > 1 else f" in row {seen.row}"
    call = f" in call {first.call} of strategy.run" if first.call is not None else ""
    return f"{what}{part}{call}" + (f" at {first.location}" if first.location else "")


def _remedy(who: str, empty: Collection[int], *, is_meant: bool = True) -> str:
    """Return what to do.

    Args:
        is_meant: Whether the program can say that it means the value.
    """
    if empty:
        return (
            "The mean of no rows is NaN. Drop the remainder of the data (of a distributed dataset: "
            f"`--uneven drop`), or {BY_ROWS}."
        )
    text = (
        f"Look at how this value is computed by {who}: a mean of no rows, a division by zero, a "
        "logarithm of 0 or an overflow, for example."
    )
    if not is_meant:
        return text
    return (
        f"{text} If the value is intended, make it a part of the variable's initial value: such "
        "elements are not reported."
    )
