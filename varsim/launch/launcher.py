"""Define the interface and the options of launchers, which start the workers of a cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

from varsim.launch.link import Link
from varsim.protocol.references import References
from varsim.tracing.trace import TraceOptions
from varsim.transport.transport import AUTO
from varsim.value_class import value_class

LINK_LOSS_S: Final = 20.0
"""By default, a worker is lost after this time without a connection. A network repairs itself in
less time, for example when a laptop joins another access point. A blocked replica is ended only
after 60 s."""


@value_class(kw_only=True)
class Backends:
    """The names of the implementations that a cluster uses; see `varsim.launch.backends`."""

    launcher: str = "process"
    transport: str = AUTO
    exchange: str = "auto"
    launcher_settings: str = ""  # the launcher's settings as JSON; "" if it has none

    def settled(self, transport: str) -> Backends:
        """Return these names with a transport in place of AUTO."""
        return replace(self, transport=transport) if self.transport == AUTO else self


@value_class
class LaunchOptions:
    """The options with which a program starts its workers."""

    cluster_id: int  # identifies the cluster within its program
    devices: tuple[str, ...]  # one per replica, with the program's names
    backends: Backends = Backends()
    log_dir: Path | None = None  # the directory of the workers' logs; None: a private directory
    start_timeout_s: float = 60.0
    trace: TraceOptions | None = None  # what every process records; None to record nothing
    link_loss_s: float = LINK_LOSS_S  # after so long without a connection, a worker is lost
    seed: int | None = None  # the seed of workers' global generators; None: a random seed
    incarnation: int = 1  # the number of this start of the strategy's workers, from 1
    strategy: str = "MirroredStrategy"  # the name of the class of the program's strategy
    delay_s: float = 0.0  # the time to wait before the start, after workers were lost
    servers: int = 0  # how many of the processes are parameter servers: the last ones
    server_trace: TraceOptions | None = None  # what every parameter server records
    entry_point: str = ""  # what a process runs instead of serving a replica, as `module:function`


class Launcher(Protocol):
    """Starts the workers of a cluster."""

    def launch(self, options: LaunchOptions, references: References) -> Link:
        """Start one worker per device, and return when all are ready.

        Raises:
            StartError: A worker did not start; the text names it and quotes its output.
        """
