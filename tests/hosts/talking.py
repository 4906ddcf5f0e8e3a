"""Programs on hosts that print lines of JSON, and wait for lines."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.hosts.engine_lab import EngineLab


class Talking:
    """A process on a host that runs such a program."""

    def __init__(self, engines: EngineLab, host: int, program: str, *arguments: str) -> None:
        self._process = engines.popen(
            host,
            [sys.executable, "-c", program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self) -> int:
        self._process.communicate()
        return self._process.returncode
