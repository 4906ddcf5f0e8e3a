"""A watched channel calls its watcher around waits, and returns what the channel returns."""

from __future__ import annotations

from typing import Any

import pytest

from varsim.launch.watched_channel import WatchedChannel


class FakeChannel:
    """A channel on which a message arrives at `arrives_s`."""

    def __init__(self, arrives_s: float):
        self.time_s, self.arrives_s = 0.0, arrives_s

    def now_s(self) -> float:
        return self.time_s

    def receive(self, timeout_s: float) -> list[Any]:
        self.time_s = min(self.time_s + timeout_s, max(self.time_s, self.arrives_s))
        return [(0, "message")] if self.time_s >= self.arrives_s else []


class Watcher:
    """A watcher that wants to be called after 0.25 s."""

    def __init__(self) -> None:
        self.calls: list[float] = []

    def before(self, now_s: float) -> float:
        self.calls.append(now_s)
        return 0.25

    def after(self, now_s: float) -> None:
        self.calls.append(now_s)


@pytest.mark.parametrize(
    ("timeout_s", "arrives_s", "calls"),
    [
        (0.0, 0.0, []),  # this call does not wait
        (1.0, 0.0, [0.0, 0.0]),
        (1.0, 0.3125, [0.0, 0.25, 0.25, 0.3125]),
        (0.5, 9.0, [0.0, 0.25, 0.25, 0.5]),
        (0.125, 9.0, [0.0, 0.125]),
    ],
)
def test_a_long_wait_is_divided(timeout_s: float, arrives_s: float, calls: list[float]):
    channel, watcher = FakeChannel(arrives_s), Watcher()
    watched = WatchedChannel(channel, watcher)  # type: ignore[arg-type]

    received = watched.receive(timeout_s)

    assert bool(received) == (arrives_s <= timeout_s)
    assert calls == watcher.calls
    assert min(timeout_s, arrives_s) == channel.time_s
