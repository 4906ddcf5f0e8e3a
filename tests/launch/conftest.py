"""Fixtures: clusters of real worker processes that run the programs of `programs.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.launch.programs import NoObjects
from tests.launch.worker_cluster import WorkerCluster
from varsim.launch.launcher import Backends, LaunchOptions
from varsim.launch.process import ProcessLauncher

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
