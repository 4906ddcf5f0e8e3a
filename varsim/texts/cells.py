"""Texts about the cells of the policy table."""

from __future__ import annotations

from typing import Final

from varsim.value_class import value_class


@value_class(kw_only=True)
class CellText:
    """The texts about one cell in documents and in `varsim explain`.

    Attributes:
        brief: The effect of the cell, for the table of all cells.
        narrow: The effect of a write in replica context, for a narrow column.
        write, read: The effect of an operation, and its messages.
        deferred_write, deferred_read: The same texts for a variable whose writes are deferred;
            empty if `write` and `read` also describe such a variable.
        rows: The effect of a sparse write, and its messages; empty if `write` also describes a
            sparse write.
        rows_brief: The effect of a sparse write, for the table of all cells; empty if `brief` also
            describes a sparse write.
        waits: The reason why replicas wait for each other at a write; {aggregate} stands for the
            aggregate.
        differences: The numbers of the differences from TensorFlow that concern a write.
        read_differences: The numbers of the differences from TensorFlow that concern a read.
    """

    brief: str
    narrow: str = ""
    write: str = ""
    read: str = ""
    deferred_write: str = ""
    deferred_read: str = ""
    rows: str = ""
    rows_brief: str = ""
    waits: str = ""
    differences: tuple[str, ...] = ()
    read_differences: tuple[str, ...] = ()


_BEFORE: Final = (
    " Deferred writes are exchanged before the write. An assign of one value drops the deferred "
    "writes instead."
)
_BROADCAST: Final = (
    "The same operation changes every component with the same value, without aggregation. If "
    "the value is a per-replica value, each component gets its replica's value. One message goes "
    "to each replica."
)
_READ_LOCALLY: Final = "The read returns this replica's own component."

CELLS: Final[dict[str, CellText]] = {
    "local": CellText(
        brief="own component",
        narrow="stays local",
        write=(
            "The write changes only this replica's component, as this synchronization intends. No "
            "message is sent."
        ),
        read=f"{_READ_LOCALLY} No message is sent.",
        deferred_read=(
            f"{_READ_LOCALLY} Before this read, the writes of all replicas since the last exchange "
            "are exchanged. One message comes from each replica, and one goes to each replica."
        ),
    ),
    "local.diverges": CellText(
        brief="own component only: the components diverge (warned)",
        narrow="components diverge",
        write=(
            "The write changes only this replica's component. The other components do not change, "
            "so the components diverge. No message is sent."
        ),
    ),
    "athand": CellText(
        brief="the component that is updated",
        write=(
            "The write changes only the component that is updated, under all settings: nothing is "
            "aggregated. The writes are sent after the last call of the function, in one message "
            "to each replica."
        ),
        read=(
            "The read returns the component that is updated. A request and an answer are sent for "
            "each component that was written since the last read."
        ),
        deferred_read=(
            "The read returns the component that is updated. Deferred writes are exchanged before "
            "the read."
        ),
        differences=("D4",),
        rows=(
            "A sparse write changes rows of the component that is updated, under all settings. The "
            "component is sent as a whole."
        ),
    ),
    "merge": CellText(
        brief="a collective; every component gets the aggregate",
        narrow="collective",
        write=(
            "The write is a collective: the values of all replicas are combined, and every "
            "component gets the result. One message comes from each replica, and one goes to each "
            "replica."
        ),
        waits="in replica context, a write to it uses {aggregate}",
        differences=("D2", "D3", "D12"),
        rows=(
            "A sparse write is a collective: the rows of all replicas are joined in replica order, "
            "and every component gets all of them. MEAN divides the values by the number of "
            "replicas, and ONLY_FIRST_REPLICA uses the rows of replica 0. The messages contain "
            "rows only."
        ),
        rows_brief="a collective; every component gets the joined rows",
    ),
    "defer": CellText(
        brief="kept until a read; then every component gets the aggregate",
        narrow="kept till a read",
        write=(
            "Every replica keeps its writes until the next read. Then all writes since the last "
            "exchange are combined, and every component gets the result. The write sends no "
            "message; the read sends messages."
        ),
        differences=("D2", "D3", "D12"),
        rows=(
            "Every replica keeps its rows until the next read; rows that are added several times "
            "are summed. The read then sends rows only, and every component gets the rows of all "
            "replicas, as with ON_WRITE."
        ),
        rows_brief="kept until a read; then every component gets the joined rows",
    ),
    "broadcast": CellText(
        brief="every component",
        write=(
            "The same operation changes every component with the same value. One message goes to "
            "each replica. A per-replica value is refused: instead, every replica can write its "
            "own value in strategy.run."
        ),
        rows=(
            "A sparse write changes the same rows of every component. The messages contain rows "
            "only."
        ),
    ),
    "broadcast.shares": CellText(
        brief="every component, its share",
        write=(
            "Every component gets its share: the value divided by the number of replicas. So the "
            "sum of the components is the value. One message goes to each replica."
        ),
        differences=("D7",),
    ),
    "broadcast.per_component": CellText(
        brief="every component; a PerReplica component by component",
        write=_BROADCAST,
        deferred_write=_BROADCAST + _BEFORE,
        differences=("D4", "D9"),
        rows=(
            "A sparse write changes the same rows of every component, without aggregation. If the "
            "rows are a per-replica value, each component gets its replica's rows. The messages "
            "contain rows only."
        ),
    ),
    "gather": CellText(
        brief="the aggregate of the components",
        read=(
            "The components are fetched and combined. No component changes. A request and an "
            "answer are sent for each component that is used and was written since the last read."
        ),
    ),
    "mirror": CellText(
        brief="the mirror; component 0 if the components have diverged",
        read=(
            "The read returns the one value that all components hold. No message is sent. If the "
            "components have diverged, the read returns component 0. A request and an answer are "
            "sent if component 0 was written since the last read."
        ),
        deferred_read=(
            "The read returns the one value that all components hold. Deferred writes are "
            "exchanged before the read. If the components have diverged, the read returns "
            "component 0. A request and an answer are sent if component 0 was written since the "
            "last read."
        ),
        read_differences=("D10",),
    ),
    "exchangeevery": CellText(
        brief="own component; after every k-th write, the result of the policy's exchange",
        narrow="exchanged every k",
        write=(
            "The write changes only this replica's component. Every k-th write of a replica is "
            "also a collective: the policy computes a new component for each replica from all "
            "components. One message comes from each replica, and one goes to each replica. The "
            "other writes need no message."
        ),
        waits="after the same number of writes on every replica, the components are exchanged",
        differences=("D3",),
        rows=(
            "A sparse write changes rows of this replica's component, and counts as a write. At "
            "every k-th write of a replica the whole component is exchanged."
        ),
    ),
    "readcopy": CellText(
        brief="the authoritative copy",
        read=(
            "The read returns the authoritative copy, which the program's process has. No message "
            "is sent."
        ),
    ),
    "toallandcopy": CellText(
        brief="every component, and the authoritative copy",
        write=(
            "The same operation changes every component and the authoritative copy with the same "
            "value. One message goes to each replica. A per-replica value is refused."
        ),
        rows=(
            "A sparse write changes the same rows of every component and of the authoritative "
            "copy. The messages contain rows only."
        ),
    ),
    "average": CellText(
        brief="own component; after every k-th write, the mean of the components",
        narrow="averaged every k",
        write=(
            "The write changes only this replica's component. Every k-th write of a replica is "
            "also a collective: all components become the mean of the components. One message "
            "comes from each replica, and one goes to each replica. The other writes need no "
            "message."
        ),
        waits="after the same number of writes on every replica, all components become {aggregate}",
        differences=("D3",),
        rows=(
            "A sparse write changes rows of this replica's component, and counts as a write. At "
            "every k-th write of a replica the whole component is exchanged."
        ),
    ),
    "mergecompressed": CellText(
        brief="a collective; every component gets the aggregate of compressed changes",
        narrow="collective",
        write=(
            "The write is a collective: each replica sends its compressed change, and keeps what "
            "this lacks for its next change. The changes of all replicas are combined, and every "
            "component gets the result. One message comes from each replica, and one with the "
            "whole value goes to each replica."
        ),
        waits="in replica context, a write to it uses {aggregate}",
        differences=("D2", "D3", "D12"),
    ),
    "mergewhole": CellText(
        brief="a collective; every component gets the aggregate, which is exact",
        narrow="collective",
        write=(
            "The write is a collective: the whole values of all replicas are combined, and every "
            "component gets the result. Nothing is compressed, and residuals of earlier changes "
            "end. One message comes from each replica, and one goes to each replica."
        ),
        waits="in replica context, a write to it uses {aggregate}",
        differences=("D2", "D3", "D12"),
    ),
    "averagecompressed": CellText(
        brief="own component; after every k-th write, about the mean of the components",
        narrow="averaged every k",
        write=(
            "The write changes only this replica's component. Every k-th write of a replica is "
            "also a collective: each replica sends the compressed change of its component since "
            "the last exchange, and keeps what this lacks for its next change. All components "
            "become the value of the last exchange plus the mean of these changes. One message "
            "comes from each replica, and one with the whole value goes to each replica. The other "
            "writes need no message. The first exchange, and the first one after a write of the "
            "program, sends whole components."
        ),
        waits="after the same number of writes on every replica, all components become {aggregate}",
        differences=("D3",),
        rows=(
            "A sparse write changes rows of this replica's component, and counts as a write. At "
            "every k-th write of a replica the change of the whole component is exchanged."
        ),
    ),
    "mergeintocopy": CellText(
        brief="a collective; the copy gets the aggregate",
        narrow="collective",
        write=(
            "The write is a collective: the values of all replicas are combined, and the copy gets "
            "the result once. One message comes from each replica, and one goes to each replica's "
            "cache."
        ),
        waits="in replica context, a write to it uses {aggregate}",
        differences=("D2", "D3", "D12"),
    ),
    "inturn": CellText(
        brief="a collective; the copy gets the rows of all replicas",
        narrow="collective",
        waits="in replica context, a sparse write to it uses the rows of all replicas",
        rows=(
            "A sparse write is a collective, and the aggregation has no effect: the copy gets the "
            "rows of all replicas, in replica order. The messages contain rows only."
        ),
    ),
    "fromcache": CellText(
        brief="the copy",
        read=(
            "The read returns this replica's cache of the copy. No message is sent. If the replica "
            "has written, the read waits until all replicas have written, too."
        ),
    ),
    "fromcopy": CellText(
        brief="the copy",
        read="The read returns the copy. No message is sent.",
    ),
    "tocopy": CellText(
        brief="the copy; a PerReplica: the value of replica 0 (warned)",
        write=(
            "The operation changes the copy. If the value is a per-replica value, the value of "
            "replica 0 is used, as in TensorFlow, and a warning is shown. One message goes to each "
            "replica's cache."
        ),
        differences=("D9",),
        rows=(
            "A sparse write changes rows of the copy. A per-replica value is refused. The messages "
            "contain rows only."
        ),
        rows_brief="the copy",
    ),
    "addtocopy": CellText(
        brief="the copy gets the whole value (SUM) or its N-th part (MEAN); at most s writes ahead",
        narrow="added to the copy",
        write=(
            "The write goes to the copy in order of arrival: SUM adds the whole value, MEAN adds "
            "it divided by the number of replicas. A replica that would be more than s writes "
            "ahead of the slowest running replica waits. One message comes from each replica. A "
            "replica that waits also gets the copy, in one message; so does a replica that has "
            "made s writes since it last heard from the copy."
        ),
    ),
    "fromfreshcache": CellText(
        brief="the copy; up to s writes of each other replica may be missing",
        read=(
            "The read returns this replica's cache of the copy. It has all own writes, and of "
            "every other running replica the first c - s writes, where c is the number of own "
            "writes. No message is sent, except for the first read in a call, and for the first "
            "read after an operation that waits for other replicas or for the program: a request "
            "and the copy."
        ),
    ),
    "atcopy": CellText(
        brief="the copy; a PerReplica: the value of replica 0 (warned)",
        write=(
            "The operation changes the copy. If the value is a per-replica value, the value of "
            "replica 0 is used, and a warning is shown. No message is sent: replicas get the copy "
            "when they read."
        ),
    ),
    "refuse": CellText(
        brief="refused",
        write="The write is refused and nothing changes. The error below says what to do.",
        read="The read is refused and nothing changes. The error below says what to do.",
    ),
}
"""Key of a cell of varsim → its texts."""


def undescribed(name: str) -> CellText:
    """Return texts about a cell that has no texts of its own.

    Args:
        name: The class of the cell.
    """
    says = (
        f"The policy's own cell {name} defines what this operation does and which messages it "
        "sends. The cell has no text about this."
    )
    return CellText(
        brief=f"as the policy's cell {name} says",
        narrow=name,
        write=says,
        read=says,
        waits=f"its policy's cell {name} lets the replicas exchange values at some writes",
    )
