"""Launcher "srun": an agent on each node of a Slurm allocation, started by the command srun."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from varsim.launch.remote.engines import EngineCommand
from varsim.launch.remote.host_launcher import CommandLauncher, agent_command, key_file
from varsim.launch.remote.join_key import JoinKey


class SrunLauncher(CommandLauncher):
    """Runs `srun` once, with one task for each node.

    The nodes read the key from a file, which they must share with this host.
    """

    name = "srun"

    def commands(self, endpoint: str, key: JoinKey, folder: Path) -> Sequence[EngineCommand]:
        """Return one command for all nodes."""
        nodes = () if self.settings.number is None else (f"--nodes={self.settings.number}",)
        names = (f"--nodelist={','.join(self.settings.names)}",) if self.settings.names else ()
        path = key_file(self.settings.key, folder, key)
        agent = agent_command(self.settings.python, endpoint, str(path))
        # srun ends the other tasks when one ends: the loss of one host must not end the others.
        placed = ("--ntasks-per-node=1", "--kill-on-bad-exit=0", "--cpu-bind=none")
        return [
            EngineCommand(("srun", *placed, *nodes, *names, *self.settings.options, *agent), None)
        ]
