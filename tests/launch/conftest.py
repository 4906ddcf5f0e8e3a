"""Fixtures: clusters of real worker processes that run the programs of `programs.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.launch.programs import NoObjects
from tests.waiting import MS
from varsim.launch.launcher import Backends, LaunchOptions
from varsim.launch.link import Link, Lost
from varsim.launch.local_host import LocalHost
from varsim.launch.process import ProcessLauncher
from varsim.launch.process_channel import ProcessChannel
from varsim.protocol.messages import Abort, HostCall

WAIT_S = 5_000 * MS
"""The time in seconds in which a worker process must answer."""


class WorkerCluster:
    """The link of a launcher, with methods to send code to the workers and to get answers."""

    def __init__(self, link: Link) -> None:
        assert isinstance(link.channel, ProcessChannel)
        assert isinstance(link.channel._hosts, LocalHost)
        self.channel = link.channel
        self.host = link.channel._hosts
        self.exchange = link.exchange
        self.codec = link.codec

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


Launch = Callable[..., WorkerCluster]


def private_folders(temporary: Path) -> set[Path]:
    """Return the private folders of all clusters, also of those that several tests share."""
    return set(temporary.glob("varsim-*"))


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Return a function that starts a cluster. The cluster is closed after the test."""
    with launching() as start:
        yield start


@pytest.fixture(scope="module")
def shared() -> Iterator[WorkerCluster]:
    """Provide two workers that tests of a file share, so a test must leave them usable."""
    with launching() as start:
        yield start()


@contextmanager
def launching() -> Iterator[Launch]:
    """Provide a function that starts a cluster; close its clusters at the end of the block."""
    with ExitStack() as stack:

        def start(num_replicas: int = 2, program: str = "serve", **options: Any) -> WorkerCluster:
            launcher = ProcessLauncher(entry_point=f"tests.launch.programs:{program}")
            devices = tuple(f"CPU:{number}" for number in range(num_replicas))
            names = {one: options.pop(one) for one in ("transport", "exchange") if one in options}
            given = LaunchOptions(7, devices, backends=Backends(**names), **options)
            link = launcher.launch(given, NoObjects())
            stack.enter_context(closing(link.channel))
            return WorkerCluster(link)

        yield start
