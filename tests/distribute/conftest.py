"""A strategy of two replicas on the simulated cluster, for every test that asks for one."""

from __future__ import annotations

import pytest

import varsim as tf
from varsim.testing import simulated_cluster


@pytest.fixture
def simulated():
    """New strategies of the test run their replicas in this process."""
    with simulated_cluster() as cluster:
        yield cluster


@pytest.fixture
def strategy(simulated):
    """Two replicas."""
    return tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
