"""Tools for tests: clusters without processes, assertions about replicas, and replayed runs."""

from __future__ import annotations

from varsim.testing.asserts import (
    assert_close_to_single_device,
    assert_replicas_equal,
    assert_valid,
)
from varsim.testing.replay import RecordedEvents, ReplayDiffers, read_logs, recorded_events, replay
from varsim.testing.simulation import SimulatedCluster, simulated_cluster

__all__ = [
    "RecordedEvents",
    "ReplayDiffers",
    "SimulatedCluster",
    "assert_close_to_single_device",
    "assert_replicas_equal",
    "assert_valid",
    "read_logs",
    "recorded_events",
    "replay",
    "simulated_cluster",
]
