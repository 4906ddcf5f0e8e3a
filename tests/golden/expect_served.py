"""Computes the expected outcome of a program under `ParameterServerStrategy`."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from tests.golden.encoding import encoded
from tests.golden.expect import Model
from tests.golden.recorded import Case, CaseOutcome


class ServedModel(Model):
    """One variable on a server: all settings are legal, and none of them has an effect."""

    def _check_settings(self) -> None:
        """Check nothing: the recording has only known settings, and all of them are legal."""


def replica_ids_of_closures_are_numbers(case: Case) -> CaseOutcome | None:
    """Apply D2: a replica id stays a Python number; TensorFlow returns a tensor."""
    if not case.is_served or "replica_id_in_sync_group" not in case.text:
        return None
    return CaseOutcome(returned={"type": "int", "value": 0})


def any_function_is_scheduled(case: Case) -> CaseOutcome | None:
    """Apply D16: a function without `tf.function` runs on a worker, and returns its value."""
    program = r"v = tf\.Variable\(([\d.]+)\)\nr = c\.schedule\(lambda: v\.numpy\(\)\)"
    found = re.search(program, case.text)
    if found is None or not case.is_served:
        return None
    value = np.float32(found[1])
    returned = {"type": "numpy", "dtype": "float32", "value": encoded(value)}
    state = {"per_replica": [encoded(value)], "cross_read": encoded(value)}
    return CaseOutcome(state=state, returned=returned)


def fails_on_a_worker(case: Case) -> CaseOutcome | None:
    """Apply D16: an error of a function is raised by the next join, and not by its tracing."""
    if not case.is_served or "assert_equal(1, 2)" not in case.text:
        return None
    assert case.recorded.error is not None
    at = case.program.index("c.join()")
    return CaseOutcome(error=replace(case.recorded.error, at=at))
