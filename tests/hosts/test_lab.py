"""Hosts, and the switch between them, with real packets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.hosts import namespaces
from tests.hosts.lab import DEVICE, Host, Lab
from tests.hosts.switch import SwitchError
from tests.hosts.wire import Counts, Wire
from tests.waiting import MS, is_running, wait_for, wait_for_exit

pytestmark = pytest.mark.hosts

HEADERS_BYTES = 28  # of IP and UDP
ROOT = Path(__file__).parents[2]


class Datagrams:
    """A socket for UDP in each host of a lab."""

    def __init__(self, lab: Lab, sockets: list[socket.socket]) -> None:
        self.lab = lab
        self._sockets = sockets

    def send(self, sender: int, receiver: int, content: bytes = b"content") -> None:
        self._sockets[sender].sendto(content, self._sockets[receiver].getsockname())

    def received(self, receiver: int) -> bytes:
        return wait_for(lambda: self._taken(receiver))

    def _taken(self, receiver: int) -> bytes:
        with suppress(BlockingIOError):
            return self._sockets[receiver].recv(2_000)
        return b""

    def arrives(self, sender: int, receiver: int) -> bool:
        """Send a datagram; return whether it arrived, once the switch has handled it."""
        before = self.counts(sender, receiver)
        self.send(sender, receiver)
        now = wait_for(lambda: self._new_counts(sender, receiver, before))
        if now.delivered > before.delivered:
            assert b"content" == self.received(receiver)
            return True
        return False

    def counts(self, sender: int, receiver: int) -> Counts:
        return self.lab.switch.counts()[sender, receiver]

    def _new_counts(self, sender: int, receiver: int, before: Counts) -> Counts | None:
        now = self.counts(sender, receiver)
        ended = [one.delivered + one.lost + one.cut + one.overflowed for one in (before, now)]
        return now if ended[1] > ended[0] else None


@contextmanager
def datagrams_of(lab: Lab) -> Iterator[Datagrams]:
    with ExitStack() as opened:
        sockets = []
        for host in lab.hosts:
            with lab.inside(host):
                made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            opened.enter_context(made)
            made.bind((host.address, 0))
            made.setblocking(False)
            sockets.append(made)
        yield Datagrams(lab, sockets)


@pytest.fixture
def datagrams(lab: Lab) -> Iterator[Datagrams]:
    with datagrams_of(lab) as made:
        yield made


def test_a_delay_is_that_of_its_direction(datagrams: Datagrams) -> None:
    datagrams.lab.switch.shape([0], [1], delay_s=0.1)

    assert 0.1 <= one_way_s(datagrams, 0, 1)
    # A busy machine adds time, but not as much in each of five tries.
    assert min(one_way_s(datagrams, 1, 0) for _ in range(5)) < 0.1


def one_way_s(datagrams: Datagrams, sender: int, receiver: int) -> float:
    start_s = time.monotonic()
    datagrams.send(sender, receiver)
    datagrams.received(receiver)
    return time.monotonic() - start_s


def test_a_rate_sets_the_time_of_many_bytes(datagrams: Datagrams) -> None:
    """40 packets of 1,000 bytes on 4 Mbit/s take 80 ms, on 40 Mbit/s less."""

    def time_s(bit_per_s: float) -> float:
        datagrams.lab.switch.shape(bit_per_s=bit_per_s)
        start_s = time.monotonic()
        for _ in range(40):
            datagrams.send(0, 1, bytes(1_000 - HEADERS_BYTES))
        for _ in range(40):
            datagrams.received(1)
        return time.monotonic() - start_s

    assert 0.08 <= time_s(4e6)
    assert min(time_s(40e6) for _ in range(5)) < 0.08


def test_losses_are_those_of_the_seed(make_lab: Callable[..., Lab]) -> None:
    expected = Wire("7 0 1")
    expected.change({"loss": 0.2})
    arrive = [expected.accept(0.0, 1) is not None for _ in range(40)]

    lab = make_lab(2, seed=7)
    lab.switch.shape(loss=0.2)
    with datagrams_of(lab) as datagrams:
        assert arrive == [datagrams.arrives(0, 1) for _ in range(40)]
        assert arrive.count(False) == datagrams.counts(0, 1).lost > 0


def test_a_cut_of_one_direction_leaves_the_other(datagrams: Datagrams) -> None:
    datagrams.lab.switch.cut(0, 1)

    assert [False, True] == [datagrams.arrives(0, 1), datagrams.arrives(1, 0)]
    assert datagrams.arrives(0, 2)


def test_a_partition_separates_hosts_until_it_is_healed(datagrams: Datagrams) -> None:
    pairs = [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)]
    datagrams.lab.switch.partition([0])
    assert [False] * 4 + [True] * 2 == [datagrams.arrives(*pair) for pair in pairs]

    datagrams.lab.switch.heal()
    assert [True] * 6 == [datagrams.arrives(*pair) for pair in pairs]


def test_packets_and_bytes_are_counted_by_direction(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(2)
    with datagrams_of(lab) as datagrams:
        for size in (10, 500, 1_000):
            datagrams.send(0, 1, bytes(size))
            datagrams.received(1)
        counts = lab.switch.counts()

    size_bytes = 1_510 + 3 * HEADERS_BYTES
    expected = Counts(offered=3, offered_bytes=size_bytes, delivered=3, delivered_bytes=size_bytes)
    assert {(0, 1): expected, (1, 0): Counts()} == counts


@pytest.mark.parametrize("bridged", [False, True], ids=["switch", "bridge"])
def test_hosts_have_their_own_loopback_and_reach_each_other(
    make_lab: Callable[..., Lab], bridged: bool
) -> None:
    lab = make_lab(2, bridged=bridged)
    first, second = lab.hosts
    with ExitStack() as opened:
        with lab.inside(first):
            server = opened.enter_context(socket.create_server((first.address, 0)))
            own = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        with lab.inside(second):
            client = opened.enter_context(socket.create_connection(server.getsockname()))
            # The port of the other host's loopback interface is free on this one.
            opened.enter_context(socket.create_server(own.getsockname()))
        accepted, peer = server.accept()
        opened.enter_context(accepted)
        client.sendall(b"content")
        assert b"content" == accepted.recv(100)
        assert second.address == peer[0]


def test_a_bridge_limits_what_a_host_sends(make_lab: Callable[..., Lab]) -> None:
    """80 packets of 1,028 bytes take 160 ms on 4 Mbit/s; the first ones may leave at once."""
    lab = make_lab(2, bridged=True, bit_per_s=4_000_000)
    with datagrams_of(lab) as datagrams:
        start_s = time.monotonic()
        for _ in range(80):
            datagrams.send(0, 1, bytes(1_000))
        for _ in range(80):
            datagrams.received(1)
        assert 0.1 < time.monotonic() - start_s


def test_a_process_runs_in_its_host(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(2)
    with lab.popen(lab.hosts[1], ["ip", "-json", "address"], stdout=subprocess.PIPE) as process:
        devices = {one["ifname"]: one["addr_info"] for one in json.load(process.stdout)}

    assert {"lo", DEVICE} == devices.keys()
    assert [lab.hosts[1].address] == [one["local"] for one in devices[DEVICE]]


def test_this_process_is_outside_after_an_error_inside(lab: Lab) -> None:
    namespace = Path("/proc/thread-self/ns/net")
    outside = namespace.readlink()
    seen = []

    def fail_inside() -> None:
        with lab.inside(lab.hosts[0]):
            seen.append(namespace.readlink())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()
    assert [outside] != seen
    assert outside == namespace.readlink()


@pytest.mark.parametrize("killed", [False, True], ids=["running switch", "killed switch"])
def test_a_lab_leaves_nothing(hosts_are_possible: None, killed: bool) -> None:
    with Lab(2) as lab:
        names = [host.namespace for host in lab.hosts]
        switch = lab.switch.process
        process = lab.popen(lab.hosts[0], [sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        assert [True, True] == [(namespaces.FOLDER / name).exists() for name in names]
        if killed:
            os.kill(switch.pid, signal.SIGKILL)
            switch.wait()
            assert {"lo"} == devices_of(lab, lab.hosts[0])
            with pytest.raises(SwitchError, match="has ended"):
                lab.switch.heal()

    process.stdin.close()
    assert [False, False] == [(namespaces.FOLDER / name).exists() for name in names]
    assert not is_running(switch.pid)
    assert -signal.SIGKILL == process.returncode
    assert DEVICE not in {path.name for path in Path("/sys/class/net").iterdir()}


def devices_of(lab: Lab, host: Host) -> set[str]:
    with lab.popen(host, ["ip", "-json", "link"], stdout=subprocess.PIPE) as process:
        return {one["ifname"] for one in json.load(process.stdout)}


KILLED = """
import sys
from tests.hosts.lab import Lab
lab = Lab(2)
process = lab.popen(lab.hosts[0], [sys.executable, "-c", "input()"], stdin=sys.stdin)
print(lab.switch.process.pid, process.pid, *[host.namespace for host in lab.hosts], flush=True)
input()
"""


def test_the_next_lab_removes_that_of_a_killed_process(make_lab: Callable[..., Lab]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", KILLED],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as killed:
        switch, process, *names = killed.stdout.readline().split()
        killed.kill()
        killed.wait()
        assert is_running(int(process))
        assert all((namespaces.FOLDER / name).exists() for name in names)
        wait_for_exit(int(switch), 5_000 * MS)

        make_lab(1)

        assert not is_running(int(process))
        assert not any((namespaces.FOLDER / name).exists() for name in names)


@pytest.mark.parametrize("options", [{"num_hosts": 0}, {"num_hosts": 1, "bit_per_s": 1000}])
def test_a_wrong_lab_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"expected 1 to 64|is for a bridge"):
        Lab(**options)


def test_a_failed_command_is_an_error_with_what_it_said(hosts_are_possible: None) -> None:
    with pytest.raises(OSError, match=r"ip failed: .*no-such-device"):
        namespaces.run_ip(["link set no-such-device up"])
