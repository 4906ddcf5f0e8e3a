"""Launcher "join": wait for hosts on which somebody runs `varsim worker`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from varsim.launch.remote.engines import EngineCommand
from varsim.launch.remote.host_launcher import CommandLauncher, key_file
from varsim.launch.remote.join_key import JoinKey


class JoinLauncher(CommandLauncher):
    """Starts no command: it prints the one to run on each host, and waits."""

    name = "join"
    needs = "number"

    def commands(self, endpoint: str, key: JoinKey, folder: Path) -> Sequence[EngineCommand]:
        """Return no command; say on stderr what to run on the hosts."""
        path = key_file(self.settings.key, folder, key)
        number = self.settings.number
        sys.stderr.write(
            f"varsim: waiting for {number} host{'s' * (number != 1)}; run on each of them, with a "
            f"copy of the key:\n  varsim worker --coordinator {endpoint} --key {path}\n"
        )
        return ()
