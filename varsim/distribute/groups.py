"""Provide groups of replicas, for collectives in which only some replicas take part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import index
from typing import Any

from varsim.distribute.strategy_arguments import is_count
from varsim.errors import ContextError, DistributedValueError
from varsim.launch.devices import host_of, kind_of
from varsim.texts.facts import name_replicas
from varsim.value_class import value_class


@value_class
class ProcessGroup:
    """Some replicas of a strategy, for collectives of only these replicas.

    `Strategy.group` makes a group. A group is a value: groups of the same replicas are equal, and a
    function can be called with a group, or return it. `replica_id in group` says whether a replica
    is a member.

    Attributes:
        replica_ids: The ids of the members, in increasing order.
        devices: The devices of all replicas of the strategy.
    """

    replica_ids: tuple[int, ...]
    devices: tuple[str, ...]

    @property
    def num_replicas_in_sync(self) -> int:
        """Return the number of replicas of the strategy."""
        return len(self.devices)

    def __len__(self) -> int:
        return len(self.replica_ids)

    def __iter__(self) -> Iterator[int]:
        return iter(self.replica_ids)

    def __contains__(self, replica_id: object) -> bool:
        return replica_id in self.replica_ids

    def __repr__(self) -> str:
        return f"ProcessGroup({name_replicas(self.replica_ids)} of {self.num_replicas_in_sync})"


def make_group(
    devices: Sequence[str], replica_ids: Any, host: str | None, kind: str | None
) -> ProcessGroup:
    """Return the group of some replicas; see `Strategy.group`.

    Args:
        devices: The name of each replica's device.
    """
    if replica_ids is None:
        members = _on_devices(devices, host, kind)
    elif host is not None or kind is not None:
        raise DistributedValueError(
            "a group has either replica ids, or a host and a kind of device; give only one of them"
        )
    else:
        members = _by_id(replica_ids, len(devices))
    return ProcessGroup(tuple(sorted(members)), tuple(devices))


def _by_id(replica_ids: Any, count: int) -> list[int]:
    given: list[Any] = list(replica_ids) if isinstance(replica_ids, Iterable) else [None]
    if not all(map(is_count, given)):
        raise DistributedValueError(
            f"strategy.group({replica_ids!r}): give a list of replica ids, such as "
            "strategy.group([0, 2]). TensorFlow's strategy.group(value) is not needed: operations "
            "run immediately"
        )
    members = [index(one) for one in given]
    beyond = sorted({one for one in members if one >= count})
    if beyond:
        raise DistributedValueError(
            f"strategy.group({members}): the strategy has no {name_replicas(beyond)}; its replicas "
            f"have the ids 0 to {count - 1}"
        )
    if not members:
        raise DistributedValueError("strategy.group([]): a group needs at least one replica")
    if len(set(members)) < len(members):
        raise DistributedValueError(
            f"strategy.group({members}): a replica occurs twice; give each replica only once"
        )
    return members


def _on_devices(devices: Sequence[str], host: str | None, kind: str | None) -> list[int]:
    if host is None and kind is None:
        raise DistributedValueError(
            "strategy.group() needs members: give replica ids, such as strategy.group([0, 2]), or "
            "host= or kind="
        )
    members = [
        replica_id
        for replica_id, device in enumerate(devices)
        if (host is None or host_of(device) == host)
        and (kind is None or kind_of(device) == str(kind).lower())
    ]
    if not members:
        wanted = [f"host={host!r}"] if host is not None else []
        wanted += [f"kind={kind!r}"] if kind is not None else []
        raise DistributedValueError(
            f"strategy.group({', '.join(wanted)}): no device fits; the devices of the strategy are "
            f"{', '.join(devices)}"
        )
    return members


def checked_group(
    group: Any, operation: str, replica_id: int, devices: Sequence[str]
) -> tuple[int, ...]:
    """Return the members of a collective's group, for its message: () for all replicas.

    Args:
        operation: The collective, for errors.
        replica_id: The replica that calls the collective.
        devices: The devices of its strategy.
    Raises:
        TypeError: `group` is not a group.
        ValueError: The group belongs to a strategy with other devices.
        ContextError: The replica is not a member.
    """
    if group is None:
        return ()
    if not isinstance(group, ProcessGroup):
        raise TypeError(
            f"{operation}(group={group!r}): a group is made by the strategy: write "
            "group=strategy.group([0, 2])"
        )
    if group.devices != tuple(devices):
        raise DistributedValueError(
            f"{operation}: {group} belongs to a strategy with the devices "
            f"{', '.join(group.devices)}, and this strategy has {', '.join(devices)}; make the "
            "group by strategy.group of this strategy"
        )
    if replica_id not in group:
        raise ContextError(
            f"{operation}: replica {replica_id} is not a member of the group of "
            f"{name_replicas(group.replica_ids)}, so it cannot take part; call the collective only "
            "if `replica_id_in_sync_group in group`"
        )
    return () if len(group) == len(devices) else group.replica_ids
