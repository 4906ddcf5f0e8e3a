"""Computes what one worker sees of a program on one variable under MultiWorkerMirroredStrategy."""

from __future__ import annotations

from dataclasses import replace

from tests.golden.expect import Array, ExpectedError, Model, read_as
from tests.golden.recorded import Case, CaseOutcome, Json


class WorkersModel(Model):
    """The components on all workers; the outcome is that of one worker, which sees its own one."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._worker = case.worker

    def outcome(self) -> CaseOutcome:
        """Run the program, and keep the component of this worker."""
        found = super().outcome()
        if found.error is not None:
            after = found.error.after
            own = None if after is None else [after[self._worker]]
            return CaseOutcome(error=replace(found.error, after=own))
        state = dict(found.state)
        state["per_replica"] = [state["per_replica"][self._worker]]
        if "attrs" in state:
            own_device = {"devices": ["CPU:0"], "num_components": 1}
            state["attrs"] = {**state["attrs"], **own_device}
        return CaseOutcome(state=state, returned=found.returned)

    def _perform(self, operation: str, *arguments: Json) -> None:
        if operation != "component":
            super()._perform(operation, *arguments)
            return
        number, method, recorded = arguments  # each worker writes its only component
        if number != 0:
            raise ExpectedError("IndexError")
        values = self._values(recorded)
        self._write_all(method, values)

    def _write(self, where: str, method: str, recorded: Json) -> None:
        """Refuse different values of a merge_call, which are plain values on each worker (D11)."""
        if where == "merge":
            recorded = self._agreed(method, recorded)
        super()._write("cross" if where == "merge" else where, method, recorded)

    def _agreed(self, method: str, recorded: Json) -> Json:
        """Return the value that all workers write in a merge_call."""
        kind, value = next((k, x) for k, x in recorded.items() if k != "dtype")
        if not kind.startswith("per_replica"):
            return recorded
        refused = self._on_read and (
            self._aggregation == "NONE" or (self._aggregation == "SUM" and method != "assign")
        )
        if len({repr(one) for one in value}) > 1 and not refused:
            raise ExpectedError("ValueError")
        one = {kind.removeprefix("per_replica_").replace("tensor", "shared_tensor"): value[0]}
        return {**one, **({"dtype": recorded["dtype"]} if "dtype" in recorded else {})}

    def _read(self, context: str, how: str) -> Json:
        return read_as(self._seen(context), how)

    def _seen(self, context: str) -> Array:
        """Return what this worker reads: its own component, unless the read combines components."""
        own = self._part(self._worker)
        return own if context in ("replica", "update") or not self._local else self._cross_read()

    def _cross_read(self) -> Array:
        return super()._cross_read() if self._local else self._part(self._worker)
