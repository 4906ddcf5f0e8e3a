"""Keep the location of each value of an experiment, so that errors can name these locations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from varsim.errors import ConfigError

KeyPath = tuple[str, ...]
"""The keys, from the outermost, that lead to a value; an index of a list counts as a key."""


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
    """The location of each key: "file:line", or the argument on the command line."""

    by_keys: dict[KeyPath, str] = field(default_factory=dict)

    def of(self, keys: KeyPath) -> str:
        """Return the location of a value, or of the mapping that contains it; "" if not known."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.by_keys:
                return self.by_keys[keys[:length]]
        return ""

    def located(self, keys: KeyPath, problem: str) -> str:
        """Return the text of an error: location, key (unless the location names it), problem."""
        location, key = self.of(keys), ".".join(keys)
        if location.startswith(f"--{keys[0].removesuffix('s')} ") and len(keys) == 2:
            key = ""  # a repeated option, such as --fault, names one part of a list
        option = key.replace("_", "-")
        flags = f"--{option}", f"--no-{option}"
        named = not key or location in flags or location.startswith((f"--{option} ", f"{key}="))
        return ": ".join(filter(None, [location, "" if named else key, problem]))

    @contextmanager
    def located_errors(self) -> Iterator[None]:
        """Turn a WrongKey that the block raises into a ConfigError with the key's location."""
        try:
            yield
        except WrongKey as error:
            raise ConfigError(self.located(error.keys, error.problem)) from None


def expectation(message: str) -> str:
    """Return pydantic's message about an invalid value as a clause: "expected a valid integer".

    Args:
        message: The message of pydantic, such as "Input should be a valid integer".
    """
    for comparison in ("greater", "less"):
        message = message.replace(f"Input should be {comparison}", f"expected a value {comparison}")
    return message.replace("Input should be", "expected", 1)
