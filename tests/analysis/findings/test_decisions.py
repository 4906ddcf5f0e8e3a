"""Each replica decides for itself how it writes a variable: the remedy is one decision for all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import varsim as tf
from tests.analysis.findings.on_one_device import DATA, Program, compared, part, variable
from tests.replica_context import replica_id
from varsim.analysis.findings.conflicts import READ_WRITE, WRITE_WRITE
from varsim.analysis.findings.divergence import DIVERGENCE
from varsim.analysis.findings.model import Finding
from varsim.analysis.findings.staleness import STALE_READ

Strategy = tf.distribute.MirroredStrategy
Writes = Callable[[float, np.ndarray, int], float | None]
"""What a replica writes: its value, its part, the number of the step → a value, or None."""

TO_PASTE = (
    "# before the decision; value: what it depends on",
    "context = tf.distribute.get_replica_context()",
    'value = context.all_reduce("MEAN", value)',
)


def deciding(writes: Writes, settings: str, *, read: bool = False) -> Program:
    """Return a program whose replicas read a variable, and may then write it.

    Args:
        read: Whether the program reads the variable at the end.
    """

    def program(strategy: Strategy) -> None:
        with strategy.scope():
            rate = variable(8.0, settings, "rate")

        def step(batch: np.ndarray, number: int) -> None:
            now = float(rate.read_value())
            value = writes(now, part(batch), number)
            if value is not None:
                rate.assign(value)

        for number, batch in enumerate(DATA):
            strategy.run(step, args=(batch, number))
        if read:
            rate.read_value()

    return program


def found(writes: Writes, settings: str, *, read: bool = False) -> list[Finding]:
    program = deciding(writes, settings, read=read)
    return compared(
        program, 4, oracle=False, kinds={STALE_READ, WRITE_WRITE, READ_WRITE, DIVERGENCE}
    )


def if_it_varies(now: float, own: np.ndarray, number: int) -> float | None:
    return 0.5 * now if own.std() > 1 else None


def double_or_halve(now: float, own: np.ndarray, number: int) -> float | None:
    return 2 * now if own.std() > 1 else now / 2


@pytest.mark.parametrize(
    ("writes", "settings", "kind", "said"),
    [
        (if_it_varies, "ON_READ ONLY_FIRST_REPLICA", STALE_READ, "did not write rate alike (in"),
        (double_or_halve, "AUTO NONE", WRITE_WRITE, "multiplied the value by 0.5 or 2, and in"),
    ],
    ids=["whether", "what"],
)
def test_one_decision_for_all_replicas_is_the_remedy(
    writes: Writes, settings: str, kind: object, said: str
) -> None:
    (finding,) = (one for one in found(writes, settings, read=True) if one.kind is kind)

    assert said in finding.what
    assert finding.what.endswith("each replica decided for itself.")
    assert "so that all replicas decide alike" in finding.remedy
    assert (TO_PASTE, None, False) == (
        finding.paste,
        finding.settings,
        finding.mended_by_settings,
    )


@pytest.mark.parametrize(
    ("writes", "settings"),
    [
        (lambda now, own, _: now / 2 if not replica_id() else None, "ON_READ ONLY_FIRST_REPLICA"),
        (
            lambda now, own, number: now / 2 if replica_id() == number % 4 else None,
            "AUTO NONE",
        ),
        (lambda now, own, _: now + own.mean(), "AUTO NONE"),
        (lambda now, own, _: now * (1 + replica_id()) / 4, "AUTO NONE"),
    ],
    ids=["a fixed replica", "in turns", "sums", "a factor of each replica"],
)
def test_writers_and_values_that_the_program_chooses_are_no_decisions(
    writes: Writes, settings: str
) -> None:
    findings = found(writes, settings, read=True)

    assert findings
    assert not any("decided for itself" in one.what for one in findings)


def test_a_state_of_each_replica_keeps_its_settings_beside_the_common_decision() -> None:
    (finding,) = found(if_it_varies, "AUTO NONE")

    assert DIVERGENCE is finding.kind
    assert finding.settings is not None
    assert '`value = context.all_reduce("MEAN", value)` before the decision' in finding.remedy


def test_replicas_that_decide_alike_have_no_finding() -> None:
    def together(now: float, own: np.ndarray, number: int) -> float | None:
        value = tf.distribute.get_replica_context().all_reduce("MEAN", own.std())
        return if_it_varies(now, np.array([0, 2 * value]), number)

    assert [] == found(together, "ON_READ ONLY_FIRST_REPLICA", read=True)
