"""The commands `varsim sweep` and `varsim compare` in this process, on the simulated cluster."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from varsim import disk
from varsim.cli.main import main
from varsim.experiments.carried_program import ORIGIN
from varsim.experiments.store import SWEEP, SWEEP_FILE

PROGRAM = '''
"""A user's program."""
from pathlib import Path
import varsim as tf
from varsim import disk

def run(job, *, trouble: str = "", rate: float = 1.0):
    print("the program speaks")
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    step = tf.function(lambda: v.assign_add(rate) and None)
    for number in range(2):
        job.strategy.run(step)
        job.progress(number + 1, 2, loss=rate)
        if trouble == "interrupt" and not Path("heeded").exists():
            raise KeyboardInterrupt
        if trouble == "fill":
            disk.fill(Path("runs/latest-sweep").resolve())
        if trouble == "raise":
            raise ValueError(trouble)
'''
WARNED = "variable 'v': synchronization=NONE gives every replica its own value"


@pytest.fixture(autouse=True)
def _program(in_one_process: Path) -> None:
    (in_one_process / "program.py").write_text(PROGRAM)


def varsim(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def check_fields(plain: dict[str, Any], what: str, inner: str, key: str) -> None:
    """Check that JSON has exactly the fields of its schema, outside and in a list."""
    schema = json.loads(varsim("schema", what).stdout)
    assert list(schema["properties"]) == list(plain)
    assert [list(schema["$defs"][inner]["properties"])] * len(plain[key]) == [
        *map(list, plain[key])
    ]


def test_a_sweep_shows_its_progress_and_a_comparison() -> None:
    result = varsim("sweep", "program.py", "--mode", "none,on_write", "-n", "1..2", "params.rate=2")

    assert 0 == result.exit_code
    lines = result.stdout.splitlines()
    assert ["the program speaks"] * 4 + ["4 runs"] == lines[:5]
    (first,) = [line.split() for line in lines if line.startswith("1 ")]
    assert ["1", "1", "none", "0"] == first[:4]
    same = " ".join(lines).partition("The same in all runs: ")[2]  # with times, if they are equal
    assert ("loss 2, divergence 0, ", True) == (same[:22], "findings 0" in same)
    assert "runs/" == lines[-1][:5]
    said = result.stderr.splitlines()
    assert "4 points: workers (2 values) x mode (2 values)" == said[0]
    assert 1 == result.stderr.count(WARNED), "the second point has the same warning"
    assert "4/4  workers=2 mode=on_write  done  " in said[-1]
    assert "ms (training " in said[-1] or "s (training " in said[-1]
    assert said[-1].endswith("loss 2")
    assert Path(lines[-1]).samefile("runs/latest-sweep")
    assert {SWEEP, SWEEP_FILE, ORIGIN, "points"} == {one.name for one in Path(lines[-1]).iterdir()}


def test_a_failed_point_gives_code_1_and_the_points_are_ordinary_runs() -> None:
    result = varsim("sweep", "program.py", "params.trouble=no,raise", "--quiet")
    sweep = result.stdout.strip()

    assert (1, True) == (result.exit_code, Path(sweep).is_dir())
    assert "Error: point 2 (params.trouble=raise) failed: ValueError: raise\n" in result.stderr
    assert 0 == varsim("check", f"{sweep}/1").exit_code
    assert 1 == varsim("check", "latest-sweep/2").exit_code
    assert "v" in varsim("lens", "latest-sweep/1").stdout
    assert 0 == varsim("run", f"{sweep}/1", "--quiet").exit_code
    said = f"{sweep} is a sweep, and this command takes a run: give a point, as in {sweep}/1"
    assert said in varsim("check", sweep).stderr
    assert f"is a sweep: `varsim sweep {sweep}` continues it" in varsim("run", sweep).stderr
    assert "1 of 2 points, 1 failed" in varsim("runs", "latest-sweep", "--tag", "kept").stdout
    points = varsim("sweep", sweep, "--dry-run").stdout.splitlines()[1:]
    assert ["1  params.trouble=no  done", "2  params.trouble=raise  failed"] == points
    again = varsim("sweep", sweep, "--retry-failed")
    assert (1, 1) == (again.exit_code, again.stdout.count("the program speaks"))
    assert f"`varsim sweep {sweep} --retry-failed` runs the failed points again" in again.stderr
    assert "kept\n" == (Path(sweep) / "tag.txt").read_text("utf-8")


def test_an_interrupted_sweep_is_continued() -> None:
    first = varsim("sweep", "program.py", "params.trouble=no,interrupt,last")

    assert 130 == first.exit_code
    assert "another Ctrl-C skips the merge and the verdict of this point" in first.stderr
    sweep = str(Path("runs") / Path("runs/latest-sweep").readlink())
    assert f"interrupted: continue with `varsim sweep {sweep}`\n" in first.stderr
    assert "point 3 has not run to the end, so there are no numbers." in first.stdout
    assert "is continued as it began" in varsim("sweep", sweep, "-n", "3").stderr
    Path("heeded").touch()
    result = varsim("sweep", "latest-sweep")

    assert (0, 2) == (result.exit_code, result.stdout.count("the program speaks"))
    assert "3 points: params.trouble (3 values), 1 of them finished" in result.stderr


def test_a_sweep_whose_state_cannot_be_saved_says_how_to_continue() -> None:
    result = varsim("sweep", "program.py", "params.trouble=a,fill", "--quiet")
    (sweep,) = (one for one in Path("runs").iterdir() if not one.is_symlink())
    disk.free(sweep.absolute())

    assert (6, "") == (result.exit_code, result.stdout)
    assert f"{SWEEP} cannot be written: No space left on device. The points that" in result.stderr
    assert f"continue with `varsim sweep {sweep}`" in result.stderr
    statuses = [one["status"] for one in json.loads((sweep / SWEEP).read_text())["points"]]
    assert ["done", "running"] == statuses


def test_the_file_of_a_sweep_begins_another_one_if_it_is_trusted() -> None:
    assert 0 == varsim("sweep", "program.py", "params.rate=1,2", "--quiet").exit_code
    file = Path("runs/latest-sweep/sweep.yaml")
    assert "2  params.rate=2" in varsim("sweep", str(file), "--dry-run").stdout
    file.write_text(file.read_text("utf-8") + "# changed\n", "utf-8")

    assert "add --allow-paths" in varsim("sweep", str(file), "--dry-run").stderr
    assert "add --trust" in varsim("sweep", str(file), "--dry-run", "--allow-paths").stderr
    given = ("--trust", "--allow-paths")
    assert 0 == varsim("sweep", str(file), "--dry-run", *given).exit_code
    assert 0 == varsim("sweep", str(file), "--dry-run", "workload=program.py").exit_code


def test_a_file_can_have_a_sweep_and_a_dry_run_lists_the_points() -> None:
    Path("x.yaml").write_text("workload: program.py\nsweep:\n  seed: 0..2\n  workers: [1, 2, 4]\n")

    assert [
        "3 points: seed (3 values) with workers (3 values)",
        "1  seed=0 workers=1",
        "2  seed=1 workers=2",
        "3  seed=2 workers=4",
    ] == varsim("sweep", "x.yaml", "--zip", "--dry-run").stdout.splitlines()
    assert not Path("runs").exists()
    assert (2, True) == (
        (result := varsim("run", "x.yaml")).exit_code,
        "x.yaml:2: sweep: this experiment is a sweep of several runs" in result.stderr,
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["workers=1,2x"], "workers=1,2x: invalid value '2x': expected a valid integer"),
        (["a.yaml", "b.yaml", "seed=0,1"], "expected one experiment, but got a.yaml and b.yaml"),
        (["seed=0,1", "--retry-failed"], "--retry-failed takes a sweep: `varsim sweep latest"),
        (["latest-sweep"], "there is no sweep 'latest-sweep'"),
        (["mode=auto", "mode=none"], "mode=auto and mode=none both set mode: give all its values"),
        (["mode=auto,none", "--mode", "none"], "mode=auto,none and --mode none both set mode"),
        (["trace=ops,off", "--trace", "ops"], "and --trace ops both set trace"),
        (["seed=0,1", "--json", "--quiet"], "--json and --quiet exclude each other"),
        (["sent.zip", "seed=0,1"], "sent.zip is an archive, and this command takes a run: unpack"),
        (["digits"], "nothing varies: give a key several values"),
    ],
)
def test_wrong_use_leaves_no_file(words: list[str], said: str) -> None:
    Path("sent.zip").touch()
    result = varsim("sweep", *words)

    assert (2, False) == (result.exit_code, Path("runs").exists())
    assert said in result.stderr


def test_the_newest_sweep_is_compared_by_default() -> None:
    assert "there is no sweep 'latest-sweep'" in varsim("compare").stderr
    varsim("sweep", "program.py", "params.rate=1,2", "--quiet")
    (sweep,) = (one for one in Path("runs").iterdir() if not one.is_symlink())
    assert varsim("compare").stdout.startswith("2 runs\n")
    later = sweep.with_name("99991231-000000-later")
    later.mkdir()
    (later / "experiment.yaml").touch()
    result = varsim("compare")
    assert (2, "") == (result.exit_code, result.stdout)
    assert "the newest in runs/ is one run, 99991231-000000-later. Give several" in result.stderr


def test_runs_are_compared_in_every_form() -> None:
    for rate in ("0.5", "0.25"):
        assert 0 == varsim("run", "program.py", f"params.rate={rate}", "--quiet").exit_code
    runs = sorted(str(one) for one in Path("runs").iterdir() if not one.is_symlink())
    lines = varsim("compare", *runs, "--sort", "loss").stdout.splitlines()
    rows = [line.split()[1:3] for line in lines if line.startswith("20")]  # the year of a run
    assert [["0.25", "0.25"], ["0.5", "0.5"]] == rows[:2]

    plain = json.loads(varsim("compare", *runs, "--json").stdout)
    check_fields(plain, "comparison", "RunRow", "rows")
    assert [0.5, 0.25] == [row["settings"]["params.rate"] for row in plain["rows"]]
    table = list(csv.DictReader(io.StringIO(varsim("compare", *runs, "--csv").stdout)))
    assert [(runs[0], "0.5"), (runs[1], "0.25")] == [(one["run"], one["loss"]) for one in table]
    assert "| run | rate | loss |" in varsim("compare", *runs, "--markdown").stdout
    newest = json.loads(varsim("compare", *runs, "--json", "--sort", "-run").stdout)["rows"]
    assert runs[::-1] == [one["run"] for one in newest]
    assert (
        plain["rows"]
        == json.loads(varsim("compare", *runs, "--json", "--sort", "-rate").stdout)["rows"]
    )
    wrong = varsim("compare", runs[0], "--csv", "--json")
    assert (2, True) == (wrong.exit_code, "--csv and --json exclude each other" in wrong.stderr)
    wrong = varsim("compare", runs[0], "--sort", "byte")
    assert (2, True) == (wrong.exit_code, "did you mean 'bytes'?" in wrong.stderr)


def test_the_file_of_a_sweep_follows_its_schema() -> None:
    sweep = varsim("sweep", "program.py", "params.rate=1,2", "--json")
    plain = json.loads((Path("runs/latest-sweep") / SWEEP).read_text("utf-8"))

    check_fields(plain, "sweep", "SweepPoint", "points")
    assert [{"params.rate": 1}, {"params.rate": 2}] == [one["settings"] for one in plain["points"]]
    assert ["1", "2"] == [row["name"] for row in json.loads(sweep.stdout)["rows"]]
