"""How far a long pass over records or events has come: told now and then, as a fraction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, TypeVar

Tell = Callable[[float], None]
"""Is told the fraction that is done, from 0 to 1. What it raises ends the pass."""

EVERY: Final = 10_000
"""Records or events between two tellings: a tenth of a second, or less."""

Item = TypeVar("Item")


def telling(items: Iterable[Item], count: int, tell: Tell | None) -> Iterator[Item]:
    """The items, of which there are about so many; tells how many have passed."""
    source, passed = iter(items), 0
    while batch := list(islice(source, EVERY)):
        if tell is not None:
            tell(min(passed / max(count, 1), 1.0))
        yield from batch
        passed += len(batch)
    if tell is not None:
        tell(1.0)
