"""Provide TensorFlow's options for performance, without effect, and the limits of a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class CommunicationImplementation(Enum):
    """The library that performs a collective."""

    AUTO = "AUTO"
    RING = "RING"
    NCCL = "NCCL"


@dataclass(frozen=True, slots=True)
class CommunicationOptions:
    """Options of one collective. Use `stall_fail_s` of a strategy to limit the time of calls."""

    bytes_per_pack: int = 0
    timeout_seconds: float | None = None
    implementation: CommunicationImplementation = CommunicationImplementation.AUTO


@dataclass(frozen=True, slots=True)
class CollectiveHints:
    """The earlier form of `CommunicationOptions`."""

    bytes_per_pack: int = 0
    timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class CrossDeviceOps:
    """How devices reduce values. This has no effect, because varsim's exchange reduces values."""


@dataclass(frozen=True, slots=True)
class ReductionToOneDevice(CrossDeviceOps):
    """Reduce on one device, and copy the result to all other devices."""

    reduce_to_device: str | None = None
    accumulation_fn: Callable[..., Any] | None = None


@dataclass(frozen=True, slots=True)
class NcclAllReduce(CrossDeviceOps):
    """Reduce with the NCCL library."""

    num_packs: int = 1


@dataclass(frozen=True, slots=True)
class HierarchicalCopyAllReduce(CrossDeviceOps):
    """Reduce first within groups of devices, then between these groups."""

    num_packs: int = 1


class InputReplicationMode(Enum):
    """The parts of a cluster that get separate datasets."""

    PER_WORKER = "PER_WORKER"
    PER_REPLICA = "PER_REPLICA"


@dataclass(frozen=True, slots=True)
class InputOptions:
    """Options of a distributed dataset; varsim's datasets are in the program's own process."""

    experimental_fetch_to_device: bool | None = None
    experimental_replication_mode: InputReplicationMode = InputReplicationMode.PER_WORKER
    experimental_place_dataset_on_device: bool = False
    experimental_per_replica_buffer_size: int = 1


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Options of one `strategy.run`. TensorFlow's options, which are for TPUs, have no effect.

    Args:
        stall_warn_s: The time after which a replica without progress is reported; 0 means never.
            By default the time of the strategy.
        stall_fail_s: The time after which a replica without progress ends the call; 0 means never.
            By default the time of the strategy.
    """

    experimental_enable_dynamic_batch_size: bool = True
    experimental_bucketizing_dynamic_shape: bool = False
    experimental_xla_options: Any = None
    stall_warn_s: float | None = None
    stall_fail_s: float | None = None
