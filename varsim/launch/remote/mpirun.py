"""Launcher "mpirun": an agent on each host, started by the command mpirun of Open MPI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varsim.launch.remote.engines import EngineCommand
from varsim.launch.remote.host_launcher import CommandLauncher, agent_command, key_file
from varsim.launch.remote.join_key import JoinKey


class MpirunLauncher(CommandLauncher):
    """Runs `mpirun` once, with one process for each node; varsim itself uses no MPI.

    The hosts read the key from a file, which they must share with this host.
    """

    name = "mpirun"

    def commands(self, endpoint: str, key: JoinKey, folder: Path) -> Sequence[EngineCommand]:
        """Return one command for all hosts."""
        hosts = ("--host", ",".join(self.settings.names)) if self.settings.names else ()
        number = () if self.settings.number is None else ("-np", str(self.settings.number))
        path = key_file(self.settings.key, folder, key)
        agent = agent_command(self.settings.python, endpoint, str(path))
        # Without a binding, the workers of a host can use all its processors.
        placed = ("--map-by", "ppr:1:node", "--bind-to", "none")
        return [
            EngineCommand(
                ("mpirun", *placed, *number, *hosts, *self.settings.options, *agent), None
            )
        ]
