"""Waits of the program end at their time, whatever arrives."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import Mock

import pytest

from varsim.launch.process_channel import ProcessChannel

MOST_LOOKS = 100


@pytest.fixture
def channel() -> Iterator[ProcessChannel]:
    """Return a channel at which something arrives all the time that is never a message."""
    readable, written = os.pipe()
    os.write(written, b"x")
    listener = Mock(look_s=None, sockets=(readable,))
    listener.drain.side_effect = [()] * MOST_LOOKS  # then it fails
    exchange = Mock(deadline_s=None)
    exchange.finished.return_value = ()
    yield ProcessChannel(
        1, exchange=exchange, listener=listener, hosts=Mock(sockets=()), link_loss_s=20.0
    )
    os.close(readable)
    os.close(written)


@pytest.mark.parametrize(
    ("wait", "returned"),
    [(lambda it: it.receive(0), []), (lambda it: it.await_room(0), [0])],
    ids=["receive", "await_room"],
)
def test_a_wait_ends_though_packets_arrive_all_the_time(
    channel: ProcessChannel, wait: Callable[[ProcessChannel], Any], returned: list[int]
) -> None:
    channel._backlog.full.add(0)
    assert returned == wait(channel)
