"""Find out how many workers and parameter servers a program wants."""

from __future__ import annotations

from typing import Any, Final

from varsim.distribute.strategy_arguments import is_count
from varsim.errors import DistributedValueError, UnsupportedError
from varsim.launch.devices import default_devices

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
