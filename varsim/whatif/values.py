"""The values that replace unrecorded ones in a replay, and the locations of its calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np

from varsim.extension_dtypes import is_extension, kind_of, named
from varsim.spec import Array, Rows

_MAX_LOCATIONS: Final = 10_000  # enough for all lines in which a program accesses variables
_MAX_DIGITS: Final = 9  # of a line number
_SEED: Final = 20_261_123  # seed of the values that replace unrecorded ones


class Filling:
    """Replacements for values that were not recorded."""

    def __init__(self, *, other: bool) -> None:
        self._other = other

    def __call__(
        self,
        number: int,
        dtype: str,
        shape: Sequence[int] | None,
        declared: Sequence[int | None],
    ) -> Array:
        """Return a value of this dtype and shape: zeros, or random values seeded by number."""
        sizes = [one or 0 for one in declared] if shape is None else list(shape)
        value = np.zeros(sizes, named(dtype))
        if self._other:
            chance = np.random.default_rng((_SEED, abs(number)))
            value[...] = True if dtype == "bool" else chance.integers(1, 100, sizes)
        return value

    def rows(self, number: int, dtype: str, shape: Sequence[int], num_rows: int | None) -> Rows:
        """Return rows of a sparse write.

        Args:
            shape: The shape of the values.
            num_rows: The number of rows of the variable; None if the number is unknown.
        """
        indices = np.arange(shape[0]) % max(num_rows or 1, 1)
        values = np.ones(shape, named(dtype))  # ones, because a write may divide
        if self._other:
            chance = np.random.default_rng((_SEED, abs(number)))
            indices = chance.integers(0, max(num_rows or 1, 1), shape[0])
            values[...] = True if dtype == "bool" else chance.integers(2, 100, shape)
        return Rows(indices.astype(np.int64), values)


def divided(value: Array, num_replicas: int) -> list[Array]:
    """Return the share of each replica. The first share of an integer also has the remainder."""
    if kind_of(value.dtype) not in "iu":
        return [np.asarray(value / num_replicas, value.dtype)] * num_replicas
    whole = value.astype(object)  # of any size: the number of replicas may not fit the dtype
    share = whole // num_replicas
    first = whole - share * (num_replicas - 1)
    return [np.asarray(one, value.dtype) for one in (first, *[share] * (num_replicas - 1))]


def whole_of(share: Array, num_replicas: int, *, splits: bool) -> Array:
    """Return the assigned value from the share that each replica received.

    Args:
        splits: Whether the value is split again. If true, the new shares must be equal to the
            recorded share bit for bit.
    """
    if share.dtype.kind in "iu":
        whole = np.asarray(share.astype(np.int64) * num_replicas)
        return whole if splits else whole.astype(share.dtype)
    if splits and kind_of(share.dtype) == "f" and share.dtype.itemsize < 8:
        return np.asarray(share.astype(np.float64) * num_replicas)  # exact in float64
    with np.errstate(all="ignore"):
        whole = np.asarray(share * share.dtype.type(num_replicas))
        if kind_of(share.dtype) != "f" or is_extension(share.dtype):
            return whole
        for near in (np.nextafter(whole, np.inf), np.nextafter(whole, -np.inf)):
            off = whole / share.dtype.type(num_replicas) != share
            whole = np.where(off & (near / share.dtype.type(num_replicas) == share), near, whole)
    return np.asarray(whole)


@lru_cache(maxsize=_MAX_LOCATIONS)
def at(location: str) -> Callable[..., Any]:
    """Return a function that calls another function as if the call were at file:line."""
    file, _, line = location.rpartition(":")
    source = "def call(target, *args, **kwargs): return target(*args, **kwargs)"
    scope: dict[str, Any] = {"__name__": "program"}
    exec(compile(source, file or "<program>", "exec"), scope)  # noqa: S102  # for file and line
    call: Callable[..., Any] = scope["call"]
    if line.isdecimal() and len(line) <= _MAX_DIGITS:
        call.__code__ = call.__code__.replace(co_firstlineno=int(line))
    return call
