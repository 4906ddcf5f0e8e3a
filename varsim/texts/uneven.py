"""Texts about batches that leave replicas without rows, and the settings for such batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

from varsim.texts.facts import name_replicas

Uneven = Literal["empty", "fail", "drop", "pad", "join"]
"""What a distributed dataset does at a batch that leaves a replica without rows."""

UNEVEN: Final[tuple[str, ...]] = get_args(Uneven)
"""The possible values of the setting `uneven`. The first one is the default."""

JOIN: Final[Uneven] = "join"

_MEANINGS: Final[Mapping[str, str]] = {
    "empty": "the replica gets no rows, as in TensorFlow",
    "fail": "an error",
    "drop": "the pass ends before the batch",
    "pad": "the replica gets its rows of the previous batch again",
    "join": "the replica takes no part in a call with the batch",
}

MEANINGS: Final = "; ".join(f"{name}: {_MEANINGS[name]}" for name in UNEVEN)
"""All values with their meanings, for help texts."""

BY_ROWS: Final = (
    "weight by rows: merge the sum over the replica's rows (its mean times its number of rows) and "
    "its number of rows, both by SUM, and divide the first SUM by the second"
)
"""The remedy that is right for every number of rows, as a clause."""

_EFFECTS: Final[Mapping[str, str]] = {
    "empty": " The mean of no rows is NaN, and an aggregation by SUM or MEAN passes the NaN on to "
    "all replicas.",
    "drop": " The pass ends before this batch (uneven: drop), so its rows are not used.",
    "pad": " The rows of the previous batch are used again on {who} (uneven: pad), so they count "
    "twice.",
    "join": " Only {others} {take} part in a call with this batch (uneven: join), so a MEAN "
    "divides by {count}.",
}


def warning_of(what: str, rows: Sequence[int], uneven: str = UNEVEN[0]) -> str:
    """Return the text of the warning that some or all replicas get no rows.

    Args:
        what: The name of the batch with these rows, such as "batch 3".
        rows: The number of rows of each replica.
        uneven: The setting: any value of `UNEVEN` except "fail".
    """
    others = [replica_id for replica_id, count in enumerate(rows) if count]
    effect = _EFFECTS[uneven].format(
        who=name_replicas(_empty_in(rows)),
        others=name_replicas(others),
        take="takes" if len(others) == 1 else "take",
        count=len(others),
    )
    return f"{_without_rows(what, rows)}{effect}{_remedy(rows)}"


def refusal_of(what: str, rows: Sequence[int]) -> str:
    """Return the text of the error about a batch that leaves replicas without rows."""
    return f"{_without_rows(what, rows)} The strategy refuses this (uneven: fail).{_remedy(rows)}"


def nothing_to_repeat(what: str, rows: Sequence[int]) -> str:
    """Return the text of the error about a first batch that cannot be padded."""
    return (
        f"{_without_rows(what, rows)} There is no previous batch to repeat (uneven: pad)."
        f"{_remedy(rows)}"
    )


def cannot_join(what: str, rows: Sequence[int]) -> str:
    """Return the text of the error about a batch without rows on the first replicas."""
    why = "the replicas without rows must be the last ones" if any(rows) else "no replica has rows"
    return (
        f"{_without_rows(what, rows)} The strategy cannot use this batch (uneven: join): {why}."
        "\n  Leave empty batches out of the dataset."
    )


def different_replicas(names: Mapping[int, str]) -> str:
    """Return the text of the error about values of one call with different present replicas.

    Args:
        names: A mapping: number of present replicas → the name of a value.
    """
    values = ", and ".join(
        f"{name} has rows for {name_replicas(range(count))}" for count, name in names.items()
    )
    return (
        f"{values}: the values of one call must have rows for the same replicas (uneven: join).\n  "
        "Distribute one dataset with batches of both values, such as (x, y)."
    )


def _empty_in(rows: Sequence[int]) -> list[int]:
    return [replica_id for replica_id, count in enumerate(rows) if not count]


def _without_rows(what: str, rows: Sequence[int]) -> str:
    total, count = sum(rows), len(rows)
    who = f"{name_replicas(_empty_in(rows))} get{'s' if rows.count(0) == 1 else ''} none"
    return f"{what} has {total} row{_s(total)} for {count} replica{_s(count)}: {who}."


def _remedy(rows: Sequence[int]) -> str:
    return (
        f"\n  Drop the remainder, and use a batch size that is a multiple of {len(rows)}; or "
        f"{BY_ROWS}."
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"
