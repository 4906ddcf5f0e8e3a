"""Start a switch between the hosts of a lab, and change its wires while it runs."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address
from itertools import permutations
from pathlib import Path
from typing import Final

from tests.hosts.wire import Counts, Shape
from tests.waiting import MS

_ROOT: Final = Path(__file__).parents[2]
_ANSWER_S: Final = 10_000 * MS
_MAX_ANSWER_BYTES: Final = 2**18


class SwitchError(Exception):
    """The switch has ended, or it does not answer."""


class Switch:
    """The lab's end of a switch. A wire is one direction between two hosts.

    Args:
        devices: The descriptors of the hosts' TUN devices, in the order of the hosts. The switch
            gets copies.
        first: The address of host 0; the other hosts have the next addresses.
        mtu: The largest packet of the devices, in bytes.
        seed: Switches with the same seed lose the same packets of each wire.
    """

    def __init__(self, devices: Sequence[int], first: IPv4Address, mtu: int, seed: int) -> None:
        self._num_hosts = len(devices)
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        program = [sys.executable, "-S", "-m", "tests.hosts.switch_process"]
        with theirs:
            arguments = [theirs.fileno(), seed, mtu, first, *devices]
            self.process = subprocess.Popen(
                [*program, *map(str, arguments)],
                cwd=_ROOT,
                pass_fds=(theirs.fileno(), *devices),
                stdin=subprocess.DEVNULL,
            )
        try:
            self._receive()
        except SwitchError:
            self.close()
            raise

    def shape(
        self,
        senders: Iterable[int] | None = None,
        receivers: Iterable[int] | None = None,
        **changes: float | bool | None,
    ) -> None:
        """Change the wires from some hosts to others, at once and for all later packets.

        Args:
            senders: The numbers of hosts; None: all hosts.
            receivers: As `senders`.
            changes: New values for fields of `Shape`; the other fields do not change.
        Raises:
            ValueError: A value is out of its range.
            SwitchError: The switch has ended.
        """
        Shape(**changes)  # type: ignore[arg-type] # checks the values
        everyone = range(self._num_hosts)
        from_these = set(everyone if senders is None else senders)
        to_these = set(everyone if receivers is None else receivers)
        pairs = [(a, b) for a, b in permutations(everyone, 2) if a in from_these and b in to_these]
        self._request(pairs, changes)

    def cut(self, sender: int, receiver: int) -> None:
        """Lose all packets from one host to another one, and none of the other direction."""
        self.shape([sender], [receiver], is_cut=True)

    def partition(self, hosts: Iterable[int]) -> None:
        """Lose all packets between these hosts and all other hosts, in both directions."""
        inner = set(hosts)
        outer = set(range(self._num_hosts)) - inner
        pairs = [(a, b) for i in inner for o in outer for a, b in ((i, o), (o, i))]
        self._request(pairs, {"is_cut": True})

    def heal(self) -> None:
        """End all cuts. Rates, delays and losses do not change."""
        self.shape(is_cut=False)

    def counts(self) -> dict[tuple[int, int], Counts]:
        """Return what has happened until now on each wire: (sender, receiver) → counts."""
        return {(a, b): Counts(**counts) for a, b, counts in self._request([], {})}

    def close(self) -> None:
        """End the process; its devices end with it."""
        self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_ANSWER_S)
        self.process.kill()
        self.process.wait()

    def _request(
        self, pairs: list[tuple[int, int]], changes: dict[str, float | bool | None]
    ) -> list[tuple[int, int, dict[str, int]]]:
        with suppress(BrokenPipeError):  # the answer says so, too
            self._control.sendall(json.dumps({"pairs": pairs, "changes": changes}).encode())
        answer: list[tuple[int, int, dict[str, int]]] = json.loads(self._receive())
        return answer

    def _receive(self) -> bytes:
        if not select.select([self._control], [], [], _ANSWER_S)[0]:
            raise SwitchError(f"the switch has not answered for {_ANSWER_S:g} s")
        answer = self._control.recv(_MAX_ANSWER_BYTES)
        if not answer:
            raise SwitchError(f"the switch (process {self.process.pid}) has ended")
        return answer
