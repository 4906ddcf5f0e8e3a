"""Name the values of nested keys, such as `params.learning_rate`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from varsim.report.summary import Plain


def leaves(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Plain]]:
    """Yield each value that is no mapping, with its keys joined by dots."""
    for key, value in mapping.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
