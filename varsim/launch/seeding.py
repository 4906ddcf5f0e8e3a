"""Seed the global generators of `random` and `numpy.random`, with a stream for each process.

NumPy's `SeedSequence` derives one stream for the program and one for each replica from a seed. The
streams differ from each other. Two runs with the same seed have the same streams.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np


class GeneratorState:
    """The state of both generators."""

    def __init__(self) -> None:
        self.take()

    def take(self) -> None:
        """Copy the current state of both generators."""
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002  # programs still use it

    @contextmanager
    def here(self) -> Iterator[None]:
        """Use and update this state in the `with` block; restore the old state afterwards."""
        outside = GeneratorState()
        self.restore()
        try:
            yield
        finally:
            self.take()
            outside.restore()

    def restore(self) -> None:
        """Set both generators to this state."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002


AT_IMPORT: Final = (0, 0)
"""The stream of a program's module while the module is loaded. The program's stream is `()`."""


def seed_generators(seed: int, *stream: int) -> None:
    """Seed both generators of this process.

    Args:
        stream: The id of a replica, for its stream; empty for the program's stream.
    """
    words = np.random.SeedSequence(seed, spawn_key=stream).generate_state(4)
    np.random.seed(words)  # noqa: NPY002
    random.seed(words.tobytes())


def seeded(seed: int, *stream: int) -> GeneratorState:
    """Return the state that `seed_generators` would set, without changing the generators."""
    outside = GeneratorState()
    try:
        seed_generators(seed, *stream)
        return GeneratorState()
    finally:
        outside.restore()
