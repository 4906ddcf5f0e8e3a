"""Launcher "ssh": an agent on each host, started by the command ssh."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from varsim.launch.remote.engines import EngineCommand
from varsim.launch.remote.host_launcher import CommandLauncher, agent_command
from varsim.launch.remote.join_key import JoinKey


class SshLauncher(CommandLauncher):
    """Runs `ssh HOST` once for each host; the key of the cluster goes through its stdin."""

    name = "ssh"
    needs = "names"

    def commands(self, endpoint: str, key: JoinKey, folder: Path) -> Sequence[EngineCommand]:  # noqa: ARG002  # of the base class
        """Return one command for each host."""
        return [
            EngineCommand(
                (
                    "ssh",
                    "-o",
                    "BatchMode=yes",  # a question for a password would wait for ever
                    *self.settings.options,
                    host,
                    f"exec {shlex.join(agent_command(self.settings.python, endpoint, '-', rank))}",
                ),
                rank,
                key.to_line() + "\n",
            )
            for rank, host in enumerate(self.settings.names)
        ]
