"""Computes the expected outcome of a program on one variable under `CentralStorageStrategy`."""

from __future__ import annotations

import numpy as np

from tests.golden.expect import Array, ExpectedError, Model, read_as, scattered
from tests.golden.recorded import Case, Json


class CentralModel(Model):
    """One copy of the variable: all settings are legal, and the synchronization has no effect."""

    def __init__(self, case: Case) -> None:
        super().__init__(case)
        self._world = case.world
        self._aggregation = case.aggregation
        self._copies = 1

    def _check_settings(self) -> None:
        """Check nothing: the recording has only known settings, and all of them are legal."""

    def _write(self, where: str, method: str, recorded: Json) -> None:
        if "scatter" in method:
            self._scatter(where, method, recorded)
            return
        value = self._values(recorded)[0]  # the program's PerReplica stands for its first value
        if where == "replica":
            is_mean_of_integers = self._aggregation == "MEAN" and np.dtype(self._dtype).kind in "iu"
            if self._aggregation == "NONE" or is_mean_of_integers:
                raise ExpectedError("ValueError")
            value = self._aggregated(self._values(recorded), method)
        self._write_all(method, [value])

    def _part(self, replica_id: int) -> Array:
        return super()._part(0)

    def _scatter(self, where: str, method: str, recorded: Json) -> None:
        """Write rows to the copy; rows of replicas are written in replica order."""
        kind, value = next(iter(recorded.items()))
        per_replica = kind == "per_replica_slices"
        if per_replica and where != "replica":
            raise ExpectedError("TypeError")  # a PerReplica has no `values` and `indices`
        each = value if per_replica else [value] * (self._world if where == "replica" else 1)
        for rows in self._rows(each, kind, recorded.get("dtype", self._dtype)):
            self._parts = [scattered(method, self._part(0), rows)]

    def _read(self, context: str, how: str) -> Json:
        value = read_as(self._part(0), how)
        if context not in ("replica", "merge"):
            return value
        return {"type": "PerReplica", "values": [value] * self._world}
