"""Report the progress of a long pass over records or events, as a fraction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Final, TypeVar

Tell = Callable[[float], None]
"""A function that gets the finished fraction, from 0 to 1. If it raises an error, the pass ends."""

EVERY: Final = 10_000
"""Number of records or events between two calls of `Tell`; a pass over this number takes 0.1 s."""

Item = TypeVar("Item")


def reported(items: Iterable[Item], count: int, tell: Tell | None) -> Iterator[Iterator[Item]]:
    """Yield the items in batches, and report the finished fraction of about `count` items.

    The caller must consume each batch before it requests the next batch.
    """
    source, passed = iter(items), 0
    for first in source:
        if tell is not None:
            tell(min(passed / max(count, 1), 1.0))
        yield chain((first,), islice(source, EVERY - 1))
        passed += EVERY
    if tell is not None:
        tell(1.0)
