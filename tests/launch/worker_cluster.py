"""A cluster of workers that run the programs of `programs.py`."""

from __future__ import annotations

from typing import Any

from tests.waiting import MS
from varsim.launch.link import Link, Lost
from varsim.launch.local_host import LocalHost
from varsim.launch.process_channel import ProcessChannel
from varsim.protocol.messages import Abort, HostCall

WAIT_S = 5_000 * MS
"""The time in seconds in which a worker process must answer."""


class WorkerCluster:
    """The link of a launcher, with methods to send code to the workers and to get answers."""

    def __init__(self, link: Link) -> None:
        assert isinstance(link.channel, ProcessChannel)
        self.channel = link.channel
        self.exchange = link.exchange
        self.codec = link.codec
        self.traffic = link.traffic

    @property
    def host(self) -> LocalHost:
        """Return the host of all workers."""
        assert isinstance(self.channel._hosts, LocalHost)
        return self.channel._hosts

    def tell(self, replica_id: int, program: str) -> None:
        self.channel.send(replica_id, [Abort(call_id=0, reason=program)])

    def evaluate(self, replica_id: int, expression: str) -> Any:
        self.tell(replica_id, f"answer = {expression}")
        ((sender, message),) = self.channel.receive(WAIT_S)
        assert replica_id == sender
        assert isinstance(message, HostCall)
        return self.codec.unpack(message.request)

    def lost(self, count: int = 1) -> dict[int, Lost]:
        losses: dict[int, Lost] = {}
        while len(losses) < count:
            received = self.channel.receive(WAIT_S)
            assert received, f"only these were lost: {losses}"
            for replica_id, message in received:
                assert isinstance(message, Lost)
                losses[replica_id] = message
        return losses
