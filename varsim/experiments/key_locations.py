"""Where each value of an experiment was said, so that an error can point at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from varsim.errors import ConfigError

KeyPath = tuple[str, ...]
"""The keys, from the outermost, that lead to a value; positions in lists count as keys."""


class WrongKey(ConfigError):
    """A key of an experiment, or its value, is wrong.

    `KeyLocations.located_errors` adds the location.
    """

    def __init__(self, keys: KeyPath, problem: str) -> None:
        super().__init__(f"{'.'.join(keys)}: {problem}")
        self.keys = keys
        self.problem = problem


@dataclass(slots=True)
class KeyLocations:
    """The place of each key: "file:line", or a part of the command line as the user wrote it."""

    by_keys: dict[KeyPath, str] = field(default_factory=dict)

    def of(self, keys: KeyPath) -> str:
        """The place of a value, or of the mapping that it stands in; "" if nobody said it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.by_keys:
                return self.by_keys[keys[:length]]
        return ""

    def located(self, keys: KeyPath, problem: str) -> str:
        """The text of an error: the place, the key unless the place names it, the problem."""
        place, key = self.of(keys), ".".join(keys)
        flags = f"--{key}", f"--no-{key}"
        named = not key or place in flags or place.startswith((f"--{key} ", f"{key}="))
        return ": ".join(filter(None, [place, "" if named else key, problem]))

    @contextmanager
    def located_errors(self) -> Iterator[None]:
        """Within the block, a WrongKey becomes a ConfigError that says where the key stands."""
        try:
            yield
        except WrongKey as error:
            raise ConfigError(self.located(error.keys, error.problem)) from None
