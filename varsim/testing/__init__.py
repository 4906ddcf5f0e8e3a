"""For tests of programs that use varsim: clusters without processes."""

from __future__ import annotations

from varsim.testing.simulation import SimulatedCluster, simulated_cluster

__all__ = ["SimulatedCluster", "simulated_cluster"]
