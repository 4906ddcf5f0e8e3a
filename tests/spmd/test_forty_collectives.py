"""The face of torch.distributed has the values of real torch.distributed."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

import varsim as tf
import varsim.torch_distributed as dist
from tests.spmd.forty_collectives import SIZE, run
from tests.spmd.on_torch import RECORDED
from varsim.testing import simulated_cluster


def values() -> dict[str, Any]:
    """Do the 40 collectives on one rank."""
    dist.init_process_group("gloo", world_size=SIZE)
    found = run(dist, np.array, np.ndarray.tolist)
    dist.destroy_process_group()
    return found


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_the_values_are_those_of_torch(seed: int | None) -> None:
    """Torch 2.13 with gloo has computed the recorded values: `python -m tests.spmd.on_torch`."""
    expected = json.loads(RECORDED.read_text("utf-8"))
    with simulated_cluster(seed), tf.distribute.MirroredStrategy(["a", "b", "c", "d"]) as strategy:
        found = strategy.experimental_local_results(strategy.run(lambda: json.dumps(values())))

    assert SIZE == len(expected) == len(found)
    assert 40 <= len(expected[0])
    for mine, theirs in zip(found, expected, strict=True):
        assert theirs == json.loads(mine)
