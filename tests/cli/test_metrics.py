"""The command `varsim metrics`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from varsim.cli.main import main

LINES = (
    '{"step": 1, "seconds": 0.5, "loss": 2.5}\n'
    '{"step": 2, "seconds": 1.5, "loss": 0.25, "accuracy": 1}\n'
    '{"step": 3, "seconds": 2.0, "loss": "NaN"}\n'
)


@pytest.fixture(autouse=True)
def _a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("20260101-000000-one", "20260102-000000-none"):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "experiment.yaml").touch()
    (tmp_path / "runs/20260101-000000-one/metrics.jsonl").write_text(LINES)
    sweep = tmp_path / "runs/20260103-000000-s-sweep"
    (sweep / "points/1-n-1").mkdir(parents=True)
    (sweep / "points/1-n-1/metrics.jsonl").write_text(LINES)
    points = [
        {"number": n, "settings": {"params.n": n}, "status": "done", "run": f"{n}-n-{n}"}
        for n in (1, 2)
    ]
    fields = {"version": 1, "name": "s", "varsim": "0", "started": "", "program": ""}
    (sweep / "sweep.json").write_text(json.dumps({**fields, "points": points}))


@pytest.mark.parametrize(
    ("words", "exit_code", "said"),
    [
        (
            ["20260101"],
            0,
            "loss           3       1       2.5 (1)      NaN (3)      0.25 (2)",
        ),
        (["20260101", "--csv"], 0, "step,seconds,loss,accuracy\n1,0.5,2.5,\n2,1.5,0.25,1\n"),
        (["20260101", "--jsonl"], 0, LINES),
        (["20260101", "--jsonl", "--csv"], 2, "exclude each other"),
        (["latest"], 0, "20260102-000000-none has no metrics.jsonl: its program logged"),
        (["2025"], 2, "there is no run '2025'"),
        (["20260101", "accuracy", "--csv"], 0, "step,seconds,accuracy\n2,1.5,1\n"),
        (["20260101", "los"], 2, "no metric 'los'; did you mean 'loss'?\n  there is: loss and acc"),
        (
            ["latest-sweep"],
            0,
            "point   values  finite  first (step)  last (step)  least (step)  most (step)",
        ),
        (["latest-sweep", "loss"], 0, "1  n=1       3       1       2.5 (1)"),
        (["latest-sweep"], 0, "\nno metrics: 2  n=2\n"),
        (["latest-sweep", "--csv"], 2, "give a point of the sweep, as in runs/20260103-000000-s"),
    ],
)
def test_metrics_of_a_run(words: list[str], exit_code: int, said: str):
    done = CliRunner().invoke(main, ["metrics", *words])

    assert (exit_code, True) == (done.exit_code, said in done.output), done.output


@pytest.mark.parametrize("columns", [60, 80])
def test_metrics_are_a_table_on_each_console(columns: int, monkeypatch: pytest.MonkeyPatch):
    """Large numbers need several tables; no row becomes a block of lines."""
    large = [
        f'{{"step": {step}, "seconds": 1, "loss": {loss}, "accuracy": 0.12345}}'
        for step, loss in ((1000, 1.5e300), (2000, '"NaN"'))
    ]
    Path("runs/20260101-000000-one/metrics.jsonl").write_text("\n".join([*large, ""]))
    monkeypatch.setenv("COLUMNS", str(columns))
    done = CliRunner().invoke(main, ["metrics", "20260101"])

    assert "further columns" in done.output
    assert done.output.count("\nmetric ") == done.output.count("\n──") >= 2
    assert "\nloss  " in done.output
    assert max(map(len, done.output.splitlines())) <= columns


def test_lines_that_cannot_be_read_are_named():
    with Path("runs/20260102-000000-none/metrics.jsonl").open("w") as file:
        file.write("x\n")
    done = CliRunner().invoke(main, ["metrics"])

    assert "warning: line 1 of runs" in done.stderr
    assert "no line of metrics.jsonl can be read" in done.stdout
