"""Choose the columns of a table that stand for replicas, if there is no room for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from varsim.report.formatting import columns, names
from varsim.report.tables import GAP


class ReplicaColumns(NamedTuple):
    """The columns of a table that stand for replicas."""

    replicas: list[int | None]  # in order; None stands for replicas that are not shown
    headings: list[str]

    @property
    def is_whole(self) -> bool:
        """Return whether all replicas are shown."""
        return bool(self.replicas) and None not in self.replicas

    @property
    def is_long(self) -> bool:
        """Return whether all replicas are shown, with the headings `replica N`."""
        return self.is_whole and self.headings[0] != str(self.replicas[0])

    def cells(self, row: Sequence[str]) -> list[str]:
        """Select the shown cells of a row with one cell per replica."""
        return ["" if one is None else row[one] for one in self.replicas]

    def sentence(self, num_replicas: int) -> str:
        """Return a text on the replicas that are shown; "" if all replicas are shown."""
        shown = [str(one) for one in self.replicas if one is not None]
        if len(shown) == num_replicas:
            return ""
        if not shown:
            return f"The {num_replicas} replicas are not shown: there is no room."
        listed, several = names(shown, most=len(shown)), "s" * (len(shown) > 1)
        return f"Shown: replica{several} {listed} of {num_replicas}; there is no room for more."


def replica_columns(rows: Sequence[Sequence[str]], room: int) -> ReplicaColumns:
    """Return columns for all replicas if they fit, else for the first and the last replicas.

    Args:
        rows: Rows with one cell per replica.
        room: Console columns for these cells, including GAP columns before each.
    """
    count = len(rows[0])
    widest = [max(1, len(str(i)), *(columns(row[i]) for row in rows)) for i in range(count)]
    everyone: list[int | None] = list(range(count))
    if sum(widest) + GAP * count <= room:
        long = [f"replica {i}" for i in range(count)]
        wide = [max(len(long[i]), widest[i]) for i in range(count)]
        fits = sum(wide) + GAP * count <= room
        return ReplicaColumns(everyone, long if fits else [str(i) for i in range(count)])
    some = next((one for one in _fewer(count) if _width(one, widest) <= room), [])
    return ReplicaColumns(
        some, ["…" if one is None else _heading(one, some, widest, room) for one in some]
    )


def _fewer(count: int) -> Iterator[list[int | None]]:
    """Yield smaller and smaller selections of the first and the last replicas."""
    for shown in range(count - 1, 1, -1):
        first = (shown + 1) // 2
        yield [*range(first), None, *range(count - (shown - first), count)]
    yield [0, None]


def _width(replicas: Sequence[int | None], widest: Sequence[int]) -> int:
    return sum(GAP + (1 if one is None else widest[one]) for one in replicas)


def _heading(replica: int, replicas: Sequence[int | None], widest: Sequence[int], room: int) -> str:
    long = [max(len(f"replica {i}"), width) for i, width in enumerate(widest)]
    return f"replica {replica}" if _width(replicas, long) <= room else str(replica)
