"""Rows of comparisons: what differs, what is missing, and what is not comparable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.summaries import lens, summary, variable_summary
from varsim.errors import ConfigError
from varsim.experiments.comparison import compare, compare_folders
from varsim.experiments.store import RunFiles
from varsim.experiments.sweep_folder import PointStatus, Sweep, SweepFolder, SweepPoint
from varsim.report.comparison_page import as_markdown
from varsim.report.summary import Failure, Judgement, RunStatus

W = variable_summary("w", lens([1.0, 2.0], [1.0, 4.5]), aggregation="MEAN", waited_s=0.5)
COUNT = variable_summary("count", lens(1.0, 9.0), messages=6, size_bytes=16)
VALID = Judgement(outcome="VALID", reasons=[], findings=["one", "two"])


def run(name: str, **others: Any) -> Path:
    """Save a run, and return its folder."""
    experiment = {"name": name, "workload": "digits", "trace": "ops", "out": name}
    fields = {"verdict": VALID, "metrics": {"loss": 0.5}, "result": {"kind": "x", "ok": True}}
    fields |= others
    fields["experiment"] = experiment | fields.get("experiment", {})
    path = Path("runs") / f"20260102-030405-{name}"
    path.mkdir(parents=True)
    (path / "experiment.yaml").touch()
    RunFiles(path).save(summary(W, COUNT, **fields))
    return path


def sweep(*statuses: PointStatus) -> Path:
    """Save a sweep of two seeds with runs for the points that are done."""
    path = Path("runs/20260102-030406-x-sweep")
    path.mkdir(parents=True)
    points = [
        SweepPoint(
            number=number,
            settings={"seed": number},
            status=status,
            run=f"{number}-seed",
            error="ConfigError: no" if status is PointStatus.FAILED else "",
        )
        for number, status in enumerate(statuses, start=1)
    ]
    folder = SweepFolder(
        RunFiles(path),
        Sweep(name="x", varsim="0", started="2026-01-02T03:04:06", program="", points=points),
    )
    folder.save()
    (path / "sweep.yaml").touch()
    for point in points:
        if point.status is PointStatus.DONE:
            where = folder.run_folder(point)
            where.mkdir(parents=True)
            said = summary(W, verdict=VALID, experiment={"seed": point.number, "trace": "ops"})
            RunFiles(where).save(said)
    return path


def notes(*paths: Path) -> str:
    return "\n".join(compare_folders(paths).notes)


def test_a_row_has_the_outcome_the_costs_and_the_settings_that_differ() -> None:
    one = run("a", experiment={"params": {"rate": 0.1, "size": 8}, "mode": "none"})
    other = run("b", experiment={"params": {"rate": 0.2, "size": 8}})
    found = compare(["20260102-030405-a", str(other / "summary.json")])

    assert (["params.rate", "mode"], ["loss"], []) == (found.keys, found.metrics, found.notes)
    row, last = found.rows
    assert [{"params.rate": 0.1, "mode": "none"}, {"params.rate": 0.2, "mode": "auto"}] == [
        row.settings,
        last.settings,
    ]
    assert (str(one), one.name, "done", {"loss": 0.5}) == (
        row.run,
        row.name,
        row.status,
        row.metrics,
    )
    assert (2.5, "w", 10, 24, 0.5) == (
        row.divergence,
        row.diverged,
        row.messages,
        row.size_bytes,
        row.waited_s,
    ), "the components of a sum are no divergence"
    assert (1.5, 2.0, 10, "VALID", 2) == (
        row.training_s,
        row.total_s,
        row.steps,
        row.verdict,
        row.findings,
    )


def test_texts_of_a_program_cannot_change_a_table_of_markdown() -> None:
    first = run("a", metrics={"x\ny": 0.5, "s\nt": 1}, experiment={"params": {"word": "<b>*x*|"}})
    other = run(
        "b", metrics={"x\ny": 1.5, "s\nt": 1}, experiment={"params": {"word": "in_w _y_ < 1"}}
    )
    both = compare_folders([first, other])
    both = replace(both, rows=[both.rows[0], replace(both.rows[1], waited_s=0.0)])
    headings, _, *rows = as_markdown(both).splitlines()

    assert r"| x\\ny |" in headings
    assert "| waits [s] |" in headings
    assert r" \<b\>\*x\*\| " in rows[0]
    assert r" in_w \_y\_ < 1 " in rows[1]
    assert r"s\nt 1" in rows[3]


def test_the_points_of_a_sweep_are_rows() -> None:
    path = sweep(PointStatus.DONE, PointStatus.FAILED, PointStatus.WAITING, PointStatus.INTERRUPTED)
    found = compare(["latest-sweep"])

    assert [
        ("1", "done", 10),
        ("2", "failed", None),
        ("3", "waiting", None),
        ("4", "interrupted", None),
    ] == [(row.name, row.status, row.steps) for row in found.rows]
    assert (["seed"], "ConfigError: no") == (found.keys, found.rows[1].error)
    assert [
        "point 3 has not run to the end, so there are no numbers.",
        "point 2 failed, so it has no numbers (ConfigError: no).",
        "point 4 was interrupted, so it has no numbers.",
    ] == found.notes
    both = compare([str(path), str(run("a"))])
    assert ["A/1", "A/2", "A/3", "A/4", "20260102-030405-a"] == [row.name for row in both.rows]
    assert "A is 20260102-030406-x-sweep." == both.notes[0]


def test_points_of_one_sweep_have_their_numbers_alone_or_together() -> None:
    path = sweep(PointStatus.DONE, PointStatus.DONE)
    other = run("a")

    def rows(*words: str) -> list[str]:
        return [row.name for row in compare(words).rows]

    assert ["2"] == rows("latest-sweep/2")
    assert ["1", "2"] == rows(f"{path}/1", f"{path}/points/2-seed")
    assert ["A/2", other.name] == rows("latest-sweep/2", str(other))
    assert ["A/1", "A/1", "A/2"] == rows("latest-sweep/1", str(path))
    assert {"seed"} == set(compare(["latest-sweep/1", "latest-sweep/2"]).keys)


def test_points_that_end_alike_share_a_sentence_and_a_failure_is_a_finding() -> None:
    path = sweep(*[PointStatus.DONE] * 5, PointStatus.FAILED, PointStatus.FAILED)
    text = "no value: it has none (created at my.py:{})"
    returned = [{"w": 1.0, "b": 2.0}, *({"w": text.format(8), "b": text.format(9)} for _ in "234")]
    for number, result in enumerate(returned, start=2):
        known = summary(W, verdict=VALID, metrics={}, result=result)
        RunFiles(path / "points" / f"{number}-seed").save(known)
    ended = summary(W, verdict=VALID, metrics={}, status=RunStatus.FAILED, failure=FAILED, step=0)
    RunFiles(path / "points" / "1-seed").save(ended)
    found = compare_folders([path])

    assert {
        "points 3–5 have no number for w and b: the program returned, for example, no value: it "
        "has none (created at my.py:8)",
        "points 6 and 7 failed, so they have no numbers (ConfigError: no).",
    } <= set(found.notes)
    assert [3, 2, None] == [found.rows[0].findings, found.rows[1].findings, found.rows[5].findings]


def test_a_point_whose_process_was_killed_is_interrupted() -> None:
    path = sweep(PointStatus.DONE, PointStatus.RUNNING)

    assert "interrupted" == compare_folders([path]).rows[1].status
    with RunFiles(path).claimed():
        assert "running" == compare_folders([path]).rows[1].status


FAILED = Failure(kind="ValueError", text="no.\nmore", traceback="")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        (
            {"step": 20},
            "Numbers of steps differ (10 and 20): messages, bytes and times are totals.",
        ),
        ({"metrics": {}}, "20260102-030405-b has no loss: the program did not report it."),
        (
            {"metrics": {}, "result": {"loss": [1.0, 2.0]}},
            "20260102-030405-b has no number for loss: the program returned [1.0, 2.0]",
        ),
        ({"verdict": None}, "20260102-030405-b has no verdict: `varsim check` judges a record."),
        (
            {"verdict": None, "experiment": {"trace": {"level": "off"}}},
            "20260102-030405-b has no record (trace: off), so findings are unknown: run with",
        ),
        ({"experiment": {"oracle": True}}, "20260102-030405-a has no oracle, so fewer kinds of"),
        ({"experiment": {"workload": "metrics"}}, "The programs differ (digits and metrics), so"),
        ({"varsim": "9"}, "The versions of varsim differ (0.1.0 and 9)."),
        (
            {"status": RunStatus.FAILED, "failure": FAILED},
            "20260102-030405-b failed after step 10 (ValueError: no): its numbers end there.",
        ),
        ({"status": RunStatus.INTERRUPTED}, "20260102-030405-b was interrupted after step 10: its"),
    ],
)
def test_a_sentence_says_what_is_not_comparable_and_why(others: dict[str, Any], said: str) -> None:
    assert "" == notes(run("a"), run("c"))
    assert said in notes(Path("runs/20260102-030405-a"), run("b", **others))


def test_the_mode_of_a_run_without_one_is_auto() -> None:
    found = compare_folders([run("a"), run("b", experiment={"mode": "none"})])

    assert ["mode"] == found.keys
    assert ["auto", "none"] == [row.settings["mode"] for row in found.rows]


def test_a_launcher_with_settings_has_its_name() -> None:
    found = compare_folders(
        [
            run("a", experiment={"launcher": "process"}),
            run("b", experiment={"launcher": {"ssh": {"hosts": ["x", "y"]}}}),
            run("c", experiment={"launcher": {"ray": {}}}),
        ]
    )

    assert ["launcher", "launcher.ssh.hosts"] == found.keys
    assert ["process", "ssh", "ray"] == [row.settings["launcher"] for row in found.rows]
    assert [None, ["x", "y"], None] == [row.settings["launcher.ssh.hosts"] for row in found.rows]


def test_reported_and_returned_metrics_are_told_apart() -> None:
    returned = {"result": {"train_loss": 0.8}}

    assert (
        "loss is what the program last reported while it ran, often for one batch; train_loss is "
        "what it returned." == notes(run("a", **returned))
    )


def test_a_seed_without_effect_is_said() -> None:
    same = [run(f"s{seed}", experiment={"seed": seed}) for seed in (0, 1)]
    other = run("o", experiment={"seed": 0, "workers": 4}, metrics={"loss": 0.7})

    assert "No value depends on the seed: runs that differ only in it" in notes(*same, other)
    assert "No value" not in notes(same[0], other)
    drawn = run("d", experiment={"seed": 2}, metrics={"loss": 0.6})
    assert "No value" not in notes(*same, drawn)


def test_runs_with_different_sources_are_not_the_same_program() -> None:
    paths = [run("a"), run("b")]
    for path, text in zip(paths, ("x = 1", "x = 2"), strict=True):
        (path / "program").mkdir()
        (path / "program" / "it.py").write_text(text)

    assert "The source of the program, digits, differs between the runs." == notes(*paths)


def test_a_run_without_a_summary_has_dashes_and_a_reason() -> None:
    path = run("a")
    (path / "summary.json").unlink()
    found = compare_folders([path])

    assert [("unknown", None, None)] == [
        (row.status, row.messages, row.findings) for row in found.rows
    ]
    assert ["has no numbers: it has no summary, because it has not ended or was killed."] == [
        one.removeprefix(f"{path.name} ") for one in found.notes
    ]


def test_a_difference_that_is_not_a_number_is_the_largest() -> None:
    nan = variable_summary("n", replace(lens(1.0, 2.0), apart="NaN"), aggregation="MEAN")
    path = Path("runs/20260102-030405-n")
    path.mkdir(parents=True)
    RunFiles(path).save(summary(W, nan))

    assert [("NaN", "n")] == [
        (row.divergence, row.diverged) for row in compare_folders([path]).rows
    ]


@pytest.mark.parametrize("word", ["nothing", "elsewhere/latest-sweep", "."])
def test_a_word_that_names_nothing_is_an_error(word: str) -> None:
    run("a")
    with pytest.raises(ConfigError, match=r"there is no|neither a run nor a sweep"):
        compare([word])
