"""Tools for tests of programs that use varsim: clusters without processes, and replayed runs."""

from __future__ import annotations

from varsim.testing.replay import RecordedEvents, ReplayDiffers, read_logs, recorded_events, replay
from varsim.testing.simulation import SimulatedCluster, simulated_cluster

__all__ = [
    "RecordedEvents",
    "ReplayDiffers",
    "SimulatedCluster",
    "read_logs",
    "recorded_events",
    "replay",
    "simulated_cluster",
]
