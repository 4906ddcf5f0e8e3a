"""Workers as processes of this machine."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zmq

from varsim.errors import ConfigError, ProtocolError, StartError
from varsim.launch.launcher import LaunchOptions, Lost
from varsim.launch.logs import WorkerLogs
from varsim.launch.nursery import Nursery
from varsim.launch.rendezvous import ENTRY_POINT, Rendezvous, routing_id
from varsim.protocol import structure
from varsim.protocol.codec import decode, encode
from varsim.protocol.messages import Message, Payload, Ready, Shutdown
from varsim.protocol.structure import References
from varsim.transport.keys import AllowList, KeyPair
from varsim.transport.sockets import MAX_IPC_PATH, Router, timeout_ms

SHUTDOWN_TIMEOUT_S: Final = 2.0
"""A worker that has not ended by then is killed: it is in user code, and has nothing to save."""

_IPC_NAME: Final = "c"  # short: the path of an ipc endpoint is limited


@dataclass(frozen=True, slots=True)
class ProcessLauncher:
    """Starts each worker as a process of this machine.

    Workers see the program's modules (its `sys.path`), its environment and working directory;
    numerical libraries use one thread in each. They end with the program, however it ends.
    """

    entry_point: str = ENTRY_POINT

    def launch(self, options: LaunchOptions, references: References) -> ProcessLink:
        """Starts one worker per device, and returns when all are ready.

        Raises:
            StartError: A worker did not come up; the text says which and what it said.
            ConfigError: There is no such transport.
        """
        deadline = time.monotonic() + options.start_timeout_s
        resources = _Resources(options)
        try:
            resources.start(self.entry_point)
            link = ProcessLink(resources, references)
            link.wait_until_ready(deadline)
        except OSError as error:
            resources.free()
            raise StartError(f"cannot start workers: {error}") from error
        except BaseException:
            resources.free()
            raise
        return link


@dataclass(slots=True, eq=False)
class _Resources:
    """Everything of a cluster that must be given back to the system."""

    options: LaunchOptions
    process_id: int = field(default_factory=os.getpid)
    context: zmq.Context[zmq.Socket[bytes]] = field(default_factory=zmq.Context)
    directory: Path | None = None
    allow_list: AllowList | None = None
    router: Router | None = None
    nursery: Nursery | None = None
    logs: WorkerLogs | None = None
