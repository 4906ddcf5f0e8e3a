"""Replays recorded cases through varsim's public interface."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
import weakref
from pathlib import Path
from typing import Any
from unittest import mock

import varsim as tf
from tests.golden.checkpoints import Checkpoints
from tests.golden.operations import Operations, failure
from tests.golden.programs import PythonProgram
from tests.golden.recorded import Case, CaseOutcome
from tests.golden.workers import on_workers

SHARED_BY = 25
"""How many cases share a simulated cluster. The cluster checks the variables of all its cases after
every event. So a cluster with more cases is slower."""


DEVICES = 4
"""The number of devices of the machine on which TensorFlow was recorded."""


class SharedStrategies:
    """The strategies that cases share, because a start of real workers takes longer than a case.

    A strategy keeps the variables of earlier cases, but no program refers to these variables.
    """

    def __init__(self, shared_by: int | None = SHARED_BY) -> None:
        """Create new strategies after every `shared_by` cases, or never if this is None."""
        self._shared_by = shared_by
        self._replayed = 0
        self._strategies: dict[tuple[type, tuple[str, ...]], Any] = {}
        self._folder = Path(tempfile.mkdtemp())  # the folder of all cases' checkpoints
        weakref.finalize(self, shutil.rmtree, self._folder)

    def replay(self, case: Case) -> CaseOutcome:
        """Run one case. varsim's own warnings are expected. Any other warning is an error."""
        if self._shared_by is not None and self._replayed % self._shared_by == 0:
            self.close()
        self._replayed += 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", tf.VarsimWarning)
            if case.is_multi_worker:
                return self._on_workers(case)
            if not case.is_python:
                if case.family == "ckpt":
                    return Checkpoints(case, self._strategies_of(case), self._folder).replay()
                return Operations(case, self._strategy(case)).replay()
            if case.family == "ckpt":
                names = {"s": self._strategy(case), "TMP": str(self._folder)}
                return PythonProgram(case, names).replay()
            if case.is_served:
                strategy = self._strategy(case)
                coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
                return PythonProgram(case, {"s": strategy, "c": coordinator}).replay()
            if case.family != "mixing":
                return PythonProgram(case, {"s": self._strategy(case)}).replay()
            try:
                with mock.patch.dict(os.environ, VARSIM_WORKERS=str(DEVICES)):
                    return PythonProgram(case, self._several()).replay()
            finally:
                tf.distribute.experimental_set_strategy(None)

    def _on_workers(self, case: Case) -> CaseOutcome:
        try:
            return on_workers(
                case, self._mirrored(*(f"worker-{i}/CPU:0" for i in range(case.world)))
            )
        except tf.VarsimError as error:  # replicas of the failed case may still wait
            self.close()
            return CaseOutcome(workers=(CaseOutcome(error=failure(error, -1, None)),) * case.world)

    def close(self) -> None:
        """End the workers, if there are any."""
        for strategy in self._strategies.values():
            strategy.close()
        self._strategies.clear()

    def _strategies_of(self, case: Case) -> tuple[Any, Any]:
        """Return the strategy of a case, and that of the program that saved the checkpoint."""
        own = self._strategy(case) or tf.distribute.get_strategy()
        world = case.record.get("saved_by_world", 0)
        if not world:
            return own, tf.distribute.get_strategy()
        return own, self._mirrored(*(f"CPU:{i}" for i in range(world)))

    def _strategy(self, case: Case) -> Any:
        if case.is_served:
            return self._served()
        match case.strategy:
            case "mirrored":
                return self._mirrored(*(f"CPU:{i}" for i in range(case.world)))
            case "central":
                return self._central(*(f"CPU:{i}" for i in range(case.world)))
            case "one_device":
                return tf.distribute.OneDeviceStrategy("CPU:0")
            case "default":
                return tf.distribute.get_strategy()
            case "no_strategy":
                return None
        raise AssertionError(f"unknown strategy: {case.strategy}")

    def _several(self) -> dict[str, Any]:
        """Return the strategies for cases of family mixing."""
        a = self._mirrored("CPU:0", "CPU:1")
        return {
            "a": a,
            "b": self._mirrored("CPU:2", "CPU:3"),
            "o": tf.distribute.OneDeviceStrategy("CPU:1"),
            "d": tf.distribute.get_strategy(),
            "s": a,
        }

    def _mirrored(self, *devices: str) -> Any:
        return self._shared(tf.distribute.MirroredStrategy, devices)

    def _central(self, *devices: str) -> Any:
        return self._shared(tf.distribute.experimental.CentralStorageStrategy, devices)

    def _served(self) -> Any:
        """Return the strategy with 2 workers and 2 servers, whose next variable is on server 0."""
        kind = tf.distribute.ParameterServerStrategy
        if (kind, ()) in self._strategies:
            self._strategies.pop((kind, ())).close()
        self._strategies[kind, ()] = kind(workers=2, servers=2)
        return self._strategies[kind, ()]

    def _shared(self, kind: Any, devices: tuple[str, ...]) -> Any:
        if (kind, devices) not in self._strategies:
            self._strategies[kind, devices] = kind(list(devices))
        return self._strategies[kind, devices]
