"""A simulated cluster records a complete and valid history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.effort import many
from tests.testing.programs import PROGRAMS
from varsim.analysis.outcome import Outcome
from varsim.analysis.verdict import judge
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.testing import simulated_cluster
from varsim.testing.simulation import SimulatedCluster
from varsim.tracing.history import open_history
from varsim.tracing.merge import merge
from varsim.tracing.trace import LEVELS, OFF, TraceOptions

RECORDED = [level for level in LEVELS if level != OFF]


def wrong(folder: Path) -> list[str]:
    with open_history(folder) as history:
        assert history.run["complete"]
        return [f"{v.checker}: {v.reason}" for v in judge(history) if v.outcome != Outcome.VALID]


@pytest.mark.parametrize("level", RECORDED)
def test_an_experiment_in_one_process_has_a_history(tmp_path: Path, level: str):
    out = str(tmp_path)
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload="digits", workers=3, mode="on_write", steps=2, out=out, trace=level)
        )
    folder = Path(ran.directory)

    assert [] == wrong(folder)
    with open_history(folder) as history:
        assert 3 == sum(
            event.kind == "finish" for event in history.events()
        )  # two calls train, one tests


@pytest.mark.thorough
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_the_history_is_valid_for_every_order_of_messages(program, monkeypatch):
    launch = SimulatedCluster.launch
    for seed in [None, *range(many(10))]:
        with TemporaryDirectory() as folder:
            options = TraceOptions(Path(folder))

            def traced(self, given, references, options=options):
                return launch(self, replace(given, trace=options), references)

            monkeypatch.setattr(SimulatedCluster, "launch", traced)
            with simulated_cluster(seed):
                program()
            merge(options.directory, options.directory)
            assert [] == wrong(options.directory), f"seed {seed}"
