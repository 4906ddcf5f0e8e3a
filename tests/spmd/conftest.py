"""Run functions on three simulated ranks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import varsim as tf
from varsim.testing import simulated_cluster

Ranks = Callable[..., list[Any]]


@pytest.fixture
def ranks() -> Iterator[Ranks]:
    """Provide a function that calls a function on three ranks, and returns all results."""
    with simulated_cluster(), tf.distribute.MirroredStrategy(["a/x", "a/y", "b/x"]) as strategy:

        def on_all(function: Callable[..., Any], *args: Any) -> list[Any]:
            results: dict[int, Any] = {}  # the ranks run in this process

            def call() -> None:
                rank = tf.distribute.get_replica_context().replica_id_in_sync_group
                results[rank] = function(*args)

            strategy.run(call)
            return [results[rank] for rank in range(3)]

        yield on_all
