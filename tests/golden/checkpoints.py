"""Replays programs that save a checkpoint, or restore one: see README.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import varsim as tf
from tests.golden.encoding import encoded
from tests.golden.operations import Operations
from tests.golden.recorded import Case, CaseOutcome, Json
from tests.golden.terms import per_replica

SUFFIX: Final = ".safetensors"

WRITTEN: Final = {"float": [1.5, 2.25, -4.0, 7.125], "int": [3, 4, -9, 15]}
"""Kind of dtype → the values that replicas write before varsim saves a checkpoint to restore."""


class Checkpoints(Operations):
    """One running program with a checkpoint.

    For a case that restores, varsim also makes the checkpoint. The id of the case has the settings
    of the saved variable, and `saved_by_world` is the number of its replicas.
    """

    def __init__(self, case: Case, strategies: tuple[Any, Any], folder: Path) -> None:
        """Prepare a program.

        Args:
            strategies: The program's strategy, and the strategy of the saved variable.
            folder: The folder of checkpoints; a case restores the checkpoint of an earlier case.
        """
        super().__init__(case, strategies[0])
        self._saving = strategies[1]
        self._folder = folder
        self._state_of_save: dict[str, Json] = {}

    def _perform(self, operation: str, *arguments: Any) -> Any:
        if operation == "save":
            self._state_of_save = self._saved(self._variable, "saved")
            return None
        if operation == "restore":
            self._restore()
            return None
        return super()._perform(operation, *arguments)

    def _saved(self, variable: Any, name: str) -> dict[str, Json]:
        from safetensors.numpy import load_file

        path = tf.train.Checkpoint(v=variable).write(self._folder / name)
        arrays = load_file(path + SUFFIX)
        (key,) = arrays
        assert key == "v/.ATTRIBUTES/VARIABLE_VALUE"
        return {"saved": encoded(arrays[key]), "num_tensors": len(arrays)}

    def _restore(self) -> None:
        name = self._case.id.partition("-to-")[0].replace("/", "-")
        if not (self._folder / f"{name}{SUFFIX}").exists():
            self._make(name)
        tf.train.Checkpoint(v=self._variable).read(self._folder / name).assert_consumed()

    def _make(self, name: str) -> None:
        _, synchronization, aggregation, dtype, _ = self._case.id.split("/")
        strategy = self._saving
        with strategy.scope():
            variable = tf.Variable(
                0,
                dtype=dtype,
                synchronization=tf.VariableSynchronization[synchronization],
                aggregation=tf.VariableAggregation[aggregation],
            )
        values = WRITTEN[dtype.rstrip("0123456789")]
        each = strategy.experimental_distribute_values_from_function(
            lambda context: values[context.replica_id_in_sync_group]
        )
        strategy.run(variable.assign, args=(each,))
        saved = self._saved(variable, name)["saved"]
        assert repr(saved) == repr(self._case.record["saved"]), f"{self._case.id}: saved {saved}"

    def replay(self) -> CaseOutcome:
        """Run the program. The outcome of a program that saves has no cross-replica value."""
        ours = super().replay()
        if ours.error is not None:
            return ours
        if self._case.program[-1] != ["save"]:
            return CaseOutcome(state=ours.state)
        state = {"per_replica": per_replica(self._variable), **self._state_of_save}
        return CaseOutcome(state=state)
