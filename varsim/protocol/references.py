"""Name the objects that are sent as names, not by value: variables and strategies."""

from __future__ import annotations

from typing import Any, Protocol

Name = tuple[Any, ...]
"""The name of an object, in values that msgpack can encode. The first is the kind of object."""


class References(Protocol):
    """Maps objects of this process to their names in messages, and names to objects."""

    def name_of(self, value: object) -> Name | None:
        """Return the name of an object; None if the object is sent by value."""

    def find(self, name: Name) -> object:
        """Return the object of this process that has this name."""
