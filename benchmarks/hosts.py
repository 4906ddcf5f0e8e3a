"""How long does a reduction over hosts take, compared with what its bytes need on the wire?

The hosts are network namespaces with links of a limited rate. The chain is the part of the hosts:
the values are in the memory of each host, and so is the result. Workers and the program take no
part. The peers are the bare all-reduce of Open MPI (TCP) and of gloo, with one process for each
worker. The contenders take turns.

The floor is the time that the bytes need at the rate of the links, without headers: with two hosts,
one value in each direction; with more, each inner host receives and sends two.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from benchmarks.measure import Quartiles, Ratio, in_bytes
from benchmarks.peer import PYTHON, Command, Peer, groups, turns_of
from benchmarks.peers.member import ADDRESS
from benchmarks.record import Rows, keep, question, show
from tests.hosts.lab import DEVICE, Host, Lab
from tests.hosts.namespaces import why_impossible

BIT_PER_S = 10**9
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

    return Peer("chain", "varsim", commands, python=sys.executable)


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


def floor_s(size_bytes: int, hosts: int, bit_per_s: int) -> float:
    """Return how long the bytes of a value need on the links."""
    return (1 if hosts == 2 else 2) * 8 * size_bytes / bit_per_s


def measure(
    hosts: int, workers: int, size_bytes: int, rounds: int, *, alone: bool
) -> tuple[Rows, dict[str, str]]:
    """Return a row for each contender, and the versions of the peers."""
    replicas = workers // hosts
    with Lab(hosts, bridged=True, bit_per_s=BIT_PER_S) as lab:
        others = [] if alone else [open_mpi(lab, replicas), gloo(lab, replicas)]
        rows: Rows = []
        with groups([chain(lab, replicas)], hosts) as ours, groups(others, workers) as theirs:
            turns = turns_of([*ours, *theirs], str(size_bytes))
            versions = {one.peer.name: one.versions for one in theirs}
            taken: dict[str, list[float]] = {name: [] for name in turns}
            for _ in range(rounds):
                for name, turn in turns.items():
                    taken[name] += turn(4)[1:]  # the first wakes processes that slept
        floor = floor_s(size_bytes, hosts, BIT_PER_S)
        for name, seconds in taken.items():
            found = Quartiles.of(seconds)
            target = TARGET if name == "chain" else None
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
    parser.add_argument("--alone", action="store_true", help="measure no peers")
    arguments = parser.parse_args()
    reason = why_impossible() or ("" if shutil.which("ip") else "there is no ip (iproute2)")
    if reason:
        raise SystemExit(reason)
    rows: Rows = []
    peers: dict[str, str] = {}
    for hosts in arguments.hosts:
        for workers in arguments.workers:
            if workers % hosts:
                parser.error(f"{workers} workers cannot be divided among {hosts} hosts")
            for size_bytes in arguments.sizes:
                measured, versions = measure(
                    hosts, workers, size_bytes, arguments.rounds or ROUNDS, alone=arguments.alone
                )
                rows += measured
                peers |= versions
    show(f"reductions over hosts with links of {BIT_PER_S / 1e9:g} Gbit/s", rows)
    if arguments.keep:
        keep("hosts", rows, peers)


if __name__ == "__main__":
    main()
