"""Name the objects that are sent as names, not by value: variables and strategies."""

from __future__ import annotations

from typing import Any, Protocol

Name = tuple[Any, ...]
"""The name of an object: plain msgpack values. The first value is the kind of object."""


class References(Protocol):
    """Maps objects that are sent as names to these names, and names to objects of this process."""

    def name_of(self, value: object) -> Name | None:
        """Return the name of an object; None if the object is sent by value."""

    def find(self, name: Name) -> object:
        """Return the object with that name in this process."""
