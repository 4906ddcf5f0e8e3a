"""Sentences about the cells of the policy table, by the key of the cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class CellText:
    """The texts about one cell in documents and in `varsim explain`.

    Attributes:
        brief: The effect of the cell, for the table of all cells.
        narrow: The effect of a write in replica context, for a narrow column.
        write, read: The effect of an operation, and its messages.
        deferred_write, deferred_read: The same for a variable whose writes are deferred, if
            different.
        waits: The reason why replicas wait for each other at a write; the computation follows.
        differences: The numbers of the differences from TensorFlow that concern a write.
        read_differences: The numbers of those that concern a read.
    """

    brief: str
    narrow: str = ""
    write: str = ""
    read: str = ""
    deferred_write: str = ""
    deferred_read: str = ""
    waits: str = ""
    differences: tuple[str, ...] = ()
    read_differences: tuple[str, ...] = ()


_BEFORE: Final = (
    " Deferred writes are exchanged before it; an assign of one value drops them instead."
)
_BROADCAST: Final = (
    "The same operation with the same value on every component, without aggregation; of a "
    "per-replica value, each component gets its replica's part. A message to each replica."
)
_READ_LOCALLY: Final = "This replica's own component."

CELLS: Final[dict[str, CellText]] = {
    "local": CellText(
        brief="own component",
        narrow="stays local",
        write="This replica's component only, on purpose. No message.",
        read=f"{_READ_LOCALLY} No message.",
        deferred_read=(
            f"{_READ_LOCALLY} The writes of all replicas since the last exchange are exchanged "
            "first: a message from each replica, and one back to it."
        ),
    ),
    "local.diverges": CellText(
        brief="own component only: the copies diverge (warned)",
        narrow="copies diverge",
        write=(
            "This replica's component only: the others do not follow, and the copies diverge. No "
            "message."
        ),
    ),
    "athand": CellText(
        brief="the component that is updated",
        write=(
            "The component that is updated, whatever the settings: nothing is aggregated. The "
            "writes are sent after the last call of the function, in a message to each replica."
        ),
        read=(
            "The component that is updated. A request and an answer for each component that was "
            "written since the last read."
        ),
        deferred_read="The component that is updated. Deferred writes are exchanged first.",
        differences=("D4",),
    ),
    "merge": CellText(
        brief="a collective; every component gets the aggregate",
        narrow="collective",
        write=(
            "A collective: the values of all replicas are combined, and every component gets the "
            "result. A message from each replica, and one back to it."
        ),
        waits="a write to it in replica context is",
        differences=("D2", "D3", "D12"),
    ),
    "defer": CellText(
        brief="kept until a read; then every component gets the aggregate",
        narrow="kept till a read",
        write=(
            "Every replica keeps its writes until the next read. Then all writes since the last "
            "exchange are combined, and every component gets the result. No message: only the read "
            "sends messages."
        ),
        differences=("D2", "D3", "D12"),
    ),
    "broadcast": CellText(
        brief="every component",
        write=(
            "The same operation with the same value on every component. A message to each replica. "
            "A per-replica value is refused: every replica can write its own in strategy.run."
        ),
    ),
    "broadcast.shares": CellText(
        brief="every component, its share",
        write=(
            "Every component gets its share, the value divided by the number of replicas, so that "
            "the sum is the value again. A message to each replica."
        ),
        differences=("D7",),
    ),
    "broadcast.per_component": CellText(
        brief="every component; a PerReplica component by component",
        write=_BROADCAST,
        deferred_write=_BROADCAST + _BEFORE,
        differences=("D4", "D9"),
    ),
    "gather": CellText(
        brief="the aggregate of the components",
        read=(
            "The components are fetched and combined; none of them changes. A request and an "
            "answer for each component that is used and was written since the last read."
        ),
    ),
    "mirror": CellText(
        brief="the mirror; component 0 if it has diverged",
        read=(
            "The one value that all components hold, which needs no message. If they have "
            "diverged, component 0: a request and an answer if it was written since the last "
            "read."
        ),
        deferred_read=(
            "The one value that all components hold, which needs no message. Deferred writes are "
            "exchanged first. If the components have diverged, component 0: a request and an "
            "answer if it was written since the last read."
        ),
        read_differences=("D10",),
    ),
    "average": CellText(
        brief="own component; after every k-th write, the mean of the components",
        narrow="averaged every k",
        write=(
            "This replica's component only. After every k-th write of a replica all components "
            "become their mean: a collective, a message from each replica, and one back to it. The "
            "other writes need no message."
        ),
        waits="after the same number of writes on every replica, all components become",
        differences=("D3",),
    ),
    "refuse": CellText(
        brief="refused",
        write="Refused; nothing changes. The error, shown below, says what to do.",
        read="Refused; nothing changes. The error, shown below, says what to do.",
    ),
}
"""The texts of the cells. A policy of another package adds its own."""
