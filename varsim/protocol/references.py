"""Name the objects that travel by name, not by value: variables and strategies."""

from __future__ import annotations

from typing import Any, Protocol

Name = tuple[Any, ...]
"""The name of an object: plain msgpack values, the kind of object first."""


class References(Protocol):
    """Maps objects that travel by name to their names, and names to objects of this process."""

    def name_of(self, value: object) -> Name | None:
        """Return the name of an object; None if the object travels by value."""

    def find(self, name: Name) -> object:
        """Return the object with that name in this process."""
