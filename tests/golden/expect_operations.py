"""Computes the expected outcome of a program that is a list of operations."""

from __future__ import annotations

import numpy as np

from tests.golden.expect import Model
from tests.golden.expect_central import CentralModel
from tests.golden.expect_served import ServedModel
from tests.golden.expect_workers import WorkersModel
from tests.golden.recorded import Case, CaseOutcome


def expected(case: Case) -> CaseOutcome:
    """Return the expected outcome: TensorFlow's, changed by D1-D16.

    Return values of writes are left out. A write returns the variable (D6), and the variable's
    value is part of the state.
    """
    kind = Model
    if case.is_central:
        kind = CentralModel
    elif case.is_served:
        kind = ServedModel
    elif case.is_multi_worker:
        kind = WorkersModel
    model = kind(case)
    with np.errstate(all="ignore"):
        return model.outcome()
