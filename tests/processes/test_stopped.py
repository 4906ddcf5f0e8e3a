"""A process that is stopped for a while loses no message."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.processes.conftest import SOON_S

pytestmark = pytest.mark.processes


def test_no_message_is_lost_while_a_process_is_stopped() -> None:
    """A worker and then the program are stopped for longer than the time-out of a heartbeat."""
    command = [sys.executable, "-m", "tests.processes.stopped_programs"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=10 * SOON_S)
    assert ("[2.0, 4.0, 6.0, 8.0, 10.0]", 0) == (ended.stdout, ended.returncode), ended.stderr
