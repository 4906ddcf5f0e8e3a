"""Columns of a table for replicas: as many as fit the console."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from varsim.report.tables import GAP
from varsim.report.words import names


class Columns(NamedTuple):
    """The columns of a table that stand for replicas."""

    replicas: list[int | None]  # in order; None stands for those between
    headings: list[str]

    @property
    def is_whole(self) -> bool:
        """Whether all replicas are shown."""
        return bool(self.replicas) and None not in self.replicas

    @property
    def is_long(self) -> bool:
        """Whether, further, headings say that they are replicas."""
        return self.is_whole and self.headings[0] != str(self.replicas[0])

    def cells(self, row: Sequence[str]) -> list[str]:
        """Those of a row that has one for every replica."""
        return ["" if one is None else row[one] for one in self.replicas]

    def sentence(self, num_replicas: int) -> str:
        """Which replicas are shown; "" if all are."""
        shown = [str(one) for one in self.replicas if one is not None]
        if len(shown) == num_replicas:
            return ""
        if not shown:
            return f"Shown: none of {num_replicas} replicas, as there is no room."
        listed, several = names(shown, most=len(shown)), "s" * (len(shown) > 1)
        return f"Shown: replica{several} {listed} of {num_replicas}, as there is no room for more."


def replica_columns(rows: Sequence[Sequence[str]], room: int) -> Columns:
    """All replicas if they fit, else the first and the last of them.

    Args:
        rows: A cell for every replica.
        room: For these cells, each with GAP columns before it.
    """
    count = len(rows[0])
    widest = [max(1, len(str(i)), *(len(row[i]) for row in rows)) for i in range(count)]
    everyone: list[int | None] = list(range(count))
    if sum(widest) + GAP * count <= room:
        long = [f"replica {i}" for i in range(count)]
        wide = [max(len(long[i]), widest[i]) for i in range(count)]
        fits = sum(wide) + GAP * count <= room
        return Columns(everyone, long if fits else [str(i) for i in range(count)])
    some = next((one for one in _fewer(count) if _width(one, widest) <= room), [])
    return Columns(
        some, ["…" if one is None else _heading(one, some, widest, room) for one in some]
    )


def _fewer(count: int) -> Iterator[list[int | None]]:
    """The first and the last replicas, ever fewer."""
    for shown in range(count - 1, 1, -1):
        first = (shown + 1) // 2
        yield [*range(first), None, *range(count - (shown - first), count)]
    yield [0, None]


def _width(replicas: Sequence[int | None], widest: Sequence[int]) -> int:
    return sum(GAP + (1 if one is None else widest[one]) for one in replicas)


def _heading(replica: int, replicas: Sequence[int | None], widest: Sequence[int], room: int) -> str:
    long = [max(len(f"replica {i}"), width) for i, width in enumerate(widest)]
    return f"replica {replica}" if _width(replicas, long) <= room else str(replica)
