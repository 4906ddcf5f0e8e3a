"""The page of `varsim check --event` about an operation of a parameter server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from varsim.errors import ConfigError
from varsim.report.formatting import count, dimensions, number, visible, wrapped
from varsim.report.json_values import plain
from varsim.texts.facts import times
from varsim.tracing.served_record import NOT_READ, ServedOperation, ServerRecord
from varsim.tracing.trace_format import PROGRAM

_AROUND: Final = 4  # number of operations shown before the event, and number shown after it
_MOST_ELEMENTS: Final = 64  # elements shown of a value
_LABEL_WIDTH: Final = 11


class ServedEvent:
    """One operation, with the operations on the same variable before and after it."""

    def __init__(self, records: Sequence[ServerRecord], wanted: int) -> None:
        """Find the operation with this number.

        Raises:
            ConfigError: There is no such operation, or a record is damaged.
        """
        last = 0
        for server, record in enumerate(records):
            before: dict[int, deque[ServedOperation]] = {}  # variable → its last operations
            found: ServedOperation | None = None
            after: list[ServedOperation] = []
            for one in record.operations(last):
                last = one.number
                if one.number == wanted:
                    found = one
                elif found is None:
                    before.setdefault(one.variable, deque(maxlen=_AROUND)).append(one)
                elif one.variable == found.variable and len(after) < _AROUND:
                    after.append(one)
            if found is not None:
                self.one, self.server = found, server
                self.name = record.names.get(found.variable, "")
                self.around = [*before.get(found.variable, ()), found, *after]
                return
        events = f"events 1 to {last:,}" if last > 1 else times(last, "event") if last else "none"
        raise ConfigError(f"--event {wanted}: no such event; the records of servers have {events}")

    def lines(self, width: int) -> list[str]:
        """Return the lines about the operation."""
        lines = [f"event {count(self.one.number)}"]
        for label, text in self._fields():
            for index, line in enumerate(wrapped(visible(text), width - _LABEL_WIDTH - 2)):
                lines.append(f"  {label if not index else '':{_LABEL_WIDTH}}{line}")
        if len(self.around) > 1:
            lines += ["", f"operations on {self.name} around it, in the order of the server"]
            for one in self.around:
                mark = ">" if one is self.one else " "
                told = f"{mark} {one.number:>7} {described(one)}, at {one.location}"
                lines += wrapped(visible(told), width, " " * 10)
        return lines

    def _fields(self) -> Iterator[tuple[str, str]]:
        one = self.one
        yield "operation", described(one)
        yield "variable", f"{self.name}, on parameter server {self.server}"
        yield "location", one.location
        after_s = (one.time_ns - self.around[0].time_ns) / 1e9
        if one is not self.around[0]:
            yield "time", f"{after_s:.6f} s after event {count(self.around[0].number)}"
        yield "value", f"{one.dtype_name} {dimensions(one.shape)} {self._value()}".strip()
        if (indices := one.row_indices()) is not None:
            shown = [str(index) for index in indices[:_MOST_ELEMENTS].tolist()]
            more = len(indices) - len(shown)
            yield "rows", ", ".join(shown) + (f" and {count(more)} more" if more > 0 else "")

    def _value(self) -> str:
        values = self.one.elements()
        if values is None:
            return "(not recorded; --trace messages records all values)"
        shown = " ".join(number(one) for one in values[:_MOST_ELEMENTS].tolist())
        more = len(values) - _MOST_ELEMENTS
        return shown + (f" and {count(more)} more" if more > 0 else "")

    def plain(self) -> dict[str, Any]:
        """Return the operation as a JSON object."""
        one = self.one
        values, indices = one.elements(), one.row_indices()
        return {
            "event": one.number,
            "server": self.server,
            "process": one.process,
            "closure": one.closure_id or None,
            "variable": self.name,
            "operation": one.operation,
            "version": one.version,
            "based_on": None if one.read_version == NOT_READ else one.read_version,
            "location": one.location,
            "dtype": one.dtype_name,
            "shape": list(one.shape),
            "value": None if values is None else plain(values),
            "indices": None if indices is None else indices.tolist(),
            "around": [other.number for other in self.around],
        }


def by(process: int, closure_id: int) -> str:
    """Return who has done an operation."""
    if process == PROGRAM:
        return "the program"
    return f"closure {count(closure_id)} on worker {process}"


def described(one: ServedOperation) -> str:
    """Return an operation as a text: what it did, by whom, and on which version."""
    who = by(one.process, one.closure_id)
    if one.operation == "create":
        return f"create by {who}: version 0"
    if one.operation == "read":
        return f"read of version {count(one.version)} by {who}"
    text = f"{one.operation} by {who}: version {count(one.version)}"
    if one.read_version == NOT_READ:
        return text
    behind = one.version - 1 - one.read_version
    late = f", {times(behind, 'version')} behind" if behind else ""
    return f"{text}, based on its read of version {count(one.read_version)}{late}"


def print_served_events(
    console: Console, records: Sequence[ServerRecord], wanted: Sequence[int]
) -> None:
    """Print operations one below the other.

    Raises:
        ConfigError: There is no such operation, or a record is damaged.
    """
    told = [ServedEvent(records, one).lines(console.width) for one in wanted]
    for index, lines in enumerate(told):
        for line in ["", *lines] if index else lines:
            console.print(Text(line), soft_wrap=True)
