"""Compressors and error feedback in plain Python, element by element."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

NAMES = ("fp16", "top_k:0.01", "top_k:0.3", "top_k:0.5", "one_bit")
"""Compressors for random tests."""

Number = np.float32 | np.float64


def restored(name: str, values: Sequence[Number]) -> list[Number]:
    """Return what the receiver of compressed values has."""
    if not values:
        return []
    kind = type(values[0])
    if name == "fp16":
        return [kind(_half(float(value))) for value in values]
    if name == "one_bit":
        means = {}
        for sign in (True, False):
            alike = [float(value) for value in values if (value > 0) is np.bool_(sign)]
            means[sign] = kind(math.fsum(alike) / len(alike)) if alike else kind(0)
        return [means[bool(value > 0)] for value in values]
    count = math.ceil(Fraction(name.partition(":")[2]) * len(values))
    order = sorted(range(len(values)), key=lambda i: (-abs(values[i]), i))
    chosen = set(order[:count])
    return [value if i in chosen else kind(0) for i, value in enumerate(values)]


def _half(value: float) -> float:
    """Return a finite number with 16 bits, at most 65504."""
    limited = max(-65504.0, min(65504.0, value))
    (half,) = struct.unpack("<e", struct.pack("<e", limited))
    return float(half)


@dataclass
class Sender:
    """The residual of one replica."""

    name: str
    size: int
    residual: list[Number] = field(default_factory=list)

    def send(self, change: Sequence[Number], *, subtracts: bool = False) -> list[Number]:
        """Return what the receiver has of a change; keep what it lacks."""
        before = self.residual or [np.float32(0)] * self.size
        signed = [-one for one in before] if subtracts else before
        total = [one + other for one, other in zip(change, signed, strict=True)]
        sent = restored(self.name, total)
        lacking = [one - other for one, other in zip(total, sent, strict=True)]
        self.residual = [-one for one in lacking] if subtracts else lacking
        return sent

    def end(self) -> None:
        """Drop the residual."""
        self.residual = []


def aggregate(values: Sequence[Sequence[Number]], *, mean: bool) -> list[Number]:
    """Return the sum of the replicas' values in replica order, or their mean."""
    found = []
    for elements in zip(*values, strict=True):
        total = elements[0]
        for other in elements[1:]:
            total = total + other
        found.append(total / np.float32(len(elements)) if mean else total)
    return found
