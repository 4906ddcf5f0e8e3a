"""Find replicas that get no rows of a batch, and warn of them."""

from __future__ import annotations

from typing import Any, Final

from varsim.distribute.values import PerReplica, leaves_of
from varsim.texts.facts import name_replicas

UNEVEN: Final = ("empty", "fail", "drop", "pad")
"""What happens at a batch that leaves a replica without rows.

empty: the replica gets no rows, as in TensorFlow. fail: an error. drop: the pass ends before the
batch. pad: the replica gets its rows of the previous batch again.
"""

Rows = tuple[int, ...]
"""The number of rows of each replica."""


def rows_of_batch(parts: Any) -> Rows:
    """Return the number of rows of each replica, and set `is_of_batch` of the values in `parts`."""
    leaves = [leaf for leaf in leaves_of(parts) if isinstance(leaf, PerReplica)]
    for leaf in leaves:
        leaf.is_of_batch = True
    return (_rows_of(leaves[0]) or ()) if leaves else ()


def _rows_of(value: PerReplica) -> Rows | None:
    """Return the first dimension of each component; None if a component is a scalar."""
    shapes = [getattr(one, "shape", None) for one in value.values]
    return tuple(shape[0] for shape in shapes if shape) if all(shapes) else None


def uneven_rows(structure: Any) -> tuple[Rows, bool] | None:
    """Find a value that has rows on some replicas and no rows on others.

    Returns:
        The numbers of rows of the first such value, and whether the program has already been
        warned; None if there is no such value.
    """
    for leaf in leaves_of(structure):
        if isinstance(leaf, PerReplica):
            rows = _rows_of(leaf)
            if rows and 0 in rows and any(rows):
                return rows, leaf.is_of_batch
    return None


def empty_in(rows: Rows) -> list[int]:
    """Return the replicas that have no rows."""
    return [replica_id for replica_id, count in enumerate(rows) if not count]


def warning_of(what: str, rows: Rows, uneven: str = UNEVEN[0]) -> str:
    """Return the text of the warning that some or all replicas get no rows.

    Args:
        what: The name of the batch with these rows, such as "batch 3".
        uneven: What happens: "empty", "drop" or "pad".
    """
    effect = _EFFECTS[uneven].format(who=name_replicas(empty_in(rows)))
    return f"{_without_rows(what, rows)}{effect}{_remedy(rows)}"


_EFFECTS: Final = {
    "empty": " The mean of no rows is NaN, and an aggregation by SUM or MEAN passes the NaN on to "
    "all replicas.",
    "drop": " The pass ends before this batch (uneven: drop), so its rows are not used.",
    "pad": " The rows of the batch before are used again on {who} (uneven: pad), so they count "
    "twice.",
}


def refusal_of(what: str, rows: Rows) -> str:
    """Return the text of the error about a batch that leaves replicas without rows."""
    return f"{_without_rows(what, rows)} The strategy refuses this (uneven: fail).{_remedy(rows)}"


def nothing_to_repeat(what: str, rows: Rows) -> str:
    """Return the text of the error about a first batch that cannot be padded."""
    return (
        f"{_without_rows(what, rows)} There is no batch before it to repeat (uneven: pad)."
        f"{_remedy(rows)}"
    )


def _without_rows(what: str, rows: Rows) -> str:
    total, count = sum(rows), len(rows)
    who = f"{name_replicas(empty_in(rows))} get{'s' if rows.count(0) == 1 else ''} none"
    return f"{what} has {total} row{_s(total)} for {count} replica{_s(count)}: {who}."


def _remedy(rows: Rows) -> str:
    return (
        f"\n  Drop the remainder, and use a batch size that is a multiple of {len(rows)}; or "
        "weight by rows: sum over the rows on each replica, and divide by the number of all rows."
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"
