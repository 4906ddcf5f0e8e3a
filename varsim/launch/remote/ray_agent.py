"""Run an agent as a child process of a Ray actor, on a node of a Ray cluster."""

from __future__ import annotations

import sys

import zmq

from varsim.launch.remote.engines import EngineCommand, RunningCommand
from varsim.launch.remote.host_launcher import agent_command


class RayAgent:
    """The actor of one node; `ray.remote` makes it one.

    The agent is a child process with its key from stdin: it ends its workers as soon as the actor
    ends, however it ends, and Ray can neither restart nor fork what it started.
    """

    def __init__(self) -> None:
        self._reason = ""

    def run(self, endpoint: str, key: str, rank: int) -> str:
        """Run the agent; return how it has ended, with the end of its output."""
        command = agent_command(sys.executable, endpoint, "-", rank)
        running = RunningCommand(EngineCommand(command, rank, key + "\n"), name="varsim worker")
        poller = zmq.Poller()
        poller.register(running.output, zmq.POLLIN)
        while not running.has_ended:
            poller.poll()
            running.read()
        self._reason = running.reason
        return self._reason

    def how_it_ended(self) -> str:
        """Return what `run` has returned: an actor executes one method after another."""
        return self._reason
