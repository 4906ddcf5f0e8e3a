"""Name the values of nested keys, such as `params.learning_rate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from varsim.experiments.key_locations import KeyPath
from varsim.report.summary import Plain

_IN_FORCE: Final[dict[str, Plain]] = {"mode": "auto"}
"""Keys that an experiment leaves out unless they are set → the value that is in force then."""

_NAMED: Final = ("launcher",)
"""Keys whose value is a name, or a mapping of one name to its settings."""


def in_force(experiment: Mapping[str, Any]) -> dict[str, Plain]:
    """Return the settings of a run by their names, also those that its experiment leaves out.

    A launcher with settings is the setting `launcher`, beside its own ones.
    """
    found: dict[str, Plain] = {}
    for key, value in experiment.items():
        if key in _NAMED and isinstance(value, Mapping) and len(value) == 1:
            ((found[key], settings),) = value.items()
            if not settings:
                continue
        found |= leaves({key: value})
    return found | {key: value for key, value in _IN_FORCE.items() if found and key not in found}


def leaves(mapping: Mapping[str, Any]) -> Iterator[tuple[str, Plain]]:
    """Yield each value that is no mapping, with its keys joined by dots."""
    for path, value in paths(mapping):
        yield ".".join(path), value


def paths(mapping: Mapping[str, Any], outer: KeyPath = ()) -> Iterator[tuple[KeyPath, Plain]]:
    """Yield each value that is no mapping, or an empty one, with its keys from the outermost."""
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from paths(value, (*outer, str(key)))
        else:
            yield (*outer, str(key)), value
