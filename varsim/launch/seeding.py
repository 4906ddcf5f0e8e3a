"""Seed the global generators of `random` and `numpy.random`, with a stream for each process.

NumPy's `SeedSequence` derives one stream for the program and one for each replica from a seed. The
streams differ from each other. Two runs with the same seed have the same streams.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

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


def states_here() -> np.ndarray:
    """Return the states of both generators of this process, as the bytes of a JSON text."""
    numpy_state: Any = np.random.get_state(legacy=False)  # noqa: NPY002
    words = {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}
    states = {"python": random.getstate(), "numpy": {**numpy_state, "state": words}}
    return np.frombuffer(json.dumps(states).encode(), np.uint8)


def set_states(saved: np.ndarray | None) -> None:
    """Set both generators of this process to the states of `states_here`; None changes nothing.

    Raises:
        ValueError: These are not states of generators.
    """
    if saved is None:
        return
    try:
        states = json.loads(saved.tobytes())
        version, words, gauss = states["python"]
        numpy_state = states["numpy"]
        numpy_state["state"]["key"] = np.array(numpy_state["state"]["key"], np.uint32)
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(numpy_state)  # noqa: NPY002
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise ValueError(f"these are not states of random generators: {error}") from error


AT_IMPORT: Final = (0, 0)
"""The stream of a program's module while the module is loaded. The program's stream is `()`."""


def seed_generators(seed: int, *stream: int) -> None:
    """Seed both generators of this process.

    Args:
        stream: The stream of a replica (see `stream_of`); empty for the program's stream.
    """
    words = np.random.SeedSequence(seed, spawn_key=stream).generate_state(4)
    np.random.seed(words)  # noqa: NPY002
    random.seed(words.tobytes())


def stream_of(replica_id: int, incarnation: int) -> tuple[int, ...]:
    """Return the stream of a replica. Later incarnations must not draw the same numbers again."""
    return (replica_id,) if incarnation == 1 else (replica_id, incarnation)


def seeded(seed: int, *stream: int) -> GeneratorState:
    """Return the state that `seed_generators` would set, without changing the generators."""
    outside = GeneratorState()
    try:
        seed_generators(seed, *stream)
        return GeneratorState()
    finally:
        outside.restore()
