"""Name the values of nested keys, such as `params.learning_rate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from varsim.report.summary import Plain

_IN_FORCE: Final[dict[str, Plain]] = {"mode": "auto"}
"""Keys that an experiment leaves out unless they are set → the value that is in force then."""


def in_force(experiment: Mapping[str, Any]) -> dict[str, Plain]:
    """Return the settings of a run by their names, also those that its experiment leaves out."""
    found = dict(leaves(experiment))
    return found | {key: value for key, value in _IN_FORCE.items() if found and key not in found}


def leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    """Yield each value that is no mapping, with its keys joined by dots."""
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
