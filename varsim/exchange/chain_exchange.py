"""Exchange "chain": hosts reduce large contributions among themselves, in replica order.

A worker puts its large contributions into the memory of its host, and sends a reference to the
coordinator. So the coordinator knows the shapes of all values, and has the bytes of none. For a
reduction it gives all hosts an order, and they compute the result in a chain (see `chain`). One
host sends the result to the coordinator, which sends the workers only references to the copies on
their hosts. All other values are sent through sockets, as by `star`.

If the hosts cannot compute a reduction, the coordinator fetches the contributions and computes it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from varsim.errors import StartError
from varsim.exchange.between_hosts import HostEnd, HostPlace
from varsim.exchange.chain_coordinator import ChainCoordinator
from varsim.exchange.chain_worker import ChainWorker
from varsim.exchange.exchange import Handover
from varsim.exchange.shared import join_memory
from varsim.transport.transport import Transport


class Chain:
    """An exchange for workers on several hosts, each with anonymous files (memfd)."""

    def problem(self, transport: Transport) -> str:  # noqa: ARG002 - other exchanges use it
        """Return what this exchange needs of a launcher of one machine."""
        return "workers on other hosts, such as those of the launcher ssh"

    def open(self, num_replicas: int) -> ChainCoordinator:
        """Refuse: there are no other hosts.

        Raises:
            StartError: Always.
        """
        raise StartError(f"{num_replicas} workers of one machine have no other hosts")

    def join(self, handover: Handover, replica_id: int, num_replicas: int) -> ChainWorker:
        """Map the memory of the host in a worker."""
        settings = json.loads(handover.settings)
        own = Handover(handover.descriptors, settings["memory"])
        return ChainWorker(join_memory(own, replica_id, num_replicas), settings["from_bytes"])

    def open_between(self, hosts: Sequence[range], round_trip_s: float) -> ChainCoordinator:
        """Return the coordinator's end."""
        return ChainCoordinator(hosts, round_trip_s)

    def join_host(self, place: HostPlace) -> HostEnd:
        """Return the end of a host.

        Raises:
            StartError: The host has no shared memory, or cannot listen.
        """
        from varsim.exchange.chain_host import ChainHostEnd  # only agents need it

        return ChainHostEnd(place)
