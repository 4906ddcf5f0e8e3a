"""Computes the expected outcome of programs whose sums TensorFlow adds in another order (D8)."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tests.golden.encoding import encoded
from tests.golden.expect import Array
from tests.golden.expect_python import aggregated, described, on_each
from tests.golden.recorded import Case, CaseOutcome, Json

LEFT_FOLD_BYTES = 64
"""Up to this size of a tensor TensorFlow also adds in replica order."""


def folds_left(case: Case) -> CaseOutcome | None:
    """Apply D8: fold the sum in replica order, and divide it by W for the mean.

    The rule is for sums that TensorFlow computes as a ring (an all_reduce, or any sum of several
    workers, of more than 64 bytes; or several tensors packed into one), and for means that it
    computes with the reciprocal of W (in a tf.function).
    """
    op = re.search(r'"(SUM|MEAN)"|VA\.(MEAN|SUM)', case.text)
    if op is None or case.topic != "numerics" or not case.is_mirrored:
        return None
    how = op[1] or op[2]
    inputs = _inputs(case)
    is_large = max(x[0].nbytes for x in inputs) > LEFT_FOLD_BYTES
    rings = is_large and ("all_reduce(" in case.text or case.is_multi_worker)
    packs = case.in_function and len(inputs) > 1
    multiplies = case.in_function and how == "MEAN"
    if not (rings or packs or multiplies):
        return None
    with np.errstate(all="ignore"):
        totals = [aggregated(x, how) for x in inputs]
    if "v.assign(y)" in case.text:
        total = encoded(totals[0])
        parts = [total] * case.world
        if case.is_multi_worker:
            parts = [encoded(inputs[0][case.worker]) if "VS.ON_READ" in case.text else total]
        return CaseOutcome(state={"per_replica": parts, "cross_read": total}, returned=_nothing())
    if "s.reduce(" in case.text:
        return CaseOutcome(returned=described(totals[0]))
    items = [on_each(total, case) for total in totals]
    if "[p, q]" in case.text:
        return CaseOutcome(returned={"type": "list", "items": items})
    return CaseOutcome(returned=items[0])


def _nothing() -> Json:
    return {"type": "None"}


def _inputs(case: Case) -> list[list[Array]]:
    """Return the tensors of the program's first line, with one value per replica for each."""
    names: dict[str, Any] = {"W": case.world, "PR": _per_replica}
    exec(case.program[0], names)
    return [names[name] for name in ("x", "y") if name in names]


def _per_replica(values: list[Any], dtype: str) -> list[Array]:
    return [np.array(value, dtype) for value in values]


def is_near(case: Case, expected: CaseOutcome) -> bool:
    """Return whether TensorFlow's result equals the expected result within rounding.

    The error of a sum of W numbers in any order is at most W roundings of the sum of their
    magnitudes; the reciprocal adds one rounding.
    """
    inputs = _inputs(case)
    theirs, ours = _numbers(case.recorded), _numbers(expected)
    if theirs.shape != ours.shape:
        return False
    magnitude = max(float(np.abs(x).sum(axis=0, dtype=np.float64).max()) for x in inputs)
    step = float(np.finfo(inputs[0][0].dtype).eps)
    return bool(np.all(np.abs(theirs - ours) <= (case.world + 1) * step * magnitude))


def _numbers(outcome: CaseOutcome) -> Array:
    """Return all numbers of an outcome, in order."""
    found: list[float] = []

    def collect(value: Json) -> None:
        if isinstance(value, dict):
            for key in sorted(value):
                collect(value[key])
        elif isinstance(value, list):
            for member in value:
                collect(member)
        elif isinstance(value, int | float):
            found.append(float(value))

    collect([outcome.returned, dict(outcome.state)])
    return np.array(found)
