"""Keep track of the functions that the workers store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from varsim.protocol.messages import Define, Forget, Payload

MAX_FUNCTIONS: Final = 256
"""Largest number of functions that a worker stores. The least recently used one is dropped."""


class Functions:
    """The functions that all workers store, the least recently used first."""

    def __init__(self) -> None:
        self._known: dict[str, None] = {}

    def use(self, function_id: str, function: Payload) -> Iterator[Define | Forget]:
        """Return the messages that workers need before a call of a function."""
        if function_id not in self._known:
            yield Define(function_id=function_id, function=function)
        self._known.pop(function_id, None)
        self._known[function_id] = None
        if len(self._known) > MAX_FUNCTIONS:
            oldest = next(iter(self._known))
            del self._known[oldest]
            yield Forget(function_ids=(oldest,))
