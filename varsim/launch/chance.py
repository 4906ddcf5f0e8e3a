"""The generators that a program has without making one: those of `random` and `numpy.random`.

Of one seed the program and every replica get a stream of their own, by NumPy's way of spawning
streams, so that no two of them draw the same numbers and two runs draw the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np


class Chance:
    """The state of both generators, now or as a seed makes it."""

    def __init__(self) -> None:
        self.take()

    def take(self) -> None:
        """This is what both generators are at now."""
        self._python = random.getstate()
        self._numpy = np.random.get_state()  # noqa: NPY002  # which programs still use

    @contextmanager
    def here(self) -> Iterator[None]:
        """Within the block this is the state, and it goes on; after it, all is as it was before."""
        outside = Chance()
        self.restore()
        try:
            yield
        finally:
            self.take()
            outside.restore()

    def restore(self) -> None:
        """Both generators go on from here."""
        random.setstate(self._python)
        np.random.set_state(self._numpy)  # noqa: NPY002


AT_IMPORT: Final = (0, 0)
"""The stream of a program's module while it is loaded; the program's own is `()`."""


def seed_generators(seed: int, *stream: int) -> None:
    """Seeds both generators of this process.

    Args:
        stream: A replica's id, for its own; nothing, for the program's.
    """
    words = np.random.SeedSequence(seed, spawn_key=stream).generate_state(4)
    np.random.seed(words)  # noqa: NPY002
    random.seed(words.tobytes())


def seeded(seed: int, *stream: int) -> Chance:
    """The state that `seed_generators` leads to; nothing has changed."""
    outside = Chance()
    try:
        seed_generators(seed, *stream)
        return Chance()
    finally:
        outside.restore()
