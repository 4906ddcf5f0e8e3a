"""Structures of Python values on their way between processes."""

from __future__ import annotations

from typing import Any, Protocol

Name = tuple[Any, ...]
"""What an object that travels by name is called: plain msgpack values, the kind first."""


class References(Protocol):
    """Knows the objects that travel by name, not by value: variables and strategies."""

    def name_of(self, value: object) -> Name | None:
        """The name of an object that travels by name; None if it travels by value."""

    def find(self, name: Name) -> object:
        """The object of that name in this process."""
