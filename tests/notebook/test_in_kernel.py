"""A notebook in a real IPython kernel: its outputs, and a stuck cell that is interrupted.

These tests need ipykernel and nbclient, which `make notebook` installs. `.ci/run` installs them,
and sets VARSIM_TEST_NOTEBOOK=required, so that these tests fail without them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.processes.conftest import environment

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "examples" / "notebooks" / "modes.ipynb"
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.processes,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("default"),  # those of other people's packages
]

EXECUTE = """
import json, sys
import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

notebook = nbformat.reads(sys.stdin.read(), as_version=4)
manager = AsyncKernelManager()
manager.kernel_spec.argv[0] = sys.executable
NotebookClient(
    notebook, km=manager, timeout=float(sys.argv[1]), interrupt_on_timeout=True, allow_errors=True
).execute()
print(nbformat.writes(notebook))
"""

Cell = dict[str, Any]


@pytest.fixture(autouse=True)
def _kernel() -> None:
    missing = [one for one in ("ipykernel", "nbclient") if importlib.util.find_spec(one) is None]
    if missing:
        why = f"{' and '.join(missing)} missing: make notebook"
        assert os.environ.get("VARSIM_TEST_NOTEBOOK") != "required", why
        pytest.skip(why)


def executed(notebook: str, folder: Path, timeout_s: float) -> list[Cell]:
    """Run all cells in a process of its own; return the cells with code.

    Args:
        timeout_s: After this time, a cell is interrupted by SIGINT.
    """
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(timeout_s)],
        input=notebook,
        cwd=folder,
        env=environment()
        | {"IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
        | {"TMPDIR": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert 0 == done.returncode, done.stderr
    cells = json.loads(done.stdout)["cells"]
    return [one for one in cells if one["cell_type"] == "code"]


def html_of(cell: Cell) -> str:
    """Return the HTML of a cell's result; "" without one."""
    outputs = [one["data"] for one in cell["outputs"] if one["output_type"] == "execute_result"]
    return "".join(outputs[0].get("text/html", "")) if outputs else ""


def test_the_example_shows_its_objects_as_html(tmp_path: Path) -> None:
    cells = executed(NOTEBOOK.read_text("utf-8"), tmp_path, 60)

    kinds = [output["output_type"] for cell in cells for output in cell["outputs"]]
    assert "error" not in kinds
    shown = [html for cell in cells if (html := html_of(cell))]
    assert 7 == len(shown)
    total, weights, read, run, findings, comparison, series = shown
    assert [">6<", "[0]", "PerReplica"] == [
        said
        for said, html in ((">6<", total), ("[0]", weights), ("PerReplica", read))
        if said in html
    ]
    assert "digits: 30 steps on 2 workers" in run
    assert "stale read" in findings
    assert 3 == len(
        re.findall(r"-digits(-\d)?</th>", comparison)
    )  # runs of one second have numbers
    assert run.count("<svg") == comparison.count("<svg") == series.count("<svg") == 2
    assert sum(map(len, shown)) < 150_000


STUCK = [
    """
import threading
import varsim as tf

strategy = tf.distribute.MirroredStrategy(["a", "b", "c"])
with strategy.scope():
    w = tf.Variable(1.0, name="w", aggregation=tf.VariableAggregation.MEAN)

def step():
    if tf.distribute.get_replica_context().replica_id_in_sync_group == 1:
        threading.Event().wait()
    w.assign_add(1.0)
    w.read_value()
""",
    "strategy.run(step)",
    "w",
    "strategy.restart(); w",
]


def test_a_stuck_cell_is_interrupted_and_says_who_waits(tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "id": f"c{i}", "source": source, "metadata": {}, "outputs": []}
        | {"execution_count": None}
        for i, source in enumerate(STUCK)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    _, stuck, after, restarted = executed(json.dumps(notebook), tmp_path, 5)

    (error,) = stuck["outputs"]
    assert "KeyboardInterrupt" == error["ename"]
    said = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error["traceback"]))
    assert "call 1 of strategy.run, step (" in said
    assert re.search(r"only replica 1: runs(, now at .*:10)?\n", said), said
    assert re.search(
        r"replicas 0, 2: wait in a read of w, each after its own write to it at .*:12", said
    )
    for cell in (after, restarted):
        assert "ON_WRITE, MEAN, float32 scalar" in html_of(cell)
