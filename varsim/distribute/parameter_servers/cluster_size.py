"""Find out how many workers and parameter servers a program wants."""

from __future__ import annotations

from typing import Any, Final

from varsim.distribute.lost_workers import LostWorkers
from varsim.distribute.strategy_arguments import AUTO_MEANS, is_count
from varsim.distribute.supervision import Choices, Supervisor
from varsim.errors import DistributedValueError, UnsupportedError
from varsim.launch.devices import default_devices
from varsim.launch.launcher import Backends
from varsim.texts.uneven import UNEVEN

DEFAULT_SERVERS: Final = 1

_LOCAL: Final = ("localhost", "127.0.0.1", "[::1]", "::1", "")


def cluster_size(resolver: Any, workers: int | None, servers: int | None) -> tuple[int, int]:
    """Return the numbers of workers and servers.

    Args:
        resolver: An object whose `cluster_spec()` has the jobs "worker" and "ps", as TensorFlow's
            cluster resolvers; or None. Only its numbers are used.
    Raises:
        ValueError: A number is wrong; or there are both a resolver and numbers.
        UnsupportedError: An address of the resolver is on another host.
    """
    if resolver is None:
        chosen = len(default_devices()) if workers is None else workers
        return (
            _at_least_one(chosen, "workers"),
            _at_least_one(DEFAULT_SERVERS if servers is None else servers, "servers"),
        )
    if workers is not None or servers is not None:
        raise DistributedValueError(
            "give either a cluster_resolver, or the numbers `workers` and `servers`"
        )
    jobs = _jobs_of(resolver)
    return _at_least_one(len(jobs["worker"]), "workers"), _at_least_one(len(jobs["ps"]), "servers")


def chosen_workers(supervisor: Supervisor, workers: int, location: str, decided: str) -> int:
    """Return the number of workers that a run's settings give, or else the program's number.

    Args:
        workers: The program's number, or the default.
        location: The file:line at which the program creates the strategy.
        decided: How the program decides the number, as a clause; "" if it leaves it open.
    Raises:
        ConfigError: Both the program and the run give a number; or the run's settings do not fit.
    """
    said = Choices(
        strategy="ParameterServerStrategy",
        devices=None,
        backends=Backends(transport="ipc"),
        strict=False,
        auto=AUTO_MEANS[0],
        uneven=UNEVEN[0],
        stall_times=(None, None),
        link_loss_s=None,
        lost_workers=LostWorkers(),
        location=location,
        has_servers=True,
        decided=decided,
    )
    chosen = supervisor.choose(said)
    return workers if chosen.devices is None else len(chosen.devices)


def _at_least_one(number: Any, what: str) -> int:
    if not is_count(number) or not number:
        raise DistributedValueError(f"{what}={number!r}: expected an int of at least 1")
    return int(number)


def _jobs_of(resolver: Any) -> dict[str, list[str]]:
    spec = resolver.cluster_spec() if hasattr(resolver, "cluster_spec") else resolver
    spec = spec.as_dict() if hasattr(spec, "as_dict") else spec
    if not isinstance(spec, dict) or not {"worker", "ps"} <= spec.keys():
        raise DistributedValueError(
            "the cluster_resolver must have the jobs 'worker' and 'ps': its cluster_spec() is "
            f"{spec!r}"
        )
    jobs = {name: [str(one) for one in spec[name]] for name in ("worker", "ps")}
    for address in (*jobs["worker"], *jobs["ps"]):
        host = address.rpartition(":")[0] if ":" in address else address
        if host not in _LOCAL:
            raise UnsupportedError(
                f"the cluster_resolver has the address {address}, but varsim starts all workers "
                "and servers on this host: leave out the cluster_resolver, and give "
                f"workers={len(jobs['worker'])}, servers={len(jobs['ps'])}"
            )
    return jobs
