"""The command `varsim runs`: lists with filters, one run with its files, and removal."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from varsim import disk
from varsim.cli.main import main
from varsim.experiments.store import RunFiles
from varsim.testing import simulated_cluster

PROGRAM = '''
"""A program that may fail."""
import varsim as tf

def run(job, *, rate: float = 0.5, fails: bool = False):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.SUM)
    job.strategy.run(lambda: v.assign_add(rate))
    job.log(v=v)
    if fails:
        raise ValueError("no")
    return {"v": v}
'''
SWEEP = {
    "version": 1,
    "name": "s",
    "varsim": "0",
    "started": "2026-01-04T03:04:05+00:00",
    "program": "",
    "points": [
        {"number": 1, "settings": {"mode": "none"}, "status": "done", "run": "1-none"},
        {"number": 2, "settings": {"mode": "auto"}, "status": "failed", "run": "2-auto"},
    ],
}


def varsim(*words: str) -> Result:
    return CliRunner().invoke(main, words)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a run of each kind; the days of January are their names."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch, simulated_cluster():
        patch.chdir(folder)
        Path("mine.py").write_text(PROGRAM)
        for day, words in {
            1: ("--mode", "on_read"),
            2: ("params.rate=0.25", "-n", "3"),
            3: ("params.fails=true",),
        }.items():
            varsim("run", "mine.py", "-q", *words)
            run = Path("runs/latest").resolve()
            summary = json.loads((run / "summary.json").read_text())
            summary["started"] = f"2026-01-{day:02}T03:04:05+00:00"
            (run / "summary.json").write_text(json.dumps(summary))
            run.rename(run.with_name(f"2026010{day}-030405-mine"))
    runs = folder / "runs"
    (runs / "latest").unlink()
    sweep = runs / "20260104-030405-s-sweep"
    sweep.mkdir()
    (sweep / "sweep.json").write_text(json.dumps(SWEEP))
    (sweep / "sweep.yaml").write_text("workload: digits\n")
    killed = runs / "20260105-030405-digits"
    killed.mkdir()
    (killed / "experiment.yaml").write_text("workload: digits\nworkers: 2\n")
    damaged = runs / "20260106-030405-x"
    damaged.mkdir()
    (damaged / "summary.json").write_text("{")
    return folder


@pytest.fixture(autouse=True)
def _copied(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)


def days(*words: str) -> str:
    return "".join(
        Path(one["run"]).name[7] for one in json.loads(varsim("runs", "--json", *words).stdout)
    )


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], "654321"),
        (["--workload", "mine"], "321"),
        (["--workload", "mi*.py"], "321"),
        (["--workload", "digits"], "54"),
        (["--mode", "on_*"], "1"),
        (["--mode", "auto", "--status", "done"], "2"),
        (["--mode", "none"], "4"),
        (["--mode", "central"], ""),
        (["--mode", "on_raed*"], ""),
        (["--workload", "metrics"], ""),
        (["mode=auto", "--status", "failed"], "43"),
        (["--status", "failed"], "43"),
        (["--status", "no summary"], "5"),
        (["--since", "2026-01-03"], "6543"),
        (["params.rate=0.25"], "2"),
        (["params.rate=0.5", "workers=2"], "31"),
        (["--tag", "base*"], ""),
    ],
)
def test_runs_are_listed_newest_first_and_filtered(words: list[str], found: str):
    assert found == days(*words)


def test_a_list_shows_every_kind_of_run_in_a_row():
    said = varsim("runs").stdout.splitlines()
    rows = {line[7]: line.split() for line in said if line.startswith("2026")}

    assert said[0].startswith("runs/: 6 runs, ")
    assert ["done", "on_read", "1"] == rows["1"][1:4]
    assert "v" == said[1].split()[3], "the heading is the metric that all runs have"
    assert "in 20260104-030405-s-sweep: point 2" in varsim("runs", "--status", "failed").stdout
    assert ["1", "of", "2", "points,", "1", "failed"] == rows["4"][1:7]
    assert ["no", "summary"] == rows["5"][1:3]
    assert "varsim sweep" not in "".join(said), "each point has ended"
    assert ["unreadable", "summary"] == rows["6"][1:3]
    assert "runs/: 1 of 6 runs" in varsim("runs", "params.rate=0.25").stdout
    with RunFiles(Path("runs/20260105-030405-digits")).claimed():
        assert "5" == days("--status", "running")


def test_a_tag_is_given_to_a_run_and_found_again():
    assert 0 == varsim("runs", "20260102", "--tag", "baseline").exit_code

    assert "2" == days("--tag", "base*")
    assert (
        "has the tag 'baseline', so it is not removed"
        in varsim("runs", "20260102", "--remove").stderr
    )
    assert "62" == days("--limit", "1")  # varsim did not make the damaged one


def test_one_run_is_shown_with_its_outcome_its_settings_and_its_files():
    page = varsim("runs", "20260101").stdout
    told: dict[str, Any] = json.loads(varsim("runs", "20260101", "--json").stdout)

    assert page.startswith("runs/20260101-030405-mine: done, started 2026-01-01T03:04:05")
    for line in ("verdict  VALID", "v        1", "last v   1", "mode          on_read"):
        assert line in page, page
    assert told["files"].keys() >= {"summary.json", "history.db", "metrics.jsonl", "program/"}
    assert all(told["files"].values())
    assert told["size_bytes"] == sum(told["files"].values())
    assert "ValueError" in varsim("runs", "20260103").stdout
    assert "2      failed  mode=auto" in varsim("runs", "20260104").stdout


def test_a_sweep_that_was_killed_says_how_to_continue():
    file = Path("runs/20260104-030405-s-sweep/sweep.json")
    file.write_text(file.read_text().replace("failed", "running"))
    said = "continue 20260104-030405-s-sweep with: varsim sweep runs/20260104-030405-s-sweep"

    assert said in varsim("runs").stdout
    with RunFiles(file.parent).claimed():
        assert said not in varsim("runs", "20260104").stdout


def test_named_runs_are_removed():
    asked = varsim("runs", "20260101", "20260104", "--remove")
    assert (2, True) == (asked.exit_code, "is a sweep of 2 points: to remove" in asked.stderr)
    assert "654321" == days()
    done = varsim("runs", "20260101", "20260104", "--remove", "--yes")

    assert "removed 20260101-030405-mine\nremoved 20260104-030405-s-sweep\n" in done.stdout
    assert "6532" == days()
    with RunFiles(Path("runs/20260105-030405-digits")).claimed():
        refused = varsim("runs", "20260105", "--remove")
    assert (2, True) == (refused.exit_code, "has not ended" in refused.stderr)


@pytest.mark.parametrize(("answer", "said"), [("n", "kept"), ("y", "removed")])
def test_a_terminal_is_asked_before_a_sweep_is_removed(
    answer: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True, raising=False)
    done = CliRunner().invoke(main, ["runs", "20260104", "--remove"], input=f"{answer}\n")

    assert "Remove the sweep 20260104-030405-s-sweep of 2 points?" in done.stderr
    assert f"{said} 20260104-030405-s-sweep\n" in done.stdout


def test_a_removed_run_is_not_mistaken_for_one_of_the_same_second():
    again = Path("runs/20260101-030405-mine-2")
    shutil.copytree("runs/20260101-030405-mine", again)

    removals = [varsim("runs", "20260101-030405-mine", "--remove") for _ in range(2)]
    assert [0, 2] == [one.exit_code for one in removals]
    assert "give its whole name" in removals[1].stderr
    assert again.is_dir()


def test_a_run_that_cannot_be_removed_gives_code_6(monkeypatch: pytest.MonkeyPatch):
    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, "Read-only file system", "history.db")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    done = varsim("runs", "20260101", "--remove")

    said = "runs/20260101-030405-mine cannot be removed: Read-only file system"
    assert (6, True) == (done.exit_code, said in done.stderr), done.output


def test_a_tag_that_cannot_be_written_gives_code_6():
    runs = Path("runs").absolute()
    disk.fill(runs)
    try:
        done = varsim("runs", "20260101", "--tag", "x")
    finally:
        disk.free(runs)

    assert (6, True) == (done.exit_code, "tag.txt cannot be written: No space" in done.stderr)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--remove"], "--untag and --remove need a RUN"),
        (["--untag"], "--untag and --remove need a RUN"),
        (["20260101", "--mode", "none"], "give filters without a RUN"),
        (["20260101", "20260102"], "one RUN is shown at a time"),
        (["--since", "soon"], "--since soon: expected a time such as 7d"),
        (["wokers=2"], "an experiment has no key 'wokers'; did you mean 'workers'?"),
        (["2025"], "there is no run"),
        (["--mode", "on_raed"], "'on_raed' is not a mode; did you mean 'on_read'?"),
        (["mode=on_raed"], "'on_raed' is not a mode; did you mean 'on_read'?"),
        (["--workload", "dijits"], "no run has 'dijits'; did you mean 'digits'?"),
        (["--tag", "base"], "--tag: no run has 'base' there is: none"),
        (["params.rat=1"], "no run has 'params.rat'; did you mean 'params.rate'?"),
        (["--out", "run"], "--out run: there is no such folder; did you mean 'runs'?"),
        (["20260101", "--limit", "1"], "--limit is about all runs"),
        (["--force"], "--force belongs to --remove"),
        (["20260104", "--yes"], "--yes belongs to --remove"),
    ],
)
def test_wrong_uses_are_errors(words: list[str], said: str):
    done = varsim("runs", *words)

    assert (2, True) == (done.exit_code, said in " ".join(done.stderr.split())), done.output


def test_a_sent_run_is_listed_shown_and_run_again():
    """An archive has the metric series, and all commands work on its folder elsewhere."""
    assert 0 == varsim("export", "20260102", "sent.zip").exit_code
    shutil.unpack_archive("sent.zip", "elsewhere")
    run = "elsewhere/20260102-030405-mine"

    assert varsim("metrics", "20260102", "--csv").stdout == varsim("metrics", run, "--csv").stdout
    assert json.loads(varsim("runs", "--out", "elsewhere", "--json").stdout)[0]["status"] == "done"
    assert 0 == varsim("diff", "20260102", run).exit_code
    with simulated_cluster():
        again = varsim("run", run, "--trust", "-q", "--out", "again")
    assert (0, 0) == (again.exit_code, varsim("diff", "20260102", again.stdout.strip()).exit_code)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs/20260101-030405-mine/summary.json", "--remove"), "is a file: name the directory"),
        (("20260101-030405-mine", "--tag", " "), "--untag removes a tag"),
        (("2026010", "--remove"), "several runs and sweeps begin with '2026010'"),
        (("20260104-030405-s-sweep/1", "--tag", "x"), "is a point of a sweep"),
        (("20260104-030405-s-sweep/1", "--remove"), "is a point of a sweep"),
    ],
)
def test_nothing_is_removed_or_tagged_by_mistake(words: tuple[str, ...], said: str):
    runs = Path("runs")
    point = runs / "20260104-030405-s-sweep" / "points" / "1-none"
    point.mkdir(parents=True)
    (point / "experiment.yaml").write_text("workload: digits\n")
    before = sorted(runs.rglob("*"))
    result = varsim("runs", *words)

    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
    assert before == sorted(runs.rglob("*"))


@pytest.mark.parametrize("command", ["trace", "report"])
@pytest.mark.parametrize(
    ("name", "said"), [("", "-o needs the name"), ("history.db", "the name of a file of a run")]
)
def test_no_output_takes_the_place_of_a_record(command: str, name: str, said: str):
    run = Path("runs/20260101-030405-mine")
    before = (run / "history.db").read_bytes()
    result = varsim(command, str(run), "-o", str(run / name) if name else "")

    assert 2 == result.exit_code
    assert said in " ".join(result.output.split())
    assert before == (run / "history.db").read_bytes()
