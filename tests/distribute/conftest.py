"""Fixtures: the simulated cluster, and a strategy of two replicas on it."""

from __future__ import annotations

import warnings

import pytest

import varsim as tf
from varsim.testing import simulated_cluster


@pytest.fixture
def simulated():
    """Run the replicas of the test's strategies in this process, and provide the cluster."""
    with simulated_cluster() as cluster:
        yield cluster


@pytest.fixture
def quiet(simulated):
    """Ignore the warnings of the test's strategies; their replicas run in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        yield


@pytest.fixture
def strategy(simulated):
    """Provide a strategy of two replicas."""
    return tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
