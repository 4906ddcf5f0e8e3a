"""Share what the networks of simulated clusters have in common."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection

from varsim.launch.link import Lost
from varsim.protocol.messages import Message


class SimulatedChannel:
    """The methods of `Channel` that are the same in every simulated cluster."""

    def __init__(self, seed: int | None) -> None:
        self._random = None if seed is None else random.Random(seed)

    def await_room(self, timeout_s: float) -> Collection[int]:  # noqa: ARG002  # the name in `Channel`
        """Return no process: messages to every process have room, because there is no limit."""
        return ()

    def where(self, replica_id: int) -> str | None:  # noqa: ARG002  # the name in `Channel`
        """Return None, because no other process runs while the program runs."""
        return None

    def _cut(self, queue: deque[Message | Lost], reason: str) -> None:
        """End a process's messages to the program by a `Lost`.

        With a seed, some of its last messages may never arrive.
        """
        if self._random is not None:
            for _ in range(self._random.randint(0, len(queue))):
                queue.pop()
        queue.append(Lost(reason, "", ""))
