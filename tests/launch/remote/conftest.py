"""Fixtures: clusters on several "hosts", which are agents of this host.

The command `ssh` of these tests runs its last argument on this host, with fewer environment
variables, as a server does. So the tests start real agents with real keys, and need neither a
server nor a second host; tests/hosts has real hosts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.launch.programs import NoObjects
from tests.launch.worker_cluster import WorkerCluster
from varsim.launch.launcher import LaunchOptions
from varsim.launch.remote.host_launcher import HostLauncher
from varsim.launch.remote.settings import HostSettings
from varsim.launch.remote.ssh import SshLauncher

SSH = """\
#!/bin/sh
for command; do :; done
exec env -u OPENBLAS_CORETYPE sh -c "$command"
"""

LaunchOnHosts = Callable[..., WorkerCluster]


def start_with(
    launcher: HostLauncher, num_replicas: int, stack: ExitStack, **options: Any
) -> WorkerCluster:
    """Start a cluster by a launcher. The stack closes it."""
    launcher.entry_point = "tests.launch.programs:serve"
    devices = tuple(f"CPU:{number}" for number in range(num_replicas))
    link = launcher.launch(LaunchOptions(7, devices, **options), NoObjects())
    stack.enter_context(closing(link.channel))
    return WorkerCluster(link)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of commands, the first on the search path; it has the command ssh."""
    folder = tmp_path / "commands"
    folder.mkdir()
    (folder / "ssh").write_text(SSH)
    (folder / "ssh").chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def launch_on_hosts(commands: Path) -> Iterator[LaunchOnHosts]:
    """Return a function that starts a cluster on hosts. The cluster is closed after the test."""
    assert (commands / "ssh").exists()
    with ExitStack() as stack:

        def start(
            num_replicas: int, names: tuple[str, ...] = ("host0", "host1"), **options: Any
        ) -> WorkerCluster:
            launcher = SshLauncher(HostSettings(names, listen="127.0.0.1"))
            return start_with(launcher, num_replicas, stack, **options)

        yield start
