"""Run small programs on several replicas and on a single device, and compare the results."""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

import varsim as tf
from tests.replica_context import replica_id
from varsim.analysis.findings.amounts import Sums
from varsim.analysis.findings.compared import Compared
from varsim.analysis.findings.model import Finding, FindingKind
from varsim.analysis.findings.overflow import OVERFLOW
from varsim.analysis.findings.remainders import Remainders
from varsim.analysis.findings.scaling_messages import (
    FIRST_REPLICA_ONLY,
    MEAN_OF_MEANS,
    TRUNCATION,
    WRONG_FACTOR,
)
from varsim.analysis.returned import ReturnedValue
from varsim.analysis.search import find_and_compare
from varsim.testing import simulated_cluster
from varsim.tracing.history import History, open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import TraceOptions

Program = Callable[[tf.distribute.MirroredStrategy], None]

ABOUT_VALUES = {
    WRONG_FACTOR,
    MEAN_OF_MEANS,
    FIRST_REPLICA_ONLY,
    TRUNCATION,
    OVERFLOW,
    *Sums.kinds,
    *Remainders.kinds,
}

DATA = np.random.default_rng(7).normal(3, 1, (8, 24)).astype(np.float32)
"""Eight batches of examples."""


def variable(initial: Any, settings: str, name: str = "v", **more: Any) -> Any:
    """Create a variable with settings like "ON_WRITE SUM"."""
    synchronization, aggregation = settings.split()
    return tf.Variable(
        initial,
        name=name,
        synchronization=tf.VariableSynchronization[synchronization],
        aggregation=tf.VariableAggregation[aggregation],
        **more,
    )


def part(batch: np.ndarray, *, uneven: bool = False) -> np.ndarray:
    """Return a replica's part of a batch. If uneven, replica 0 gets three times as many rows."""
    count = tf.distribute.get_strategy().num_replicas_in_sync
    cuts = np.arange(count + 1) + (2 * np.minimum(np.arange(count + 1), 1) if uneven else 0)
    cuts = len(batch) * cuts // cuts[-1]
    return batch[cuts[replica_id()] : cuts[replica_id() + 1]]


def on_each_batch(strategy: tf.distribute.MirroredStrategy, step: Callable[[Any], Any]) -> None:
    """Run a step on every replica for each batch."""
    for batch in DATA:
        strategy.run(step, args=(batch,))


def compared(
    program: Program,
    num_replicas: int = 2,
    *,
    oracle: bool = True,
    returned: Sequence[ReturnedValue] = (),
    kinds: Container[FindingKind] = ABOUT_VALUES,
) -> list[Finding]:
    """Return a program's findings of these kinds, by default the kinds about values."""
    found, _ = _seen(program, num_replicas, oracle=oracle, returned=returned)
    return [one for one in found if one.kind in kinds]


def comparison(program: Program, num_replicas: int = 2, *, counts: bool = True) -> Compared:
    """Return the comparison of a program with a single device.

    Args:
        counts: Whether the program asks for the number of replicas, even if it does not use it.
    """
    compared = _seen(program, num_replicas, oracle=True, counts=counts)[1]
    assert compared is not None
    return compared


def _seen(
    program: Program,
    num_replicas: int,
    *,
    oracle: bool,
    counts: bool = True,
    returned: Sequence[ReturnedValue] = (),
) -> tuple[tuple[Finding, ...], Compared | None]:
    with records_of(program, num_replicas, counts=counts) as (history, single):
        return find_and_compare(history, single if oracle else None, returned=returned)


@contextmanager
def records_of(
    program: Program, num_replicas: int = 2, *, counts: bool = True
) -> Iterator[tuple[History, History]]:
    """Provide the histories of a program on several replicas, and on a single device."""
    with tempfile.TemporaryDirectory() as folder:
        many, one = Path(folder, "many"), Path(folder, "one")
        _record(program, num_replicas, many, counts=counts)
        _record(program, 1, one, counts=counts)
        with open_history(many) as history, open_history(one) as single:
            yield history, single


def in_short(found: list[Finding], program: Program) -> list[str]:
    """Return the kind and the variable of each finding.

    If the line of the finding does not end with `# here`, the line is added.
    """
    lines, first = inspect.getsourcelines(program)
    return [f"{one.kind.name}: {one.variable}{_elsewhere(one, lines, first)}" for one in found]


def _elsewhere(finding: Finding, lines: list[str], first: int) -> str:
    line = lines[int(finding.locations[0][0].rpartition(":")[2]) - first].strip()
    return "" if line.endswith("# here") else f" at {line}"


def _record(program: Program, num_replicas: int, folder: Path, *, counts: bool) -> None:
    folder.mkdir()
    devices = [f"cpu:{number}" for number in range(num_replicas)]
    with simulated_cluster(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with tf.distribute.MirroredStrategy(devices, trace=TraceOptions(folder)) as strategy:
            assert not counts or strategy.num_replicas_in_sync == num_replicas
            program(strategy)
    merge(folder, folder)
