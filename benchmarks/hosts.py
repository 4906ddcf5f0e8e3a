"""How long does a reduction over hosts take, compared with what its bytes need on the wire?

The hosts are network namespaces with links of a limited rate. `varsim` is a whole cluster, by each
exchange: a step in which each replica writes a value of this size, with the program on the first
host. `hosts only` is the part of the hosts in the exchange `chain`: the values are in the memory of
each host, and so is the result. The peers are the bare all-reduce of Open MPI (TCP) and of gloo,
with one process for each worker. The contenders take turns.

The floor is the time that the bytes need at the rate of the links, without headers: with two hosts,
one value in each direction; with more, each inner host receives and sends two.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain as chained
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio, in_bytes
from benchmarks.peer import PYTHON, Command, Peer, groups, turns_of
from benchmarks.peers.member import ADDRESS
from benchmarks.record import Rows, keep, question, show
from tests.hosts.lab import DEVICE, Host, Lab
from tests.hosts.namespaces import why_impossible

BIT_PER_S = 10**9
_PORTS = 7_000  # the first port of the programs
EXCHANGES = ("chain", "star")
TARGET = 1.5
MIB = 2**20
SIZES = (MIB, 16 * MIB)
ROUNDS = 10

_AGENT = """\
#!/bin/sh
# mpirun calls this with a host and a command
case "$1" in
{cases}
esac
shift
exec ip netns exec "$namespace" unshare --uts sh -c "hostname $namespace; $*"
"""


def in_host(host: Host, words: list[str]) -> list[str]:
    """Return the command that runs a command in a host."""
    return ["ip", "netns", "exec", host.namespace, *words]


def chain(lab: Lab, replicas: int) -> Peer:
    """Return the hosts of a chain, each with its replicas."""

    def commands(_: int, folder: Path) -> list[Command]:
        words = [sys.executable, "-m", "benchmarks.peers.chain"]
        count, last = str(len(lab.hosts)), [str(replicas), str(folder)]
        return [
            (in_host(one, [*words, str(one.number), count, one.address, *last]), {})
            for one in lab.hosts
        ]

    return Peer("hosts only", "varsim", commands, python=sys.executable)


def cluster(lab: Lab, workers: int, exchange: str) -> Peer:
    """Return a program of varsim on the first host, with workers on all hosts."""

    def commands(_: int, folder: Path) -> list[Command]:
        first, key = lab.hosts[0], folder / "key"
        listen = f"{first.address}:{_PORTS + 2 * EXCHANGES.index(exchange)}"
        words = [sys.executable, "-m", "benchmarks.peers.cluster", exchange, listen, str(key)]
        # An agent needs the key when it starts.
        waits = 'while [ ! -s "$1" ]; do sleep 0.1; done; exec "$2" -P -m varsim worker '
        waits += '--coordinator "tcp://$3" --key "$1" --rank "$4"'
        agents = [
            ["sh", "-c", waits, "sh", str(key), sys.executable, listen, str(one.number)]
            for one in lab.hosts
        ]
        return [
            (in_host(first, [*words, str(len(lab.hosts)), str(workers)]), {}),
            *((in_host(host, agent), {}) for host, agent in zip(lab.hosts, agents, strict=True)),
        ]

    name = f"varsim, {exchange}"
    return Peer(name, "varsim", commands, has_members=False, python=sys.executable)


def open_mpi(lab: Lab, replicas: int) -> Peer:
    """Return Open MPI with a rank for each replica, over TCP between hosts."""

    def commands(_: int, folder: Path) -> list[Command]:
        cases = "\n".join(f"{one.address}) namespace={one.namespace};;" for one in lab.hosts)
        agent = folder / "agent"
        agent.write_text(_AGENT.format(cases=cases))
        agent.chmod(0o700)
        settings = {
            "plm_rsh_agent": str(agent),
            "btl": "tcp,self,vader",
            "btl_tcp_if_include": DEVICE,
            "oob_tcp_if_include": DEVICE,
        }
        mca = [word for name, value in settings.items() for word in ("--mca", name, value)]
        as_root = ["--allow-run-as-root"] if os.getuid() == 0 else []
        hosts = ",".join(f"{one.address}:{replicas}" for one in lab.hosts)
        words = ["mpirun", *as_root, "--oversubscribe", *mca, "-x", ADDRESS, "--host", hosts]
        first = lab.hosts[0]
        named = f'hostname {first.namespace}; exec "$@"'
        words = ["unshare", "--uts", "sh", "-c", named, "sh", *words]
        return [(in_host(first, [*words, PYTHON, "-m", "benchmarks.peers.openmpi"]), {})]

    return Peer("Open MPI", "mpi4py", commands, "mpirun")


def gloo(lab: Lab, replicas: int) -> Peer:
    """Return gloo with a process for each replica."""

    def commands(count: int, folder: Path) -> list[Command]:
        words = [PYTHON, "-m", "benchmarks.peers.gloo"]
        every = [one for one in lab.hosts for _ in range(replicas)]
        return [
            (
                in_host(one, [*words, str(i), str(count), str(folder / "rendezvous")]),
                {"GLOO_SOCKET_IFNAME": DEVICE},
            )
            for i, one in enumerate(every)
        ]

    return Peer("gloo", "torch", commands)


@dataclass(frozen=True, slots=True)
class Network:
    """The links of the hosts."""

    bit_per_s: int
    delay_s: float

    def __str__(self) -> str:
        delay = f" and {1000 * self.delay_s:g} ms" if self.delay_s else ""
        return f"links of {self.bit_per_s / 1e9:g} Gbit/s{delay}"

    def lab(self, hosts: int) -> Lab:
        """Return hosts with these links. Only a switch delays packets; a bridge is faster."""
        if not self.delay_s:
            return Lab(hosts, bridged=True, bit_per_s=self.bit_per_s)
        lab = Lab(hosts, mtu=9000)
        lab.switch.shape(bit_per_s=self.bit_per_s, delay_s=self.delay_s)
        return lab


def floor_s(size_bytes: int, hosts: int, network: Network) -> float:
    """Return how long the bytes of a value need on the links."""
    return network.delay_s + (1 if hosts == 2 else 2) * 8 * size_bytes / network.bit_per_s


def measure(
    hosts: int, workers: int, size_bytes: int, rounds: int, *, network: Network, alone: bool
) -> tuple[Rows, dict[str, str]]:
    """Return a row for each contender, and the versions of the peers."""
    replicas = workers // hosts
    with network.lab(hosts) as lab:
        others = [] if alone else [open_mpi(lab, replicas), gloo(lab, replicas)]
        rows: Rows = []
        clusters = [cluster(lab, workers, exchange) for exchange in EXCHANGES]
        with ExitStack() as stack:
            there = [
                *stack.enter_context(groups([chain(lab, replicas)], hosts)),
                *chained.from_iterable(stack.enter_context(groups([one], 1)) for one in clusters),
                *stack.enter_context(groups(others, workers)),
            ]
            turns = turns_of(there, str(size_bytes))
            versions = {one.peer.name: one.versions for one in there}
            taken: dict[str, list[float]] = {name: [] for name in turns}
            for _ in range(rounds):
                for name, turn in turns.items():
                    taken[name] += turn(4)[1:]  # the first wakes processes that slept
        floor = floor_s(size_bytes, hosts, network)
        for name, seconds in taken.items():
            found = Quartiles.of(seconds)
            target = TARGET if name == "varsim, chain" else None
            rows.append(
                {
                    "hosts": hosts,
                    "workers": workers,
                    "size": in_bytes(size_bytes),
                    "contender": name,
                    "reduction": found,
                    "this / floor": Ratio(found.median / floor, target),
                }
            )
    return rows, versions


def main() -> None:
    """Measure, print, and keep the results if asked."""
    parser = question(__doc__, (4,))
    parser.add_argument("--hosts", type=int, nargs="+", default=[2])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--bit-per-s", type=int, default=BIT_PER_S, help="rate of the links")
    parser.add_argument("--delay-ms", type=float, default=0.0, help="delay of the links")
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    arguments = parser.parse_args()
    reason = why_impossible() or ("" if shutil.which("ip") else "there is no ip (iproute2)")
    if reason:
        raise SystemExit(reason)
    network = Network(arguments.bit_per_s, arguments.delay_ms / 1000)
    rows: Rows = []
    peers: dict[str, str] = {}
    for hosts in arguments.hosts:
        for workers in arguments.workers:
            if workers % hosts:
                parser.error(f"{workers} workers cannot be divided among {hosts} hosts")
            for size_bytes in arguments.sizes:
                measured, versions = measure(
                    hosts,
                    workers,
                    size_bytes,
                    arguments.rounds or ROUNDS,
                    network=network,
                    alone=arguments.alone,
                )
                rows += measured
                peers |= versions
    show(f"reductions over hosts with {network}", rows)
    if arguments.keep:
        keep("hosts", rows, peers)


if __name__ == "__main__":
    main()
