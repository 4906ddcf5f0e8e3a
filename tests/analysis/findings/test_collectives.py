"""NaN, infinity and overflow in collectives without a variable are found at the collective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest

from tests.analysis.findings.build import ProgramHistory
from varsim.texts.faces import face_of, own_part, pairing_in_words, reducing, reducing_all

NAN, INF = math.nan, math.inf


def reduced(
    *calls: Sequence[Any],
    op: str = "SUM",
    dtype: str = "float32",
    settings: str = "ON_WRITE MEAN",
    **more: Any,
):
    """Return a history with one all_reduce in each call, and a variable `w`."""
    told = ProgramHistory(len(calls[0]), w=settings)
    for given in calls:
        told.call()
        told.collective(given=given, op=op, dtype=dtype, **more)
        told.end()
    return told


def test_the_replica_that_gives_the_first_nan_is_named():
    (finding,) = reduced([1.0, 2.0, 3.0], [1.0, NAN, 3.0], [NAN, NAN, NAN]).findings()

    assert ("", (("step.py:9", 2),)) == (finding.variable, finding.locations)
    assert finding.what == (
        "Replica 1 gave the first NaN to the SUM of all_reduce in call 2 of strategy.run at "
        "step.py:9. In the same collective, replicas 0, 2 gave finite values. The result passes "
        "the NaN on to all replicas. 2 such collectives got NaN or infinity."
    )
    assert "how this value is computed by replica 1" in finding.remedy


@pytest.mark.parametrize(
    ("calls", "op", "found"),
    [
        ([[INF, 2.0], [1.0, 2.0]], "MIN", 0),
        ([[INF, INF]], "MAX", 0),
        ([[NAN, 2.0], [1.0, 2.0]], "MIN", 1),
        ([[INF, 1.0], [1.0, 1.0]], "SUM", 0),
        ([[1.0, 1.0], [INF, 1.0]], "MEAN", 1),
    ],
    ids=["MIN begins with inf", "MAX of inf", "NaN in MIN", "loss scaling", "last is infinite"],
)
def test_an_infinity_counts_if_the_op_adds_and_never_recovers(calls, op, found):
    assert ["NaN or infinity: – ×1 at step.py:9"] * found == reduced(*calls, op=op).found()


@pytest.mark.parametrize(
    ("given", "dtype"), [([1.0, INF], "float32"), ([40_000.0, 30_000.0], "float16")]
)
@pytest.mark.parametrize("reached", ["", "variable", "collective", "result"])
def test_an_infinity_that_nothing_gets_is_only_likely(given, dtype, reached):
    """As after `where(isfinite(g), g, 0)`. A value that something gets is certain."""
    told = reduced(given, dtype=dtype)
    told.call()
    if reached == "variable":
        told.merge("w", [INF, INF], at="step.py:12")
    if reached == "collective":
        told.collective(given=[INF, 0.0], locations=["step.py:20"] * 2)
    told.end()
    if reached == "result":
        told.event(-1, "take", operation="run", value=INF, replica=0, location="step.py:30")

    finding = told.findings()[0]
    assert (not reached) == (finding.certainty.name == "PATTERN")
    assert (not reached) == ("the program may mask it" in finding.what)


@pytest.mark.parametrize("settings", ["ON_WRITE MEAN", "ON_WRITE ONLY_FIRST_REPLICA"])
def test_a_variable_that_gets_the_result_only_follows(settings):
    """The variable has no finding of its own, but one that one replica made NaN has one."""
    told = reduced([INF, 1.0], [1.0, 1.0], settings=settings)  # the last collective is finite
    told.call()
    told.merge("w", [INF, INF], at="step.py:12")
    told.end()

    (finding,) = told.findings()
    assert "Replicas then wrote NaN or infinity to: w at step.py:12." in finding.what


def test_a_variable_that_was_first_is_the_cause():
    told = ProgramHistory(2, w="ON_WRITE MEAN")
    told.call()
    told.merge("w", [1.0, NAN], at="step.py:4")
    told.collective(given=[NAN, NAN])
    told.end()
    assert ["NaN or infinity: w ×1 at step.py:4"] == told.found()


@pytest.mark.parametrize(
    ("given", "op", "dtype", "exact", "wider"),
    [
        ([40_000.0, 30_000.0], "SUM", "float16", "70,000", "float32"),
        ([40_000.0, 30_000.0], "MEAN", "float16", "35,000", "float32"),
        ([100, 100], "SUM", "int8", "200", "int64"),
        ([200, 100], "MEAN", "uint8", "150", "int64"),
    ],
)
def test_a_sum_that_does_not_fit_is_found(given, op, dtype, exact, wider):
    (finding,) = reduced([1, 1], given, op=op, dtype=dtype).findings()

    assert "overflow of a sum" == finding.kind.name
    assert (("step.py:9", 1),) == finding.locations
    assert f" {exact}, " in finding.what
    assert f"value.astype(np.{wider})" in finding.remedy
    assert ("value / num_replicas_in_sync" in finding.remedy) == (dtype == "float16")


@pytest.mark.parametrize(
    ("counted", "lines"),
    [
        ("", ["context = ", 'value = context.all_reduce("SUM", value.astype(np.float32))']),
        ("hvd.size() at a.py:1", ["value = hvd.allreduce(value.astype(np.float32), op=hvd.Sum)"]),
        (
            "dist.get_world_size() at a.py:1",
            ["value = value.astype(np.float32)", "dist.all_reduce(value, op=dist.ReduceOp.SUM)"],
        ),
    ],
)
def test_the_lines_to_paste_use_the_face_of_the_program(counted, lines):
    told = reduced([40_000.0, 30_000.0], dtype="float16")
    told.about["counted"] = [counted] if counted else []
    (overflow,) = told.findings()
    assert len(lines) == len(overflow.paste)
    assert all(map(str.startswith, overflow.paste, lines))

    face = face_of([counted])
    assert ("context" in own_part(face)[0]) == (not counted)
    *_, last = reducing_all(face, "SUM")
    assert lines[-1].partition(".")[0].removeprefix("value = ") in last
    assert "prod" in reducing(face, "PROD", "value")[-1].lower()
    assert ("as a dict" in pairing_in_words(face)) == (not counted)


def test_bfloat16_overflows_too():
    pytest.importorskip("ml_dtypes")
    told = reduced([3e38, 3e38], dtype="bfloat16")
    assert ["overflow of a sum: – ×1 at step.py:9"] == told.found()


@pytest.mark.parametrize(
    "told",
    [
        reduced([40_000.0, 30_000.0], [20_000.0, 30_000.0], dtype="float16"),
        reduced([60, 60], dtype="int8"),
        reduced([200, 200], dtype="uint8", op="MAX"),
        reduced([100, 100], dtype="int8", operation="all_gather"),
    ],
    ids=["loss scaling", "fits", "MAX", "all_gather"],
)
def test_a_sum_that_fits_or_recovers_is_no_finding(told):
    assert [] == told.found()


def test_a_variable_after_an_overflow_only_follows():
    told = reduced([40_000.0, 30_000.0], dtype="float16")
    told.call()
    told.merge("w", [INF, INF], at="step.py:12")
    told.end()
    (finding,) = told.findings()
    assert "overflow of a sum" == finding.kind.name
    assert "Replicas then wrote NaN or infinity to: w at step.py:12" in finding.what
