"""Objects as HTML for notebooks: what it shows, that it is escaped, small and without colours."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import varsim as tf
from tests.rendering import renderer  # noqa: F401  # a fixture
from tests.report.summaries import lens, summary, variable_summary
from tests.webpage.test_sweep_page import ROWS
from varsim.analysis.findings.model import Findings
from varsim.charts.series_chart import Line, line_chart
from varsim.distribute.values import PerReplica
from varsim.experiments.finished_run import FinishedRun, RunResult
from varsim.experiments.metric_series import Series
from varsim.notebook.charts import drawn
from varsim.report.run_rows import Comparison
from varsim.report.summary import Failure, Judgement, RunStatus
from varsim.testing import simulated_cluster

EVIL = "<script>alert(1)</script>&'\""
pytestmark = pytest.mark.usefixtures("renderer")

SYNC, AGGREGATION = tf.VariableSynchronization, tf.VariableAggregation


@pytest.fixture(autouse=True)
def _in_one_process() -> Iterator[None]:
    with simulated_cluster():
        yield


def root_of(shown: Any) -> ET.Element:
    """Return the HTML of an object as a tree; it must be well-formed."""
    html = shown._repr_html_()
    assert len(html) < 100_000
    return ET.fromstring(html)


def text_of(shown: Any) -> str:
    return " ".join("".join(root_of(shown).itertext()).split())


def rows_of(shown: Any, table: int = 0) -> list[list[str]]:
    """Return the rows of a table, the headings first."""
    found = root_of(shown).findall(".//table")[table]
    return [["".join(cell.itertext()) for cell in row] for row in found.iter("tr")]


def strategy(workers: int = 3) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(workers)])


def own_id() -> int:
    replica_id: int = tf.distribute.get_replica_context().replica_id_in_sync_group
    return replica_id


# ---------------------------------------------------------------- variables and values


def test_a_variable_shows_its_settings_components_and_value():
    cluster = strategy()
    with cluster.scope():
        total = tf.Variable(
            0.0, name=EVIL, synchronization=SYNC.ON_READ, aggregation=AGGREGATION.SUM
        )
    cluster.run(lambda: total.assign_add(1.0 + own_id()))

    assert text_of(total).startswith(f"{EVIL} ON_READ, SUM, float32 scalar")
    assert [
        ["", "replica 0", "replica 1", "replica 2", "value", "apart"],
        ["", "1", "2", "3", "6", "2"],
    ] == rows_of(total)


def test_an_array_shows_the_elements_that_differ_most():
    cluster = strategy(2)
    with cluster.scope():
        own = tf.Variable(
            np.zeros(8, np.float32), synchronization=SYNC.ON_READ, aggregation=AGGREGATION.SUM
        )
    cluster.run(lambda: own.assign(np.arange(8, dtype=np.float32) * own_id()))

    headings, first, *_ = rows_of(own)
    assert ["", "replica 0", "replica 1", "value"] == headings
    assert ["[7]", "0", "7", "7"] == first
    assert "Apart, the largest difference between two replicas: 7." in text_of(own)


def test_a_variable_without_components_shows_its_value():
    assert [["", "value"], ["", "2"]] == rows_of(tf.Variable(2.0, name="plain"))
    array = tf.Variable(np.arange(9.0), name="array")
    assert [["", "value"], ["[8]", "8"], ["min", "0"], ["mean", "4"]] == rows_of(array)
    with (central := tf.distribute.experimental.CentralStorageStrategy(["a", "b"])).scope():
        one = tf.Variable(3.0, aggregation=AGGREGATION.SUM)
    assert [["", "value"], ["", "3"]] == rows_of(one)
    central.close()


def test_a_variable_of_a_closed_strategy_says_why_it_cannot_be_read():
    cluster = strategy(2)
    with cluster.scope():
        v = tf.Variable(0.0, name="v", synchronization=SYNC.ON_READ, aggregation=AGGREGATION.SUM)
    cluster.run(lambda: v.assign_add(1.0))
    cluster.close()

    assert "It cannot be read: " in text_of(v)


def test_only_some_of_many_replicas_are_columns():
    cluster = strategy(40)
    with cluster.scope():
        v = tf.Variable(0.0, aggregation=AGGREGATION.SUM)

    headings, _ = rows_of(v)
    assert ("replica 0", "replica 39") == (headings[1], headings[-3])
    assert "…" in headings
    assert "of 40; there is no room for more" in text_of(v)


def test_a_replica_shows_the_text_of_its_variable():
    cluster = strategy(2)
    with cluster.scope():
        v = tf.Variable(0.0)
    assert cluster.run(v._repr_html_) is None


def test_a_per_replica_value_shows_a_value_for_each_replica():
    arrays = PerReplica([np.float32(1.5), np.float32(2.5)])
    assert [["", "replica 0", "replica 1", "apart"], ["", "1.5", "2.5", "1"]] == rows_of(arrays)
    assert "PerReplica float32 scalar" in text_of(arrays)

    texts = PerReplica([{"a": EVIL}, None], joined=1)
    assert [
        ["", "value"],
        ["replica 0", str({"a": EVIL})],
        ["replica 1", "None"],
        ["replica 2", "joined, no value"],
    ] == rows_of(texts)
    shapes = PerReplica([np.zeros(2), np.zeros(3)])
    assert [["", "replica 0", "replica 1"], ["shape", "[2]", "[3]"]] == rows_of(shapes)[:2]


# ---------------------------------------------------------------- runs

PROGRAM = """
import varsim as tf

def run(job):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="<v>", aggregation=tf.VariableAggregation.MEAN)
    for step in job.each_step(6):
        job.strategy.run(lambda: v.assign_add(2.0))
        job.log(**{"<loss>": 1.0 / (step + 1)})
    return {"v": float(v.numpy()), "name": "<b>"}
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FinishedRun:
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    return tf.run_experiment("program.py", workers=2, seed=3)


def test_a_run_shows_outcome_settings_values_and_curves(run: FinishedRun):
    text = text_of(run)
    assert "program: 6 steps on 2 workers; v 12; 1 finding; varsim kept every promise" in text
    assert "workers 2 · mode auto · seed 3" in text
    assert ["name", "<b>"] in rows_of(run, 1)
    assert ["<v>", "ON_WRITE, MEAN", "12", "12", "12", "0"] == rows_of(run, 2)[1]
    assert "What was not looked at" in text
    assert f"varsim report {run.path}" in text
    assert "<loss>" in "".join(root_of(run).find(".//figcaption").itertext())
    assert [["v", "12"], ["name", "<b>"]] == rows_of(run.result)
    assert ["<loss>", "6", "1 (1)", "0.1667 (6)", "0.1667 (6)", "1 (1)"] == rows_of(run.series)[1]


def test_without_the_extra_a_sentence_says_how_to_get_charts(
    run: FinishedRun, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert "Charts need an extra: pip install 'varsim-distribute[report]'" in text_of(run)
    assert root_of(run).find(".//figure") is None


def test_a_run_is_opened_and_compared_by_its_name(run: FinishedRun):
    other = tf.run_experiment("program.py", workers=3)
    assert other.path.resolve() == tf.open_run().path.resolve()
    assert run.path.resolve() == tf.open_run(run.path / "history.db").path.resolve()

    comparison = tf.compare_runs(run, "latest")
    headings, first, second = rows_of(comparison)
    assert (["2", "3"], ["run", "workers"]) == ([first[1], second[1]], headings[:2])
    assert root_of(comparison).find(".//figure") is not None
    with pytest.raises(tf.ConfigError, match="give the runs or sweeps to compare"):
        tf.compare_runs()


def test_a_failed_run_shows_its_error_findings_and_warnings():
    verdict = Judgement(outcome="VALID", reasons=[], findings=[f"conflict: {EVIL}"])
    failed = summary(
        variable_summary("v", lens(1, 2, value=3), aggregation="SUM"),
        status=RunStatus.FAILED,
        failure=Failure(kind="ValueError", text=f"no {EVIL}\nreally", traceback=""),
        verdict=verdict,
        warnings=[EVIL],
        interrupted_in="call 3, was interrupted:\n  replica 0: runs",
    )
    text = text_of(failed)
    for said in (f"no {EVIL} really", f"conflict: {EVIL}", f"(1){EVIL}", "replica 0: runs"):
        assert said in text


def test_nothing_to_show_is_said():
    assert "The program returned no values." == text_of(RunResult())
    assert "No metrics were logged" in text_of(Series({}, ()))


def test_a_comparison_says_why_a_run_failed():
    comparison = Comparison(
        keys=["mode", "workers"], metrics=["test_accuracy"], rows=ROWS, notes=[EVIL]
    )
    assert "4: OddError" in text_of(comparison)
    assert EVIL in text_of(comparison)


def test_a_comparison_of_many_runs_has_few_rows_and_no_chart():
    failed = next(one for one in ROWS if one.error)
    comparison = Comparison(keys=["mode"], metrics=[], rows=[failed] * 201, notes=[])
    text = text_of(comparison)

    assert root_of(comparison).find(".//figure") is None
    assert "Charts of more than 200 runs are too large for a notebook" in text
    assert "and 141 more" in text
    assert len(text) < 10_000


# ---------------------------------------------------------------- findings


def test_findings_show_the_place_the_remedy_and_the_proof(run: FinishedRun):
    (finding,) = run.findings
    told = text_of(finding)
    for said in ("<v>", "program.py:8", "what to do: ", "How sure, and proof", "events: "):
        assert said in told
    listed = text_of(run.findings)
    assert listed.startswith("1 finding")
    assert listed.endswith(told)
    assert "no finding" == text_of(Findings())


# ---------------------------------------------------------------- charts


def test_a_chart_takes_the_colours_of_the_page_and_is_small():
    points = [(i, 1.0 / (i + 1)) for i in range(400)]
    chart = line_chart("a", "loss", EVIL, [Line(name="loss", points=points)], x="step", y="loss")
    html = drawn([chart], 1)

    ET.fromstring(html)
    assert len(html) < 25_000
    assert "currentColor" in html
    assert not re.search(r'(id|background|fill)="#?(white|black|fff|000)|\sid=', html)
