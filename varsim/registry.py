"""Find the implementations of a seam by name, in varsim and in other installed packages."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from varsim.errors import ConfigError
from varsim.nearest import did_you_mean
from varsim.value_class import value_class

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

_MOST_LISTINGS: Final = 16
"""Largest number of listings of entry points in memory: a few groups, of a few search paths."""


@value_class
class BuiltIn:
    """The location and the summary of one of varsim's own implementations."""

    path: str  # "module:class"; the class is called without arguments
    summary: str  # a few words, for help and documents


class Registry(Generic[T]):
    """The implementations of one seam. A module is imported when its implementation is used.

    Args:
        setting: The argument, YAML key and command-line option that names an implementation.
        built_in: The implementations of varsim, the default one first.
        group: The entry-point group in which other packages register implementations; "" if other
            packages cannot do so.
        also: Additional names with their summaries. Each of these names selects an implementation.
    """

    def __init__(
        self,
        setting: str,
        built_in: Mapping[str, BuiltIn],
        group: str = "",
        also: Mapping[str, str] | None = None,
    ) -> None:
        self.setting = setting
        self.built_in = dict(built_in)
        self.group = group
        self._also = dict(also or {})

    def names(self) -> tuple[str, ...]:
        """Return all names that are possible in this installation."""
        return tuple(dict.fromkeys([*self._also, *self.built_in, *self._foreign()]))

    def summary(self) -> str:
        """Return the names with their summaries, as a text for help and documents."""
        summaries = self._also | {name: one.summary for name, one in self.built_in.items()}
        return " ".join(f"{name}: {summary}." for name, summary in summaries.items())

    def check(self, name: object) -> None:
        """Check that the setting can have this value.

        Raises:
            ConfigError: The setting cannot have this value; the text names the possible values.
        """
        if not isinstance(name, str) or not (
            name in self._also or name in self.built_in or name in self._foreign()
        ):
            *others, last = map(repr, self.names() or ("nothing",))
            expected = f"{', '.join(others)} or {last}" if others else last
            near = did_you_mean(name, self.names()) if isinstance(name, str) else ""
            raise ConfigError(f"invalid {self.setting} {name!r}: expected {expected}{near}")

    def make(self, name: str) -> T:
        """Return a new object of the implementation with this name.

        Raises:
            ConfigError: The implementation does not exist, or its module cannot be imported.
        """
        made: T = self.load(name)()
        return made

    def load(self, name: str) -> Any:
        """Return the class of the implementation with this name.

        Raises:
            ConfigError: The implementation does not exist, or its module cannot be imported.
        """
        self.check(name)
        try:
            if name in self.built_in:
                module, _, attribute = self.built_in[name].path.partition(":")
                return getattr(import_module(module), attribute)
            return self._foreign()[name].load()
        except (ImportError, AttributeError) as error:
            raise ConfigError(f"{self.setting} {name!r} cannot be imported: {error}") from error

    def package_of(self, name: str) -> str:
        """Return the installed package of an implementation, with its version, as a text.

        Return "" for varsim's own implementations.
        """
        entry = None if name in self.built_in else self._foreign().get(name)
        if entry is None or entry.dist is None:
            return ""
        return f"{entry.dist.name} {entry.dist.version}"

    def _foreign(self) -> dict[str, EntryPoint]:
        if not self.group:
            return {}
        return _entry_points(self.group, tuple(map(_changed, sys.path)))


def _changed(folder: str) -> tuple[str, int]:
    """Return a folder of the search path, and when a package was last added or removed there."""
    try:
        return folder, Path(folder).stat().st_mtime_ns
    except OSError:  # no such folder
        return folder, 0


@lru_cache(_MOST_LISTINGS)
def _entry_points(group: str, installation: tuple[tuple[str, int], ...]) -> dict[str, EntryPoint]:  # noqa: ARG001
    """Return the entry points of a group. Reading those of all packages takes milliseconds.

    Args:
        group: The entry-point group.
        installation: The search path with its times: another installation is read again.
    """
    from importlib.metadata import entry_points  # imported here, because this takes long

    return {one.name: one for one in entry_points(group=group)}
