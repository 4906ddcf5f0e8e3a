"""What the program asks several hosts, it asks all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple

from tests.waiting import MS
from varsim.launch.remote.control import Control, Name
from varsim.launch.remote.greeting import Greeting
from varsim.launch.remote.remote_hosts import RemoteHost, RemoteHosts
from varsim.protocol.buffers import Frame
from varsim.protocol.limits import Buffer
from varsim.sync.stalls import Sighting

HOSTS, PER_HOST = 4, 2
SLOW = 1


class Listener:
    """Links to hosts of which all but one answer at once, if every host has been asked."""

    sockets = ()
    look_s = 5 * MS

    def __init__(self) -> None:
        self.asked: dict[int, Control] = {}

    def send(self, number: int, frames: Sequence[Frame]) -> bool:
        self.asked[number] = Control.unpacked([bytes(one) for one in frames])
        return True

    def drain(self) -> list[tuple[int, list[Buffer]]]:
        assert HOSTS == len(self.asked), "a host is asked only after another one has answered"
        return [
            (number, [bytes(one) for one in self._answer(asked).packed()])
            for number, asked in self.asked.items()
            if number != SLOW
        ]

    def look(self, _is_stopped: object) -> tuple[()]:
        return ()

    @staticmethod
    def _answer(asked: Control) -> Control:
        replica_ids, with_stacks = asked.value
        seen = {
            one: astuple(Sighting(100 + one, 0.5, None, False, ("f",) * (one in with_stacks)))
            for one in replica_ids
        }
        return Control(Name.EXAMINE, asked.number, seen)


def test_a_slow_host_costs_one_wait_and_only_its_own_answers() -> None:
    greeting = Greeting("h", (1, 1), "0.1.0", "3.11.5", "2.1", True, 2, 7, None, None)
    hosts = [
        RemoteHost(i, greeting, range(i * PER_HOST, (i + 1) * PER_HOST), f"h{i}")
        for i in range(HOSTS)
    ]
    known = RemoteHosts(
        Listener(),  # type: ignore[arg-type]
        hosts,
        None,  # type: ignore[arg-type]
        20.0,
        log_dir=None,
        trace_dir=None,
        stretch=20 * MS,  # of a second
    )

    seen = known.examine([0, 2, 3, 5, 6], [5])

    assert {0: 100, 5: 105, 6: 106} == {one: found.process_id for one, found in seen.items()}
    assert [5] == [one for one, found in seen.items() if found.stack]
