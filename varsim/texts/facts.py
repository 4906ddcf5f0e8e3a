"""Facts: structured values that errors carry, and that render themselves.

The engine decides and makes facts; only this package contains sentences. A fact is a frozen
dataclass of plain values, so it can be compared, and sent to another process in an error.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # varsim.errors imports this module, and --help must not import NumPy
    from varsim.spec import Array

_SHOWN_ELEMENTS = 6
"""Number of elements shown: enough to distinguish two values, and few enough for one line."""


class Fact(ABC):
    """A fact as fields; `str` returns its sentence, or a part of a sentence."""

    __slots__ = ()

    @abstractmethod
    def __str__(self) -> str: ...


def shown(value: Array) -> str:
    """Return a value as part of a line: all of a small one, or its dtype and shape."""
    if value.size > _SHOWN_ELEMENTS:
        return f"{value.dtype}{shape_text(value.shape)}"
    return _elements(value)


def _elements(value: Array) -> str:
    """Return all elements, each with the digits that its dtype has."""
    if value.ndim == 0:
        return str(value[()])
    return f"[{', '.join(map(_elements, value))}]"


def shape_text(shape: Iterable[int | None]) -> str:
    """Return a shape as people write it: [3, ?]."""
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"


def name_replicas(replica_ids: Sequence[int]) -> str:
    """Return "replica 0", or "replicas 1–4, 6": three or more in a row are a range."""
    runs: list[list[int]] = []
    for replica_id in sorted(replica_ids):
        if runs and runs[-1][-1] == replica_id - 1:
            runs[-1].append(replica_id)
        else:
            runs.append([replica_id])
    parts = [f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"replica{'' if len(replica_ids) == 1 else 's'} {', '.join(parts)}"
