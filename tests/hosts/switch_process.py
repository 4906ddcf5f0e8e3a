"""The process of a switch: carry IP packets between the TUN devices of the hosts.

It is a process of its own, so that a busy test does not delay packets. `switch.py` starts it:

    python -m tests.hosts.switch_process CONTROL SEED MTU FIRST_ADDRESS DEVICE...

CONTROL is the descriptor of a socket for requests, and each DEVICE the descriptor of the device of
one host. The devices exist as long as their descriptors are open, so they end with this process.
The process ends if the other end of CONTROL is closed, or if the process that started it has ended.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import select
import socket
import sys
import time
from contextlib import suppress
from ipaddress import IPv4Address
from typing import Any, Final

from tests.hosts.wire import Wire

_LOOK_S: Final = 1.0  # the longest time between two looks whether the parent still runs
_BATCH: Final = 64  # packets that are read from one device before others get their turn
_MAX_REQUEST_BYTES: Final = 2**16
_NICENESS: Final = -10  # other processes of a busy machine delay packets less

Pair = tuple[int, int]


class SwitchProcess:
    """The loop of the process, with one wire for each ordered pair of hosts."""

    def __init__(self, control: socket.socket, seed: str, mtu: int, first: int, devices: list[int]):
        self._control = control
        self._mtu = mtu
        self._first = first  # the address of host 0, as a number
        self._devices = devices
        self._hosts = {device: host for host, device in enumerate(devices)}
        pairs = itertools.permutations(range(len(devices)), 2)
        self._wires = {(a, b): Wire(f"{seed} {a} {b}") for a, b in pairs}
        self._due: list[tuple[float, int, Pair, bytes]] = []  # a heap; the number keeps the order
        self._numbers = itertools.count()

    def run(self, parent: int) -> None:
        """Carry packets and answer requests until the lab ends."""
        sources: list[int] = [self._control.fileno(), *self._devices]
        while os.getppid() == parent:
            wait_s = _LOOK_S
            if self._due:
                wait_s = min(_LOOK_S, max(0.0, self._due[0][0] - time.monotonic()))
            for source in select.select(sources, [], [], wait_s)[0]:
                if source in self._hosts:
                    self._take_packets(source)
                elif not self._answer():
                    return
            self._deliver()

    def _take_packets(self, device: int) -> None:
        sender = self._hosts[device]
        for _ in range(_BATCH):
            try:
                packet = os.read(device, self._mtu)
            except OSError:  # there are no more packets, or the device is down
                return
            if packet[0] >> 4 != 4:
                continue  # hosts have no IPv6
            pair = sender, int.from_bytes(packet[16:20], "big") - self._first
            wire = self._wires.get(pair)
            if wire is None:
                continue  # a broadcast, or an address that no host has
            due_s = wire.accept(time.monotonic(), len(packet))
            if due_s is not None:
                heapq.heappush(self._due, (due_s, next(self._numbers), pair, packet))

    def _deliver(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, pair, packet = heapq.heappop(self._due)
            wire = self._wires[pair]
            if wire.deliver(len(packet)):
                try:
                    os.write(self._devices[pair[1]], packet)
                except OSError:  # the device is down
                    wire.refuse(len(packet))

    def _answer(self) -> bool:
        """Answer one request; return False if the lab has closed its end."""
        request = self._control.recv(_MAX_REQUEST_BYTES)
        if not request:
            return False
        asked: dict[str, Any] = json.loads(request)
        for a, b in asked["pairs"]:
            self._wires[a, b].change(asked["changes"])
        counts = [[a, b, wire.report()] for (a, b), wire in self._wires.items()]
        self._control.sendall(json.dumps(counts).encode())
        return True


def main() -> None:
    """Run a switch with the descriptors of the command line."""
    control, seed, mtu, first, *devices = sys.argv[1:]
    parent = os.getppid()
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    with socket.socket(fileno=int(control)) as answers:
        descriptors = [int(one) for one in devices]
        process = SwitchProcess(answers, seed, int(mtu), int(IPv4Address(first)), descriptors)
        answers.sendall(b"ready")
        process.run(parent)


if __name__ == "__main__":
    main()
