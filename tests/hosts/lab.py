"""Hosts for tests: each is a network namespace with its own loopback interface and address.

    with Lab(3) as lab:
        lab.switch.shape(delay_s=0.01)
        with lab.inside(lab.hosts[0]):
            listener = socket.create_server((lab.hosts[0].address, 0))
        process = lab.popen(lab.hosts[1], [sys.executable, "-m", …])
        lab.switch.partition([0])

All packets stay in the namespaces of the lab. The addresses are of the range for tests of network
devices (RFC 2544), which no network uses, so all labs can have the same ones. A lab whose process
is killed is removed by the next lab.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import struct
import subprocess
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any, Final, Self

from tests.hosts import namespaces
from tests.hosts.switch import Switch
from tests.hosts.wire import QUEUE_S

NETWORK: Final = IPv4Network("198.18.0.0/24")
MAX_HOSTS: Final = 64
DEVICE: Final = "net0"
"""The network device of each host, beside its loopback interface."""

_TUNSETIFF: Final = 0x400454CA  # linux/if_tun.h
_IFF_TUN_NO_PI: Final = 0x0001 | 0x1000
_QUEUE_PACKETS: Final = 10_000
"""A device's queue: the switch, not this queue, decides which packets are lost."""
_BURST_S: Final = 0.004
"""How long a bridge may send faster at once: a tick of usual kernels, which refill no earlier."""

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Host:
    """A host of a lab."""

    number: int  # from 0; its name for the switch
    address: str
    namespace: str


class MadeOfParts:
    """Something whose parts end together, at the end of a with statement."""

    _stack: ExitStack

    def close(self) -> None:
        """End all parts, in the reverse order of their beginning."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Lab(MadeOfParts):
    """Hosts with a network. At its end, all processes in the hosts end, and the hosts are removed.

    Args:
        num_hosts: The number of hosts.
        bridged: Connect the hosts by a bridge of the kernel and not by a switch. It is faster
            (`throughput.py` measures both), but delays, loses and counts nothing.
        bit_per_s: With a bridge, how much each host can send; None: no limit.
        mtu: The largest packet of the hosts' devices, in bytes. Larger ones need less time of the
            switch.
        seed: Of the packets that the switch loses.
    Raises:
        OSError: Hosts cannot be made here; `namespaces.why_impossible` says why.
    """

    hosts: tuple[Host, ...]

    def __init__(
        self,
        num_hosts: int,
        *,
        bridged: bool = False,
        bit_per_s: int | None = None,
        mtu: int = 1500,
        seed: int = 1,
    ) -> None:
        if not 1 <= num_hosts <= MAX_HOSTS:
            raise ValueError(f"{num_hosts} hosts: expected 1 to {MAX_HOSTS}")
        if bit_per_s is not None and not bridged:
            raise ValueError("bit_per_s is for a bridge; a switch has `switch.shape(bit_per_s=…)`")
        namespaces.remove_leftovers()
        names = namespaces.names_of_lab(next(_numbers), [*map(str, range(num_hosts)), "bridge"])
        *of_hosts, bridge = names
        used = names if bridged else of_hosts
        self._switch: Switch | None = None
        self._processes: list[subprocess.Popen[Any]] = []
        addresses = itertools.islice(NETWORK.hosts(), num_hosts)
        self.hosts = tuple(
            Host(number, str(address), name)
            for number, (address, name) in enumerate(zip(addresses, of_hosts, strict=True))
        )
        with ExitStack() as stack:
            stack.callback(self._reap)
            stack.callback(namespaces.remove, used)
            namespaces.run_ip(f"netns add {name}" for name in used)
            if bridged:
                self._bridge(bridge, mtu, bit_per_s)
            else:
                self._start_switch(mtu, seed)
                stack.callback(self.switch.close)
            self._stack = stack.pop_all()

    @property
    def switch(self) -> Switch:
        """Return the switch between the hosts."""
        assert self._switch is not None, "this lab has a bridge"
        return self._switch

    def inside(self, host: Host) -> AbstractContextManager[None]:
        """Put the calling thread into a host: its new sockets and processes belong to the host."""
        return namespaces.inside(host.namespace)

    def popen(self, host: Host, arguments: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process in a host. The lab kills it when it ends, with all processes there.

        Args:
            options: See `subprocess.Popen`.
        """
        with self.inside(host):
            process = subprocess.Popen(arguments, **options)
        self._processes.append(process)
        return process

    def _reap(self) -> None:
        for process in self._processes:
            process.wait()

    def _start_switch(self, mtu: int, seed: int) -> None:
        with ExitStack() as devices:
            descriptors = []
            for host in self.hosts:
                with self.inside(host):
                    descriptors.append(_tun_device())
                    _disable_ipv6()
                devices.callback(os.close, descriptors[-1])
                self._configure(host, mtu)
            self._switch = Switch(descriptors, IPv4Address(self.hosts[0].address), mtu, seed)

    def _bridge(self, bridge: str, mtu: int, bit_per_s: int | None) -> None:
        ports = [(host, f"port{host.number}") for host in self.hosts]
        pairs = [
            f"link add {port} mtu {mtu} type veth peer name {DEVICE} netns {host.namespace}"
            for host, port in ports
        ]
        joined = [f"link set {port} master bridge0 up" for _, port in ports]
        commands = ["link add bridge0 type bridge", *pairs, *joined, "link set bridge0 up"]
        namespaces.run_ip(commands, namespace=bridge)
        for host in self.hosts:
            with self.inside(host):
                _disable_ipv6()
            self._configure(host, mtu)
            if bit_per_s is not None:
                command = (
                    f"tc -n {host.namespace} qdisc add dev {DEVICE} root tbf rate {bit_per_s}bit"
                )
                burst_bytes = max(2 * mtu, round(_BURST_S * bit_per_s / 8))
                limits = f"burst {burst_bytes} latency {1000 * QUEUE_S:.0f}ms"
                subprocess.run([*command.split(), *limits.split()], check=True)

    @staticmethod
    def _configure(host: Host, mtu: int) -> None:
        namespaces.run_ip(
            [
                "link set lo up",
                f"address add {host.address}/{NETWORK.prefixlen} dev {DEVICE}",
                f"link set {DEVICE} mtu {mtu} txqueuelen {_QUEUE_PACKETS} up",
            ],
            namespace=host.namespace,
        )


def _tun_device() -> int:
    """Make a TUN device in the namespace of the calling thread; return its descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), _IFF_TUN_NO_PI))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _disable_ipv6() -> None:
    """Have the calling thread's namespace send no packets of IPv6, which no test has asked for."""
    for setting in ("all", "default"):
        path = Path(f"/proc/sys/net/ipv6/conf/{setting}/disable_ipv6")
        if path.exists():
            path.write_text("1")
