"""Provide `CentralStorageStrategy`: every variable has one copy, in the program's process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from varsim.distribute.extended import Extended
from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.policies import synchronization_of
from varsim.distribute.strategy_arguments import checked_devices
from varsim.spec import Array, VariableSpec
from varsim.sync.policies.central import Central

PARAMETER_DEVICE: Final = "cpu:0"


class CentralStorageStrategy(MirroredStrategy):
    """Synchronous training on several replicas, with one copy of each variable.

    The coordinator, which is in the program's process, has the copies. `fn` of `run` computes on
    the replicas, each in a separate worker process. A write of the replicas is aggregated, and
    changes the copy once. The synchronization of a variable has no effect.

    Args:
        compute_devices: The name of the simulated hardware of each replica, like `devices` of
            `MirroredStrategy`.
        parameter_device: The name of the simulated hardware of the copies.
        options: The keyword arguments of `MirroredStrategy`, except `auto`.
    Raises:
        ValueError, ConfigError, StartError: As `MirroredStrategy`.
    Source: `tf.distribute.experimental.CentralStorageStrategy`.
    """

    parameter_device = PARAMETER_DEVICE

    def __init__(
        self,
        compute_devices: Sequence[str] | None = None,
        parameter_device: str | None = None,
        **options: Any,
    ) -> None:
        if "auto" in options:
            raise TypeError(
                "CentralStorageStrategy has no argument 'auto': the synchronization of its "
                "variables has no effect"
            )
        (self.parameter_device,) = checked_devices([parameter_device or PARAMETER_DEVICE])
        super().__init__(compute_devices, **options)

    def _set_up(self, strategy_id: int, devices: tuple[str, ...]) -> None:
        super()._set_up(strategy_id, devices)
        self._extended = CentralStorageExtended(self)

    def in_force(self, asked: VariableSpec, value: Array) -> VariableSpec:
        """Return the spec of a new variable, which has one copy."""
        return replace(asked, synchronization=synchronization_of(Central()))


class CentralStorageExtended(Extended):
    """`extended` of `CentralStorageStrategy`."""

    def __init__(self, strategy: CentralStorageStrategy) -> None:
        super().__init__(strategy)
        self._holder = f"/device:{strategy.parameter_device.upper()}"

    @property
    def parameter_devices(self) -> tuple[str, ...]:
        """Return the device that holds the variables."""
        return (self._holder,)

    def non_slot_devices(self, var_list: Any) -> tuple[str, ...]:
        """Return the device of an optimizer's variables that are not slots."""
        return self.parameter_devices
