"""Sweeps on the simulated cluster: points that fail, interrupts, and sweeps that are resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from varsim.cli.sweep_progress import SweepProgress
from varsim.errors import ConfigError
from varsim.experiments.comparison import compare_folders
from varsim.experiments.loading import load_experiment
from varsim.experiments.room import make_room, stored_runs
from varsim.experiments.run_lookup import find_run
from varsim.experiments.runner import run_experiment
from varsim.experiments.store import load_summary
from varsim.experiments.sweep_folder import SweepFolder, read_sweep
from varsim.experiments.sweep_plan import SweepPlan, axis_of_word, plan_sweep
from varsim.experiments.sweep_runner import begin_sweep, points_to_run, resume_sweep, run_sweep
from varsim.report.summary import RunStatus
from varsim.testing import simulated_cluster

Write = Callable[[str, str], Path]

PROGRAM = '''
"""A user's program."""
from pathlib import Path
import varsim as tf

def run(job, *, trouble: str = "", rate: float = 1.0):
    with job.strategy.scope():
        v = tf.Variable(0.0, name="v", aggregation=tf.VariableAggregation.MEAN)
    step = tf.function(lambda: v.assign_add(rate) and None)
    for number in range(2):
        job.strategy.run(step)
        job.progress(number + 1, 2, loss=rate)
        if trouble == "raise":
            raise ValueError("a program's trouble\\nin two lines")
        if trouble == "print":
            raise ValueError("it printed:\\nno room\\n")
        if trouble == "interrupt" and not Path("heeded").exists():
            raise KeyboardInterrupt
    return {"twice": 2 * rate}
'''


@pytest.fixture(autouse=True)
def _in_one_process(write: Write) -> Iterator[None]:
    write("program.py", PROGRAM)
    with simulated_cluster():
        yield


def planned(*words: str) -> SweepPlan:
    said = ["workload=program.py", *words]
    return plan_sweep(
        lambda overrides: load_experiment(None, overrides), [axis_of_word(one) for one in said]
    )


def ran(folder: SweepFolder, plan: SweepPlan) -> list[str]:
    """Run the points, and return what became of all points."""
    run_sweep(folder, plan, SweepProgress(points_to_run(folder, plan), 0, quiet=True))
    return states(folder)


def states(folder: SweepFolder) -> list[str]:
    kept = read_sweep(folder.path)
    assert kept.sweep == folder.sweep, "what is saved is what is known"
    return [f"{one.status.value} {one.error}".strip() for one in kept.sweep.points]


def test_a_point_that_fails_is_kept_with_its_error_and_the_others_run() -> None:
    plan = planned("params.trouble=a,raise,print", "variables.v=on_read/mean,on_write/mean")
    folder = begin_sweep(plan)
    failed = "failed ValueError: a program's trouble"
    printed = "failed ValueError: it printed: no room"

    assert ["done", "done", failed, failed, printed, printed] == ran(folder, plan)
    assert "2 of 6 points, 4 failed" == folder.sweep.state
    runs = [folder.run_folder(point) for point in folder.sweep.points]
    assert ["done", "failed"] == [load_summary(runs[i]).status.value for i in (1, 2)]
    assert runs[4] == find_run(f"{folder.path}/5") == find_run("latest-sweep/5")
    again = run_experiment(load_experiment(runs[1] / "experiment.yaml", allow_paths=True))
    assert RunStatus.DONE is again.status
    assert "ON_WRITE" == again.variables[0].synchronization


def test_a_returned_variable_without_a_value_names_the_line_of_the_program(write: Write) -> None:
    text = PROGRAM.replace('return {"twice": 2 * rate}', 'return {"weights": v}')
    write("program.py", text)
    plan = planned("mode=none,on_write")
    folder = begin_sweep(plan)
    ran(folder, plan)
    result = load_summary(folder.path / "points" / "1-mode-none").result

    assert str(result["weights"]).startswith("no value: cannot be read in cross-replica context: ")
    assert str(result["weights"]).endswith("no single value to read (created at program.py:8)")


def test_a_point_that_cannot_begin_is_a_failed_point() -> None:
    plan = planned("mode='no_such=on_read',auto")
    assert "'no_such'" in ran(begin_sweep(plan), plan)[0]


def test_an_interrupted_sweep_keeps_its_points_and_runs_the_others() -> None:
    plan = planned("params.trouble=first,interrupt,last")
    folder = begin_sweep(plan)
    with pytest.raises(KeyboardInterrupt):
        ran(folder, plan)
    assert ["done", "interrupted", "waiting"] == states(folder)
    first = folder.run_folder(folder.sweep.points[0])
    before = (first / "summary.json").stat()

    Path("heeded").touch()
    resumed, plan = resume_sweep(folder.path)
    assert [2, 3] == [one.number for one in points_to_run(resumed, plan)]
    assert ["done", "done", "done"] == ran(resumed, plan)
    assert before == (first / "summary.json").stat()
    assert {"first", "interrupt", "last"} == {
        load_summary(one).experiment["params"]["trouble"]
        for one in (folder.path / "points").iterdir()
    }


def test_a_sweep_is_not_resumed_if_its_points_would_not_be_comparable(write: Write) -> None:
    folder = begin_sweep(planned("params.rate=1.0,2.0"))
    write("program.py", f"{PROGRAM}# changed")
    with pytest.raises(ConfigError, match="the program has changed since"):
        resume_sweep(folder.path)
    write("program.py", PROGRAM)
    file = folder.path / "sweep.yaml"
    file.write_text(file.read_text("utf-8").replace("- 2.0", "- 3.0"), "utf-8")
    with pytest.raises(ConfigError, match="does not have the points of the sweep any more"):
        resume_sweep(folder.path)


def test_failed_points_run_again_also_with_a_changed_program(write: Write) -> None:
    plan = planned("params.trouble=a,raise")
    folder = begin_sweep(plan)
    ran(folder, plan)
    first, last = map(folder.run_folder, folder.sweep.points)
    before = (first / "summary.json").stat()
    write("program.py", PROGRAM.replace('trouble == "raise"', "False"))
    with pytest.raises(ConfigError, match="run only what has failed again with --retry-failed"):
        resume_sweep(folder.path)

    resumed, plan = resume_sweep(folder.path, retry_failed=True)
    watcher = SweepProgress(points_to_run(resumed, plan, retry_failed=True), 0, quiet=True)
    run_sweep(resumed, plan, watcher, retry_failed=True)

    assert ["done", "done"] == states(resumed)
    assert before == (first / "summary.json").stat()
    assert RunStatus.DONE is load_summary(last).status
    assert [folder.sweep.program] == read_sweep(folder.path).sweep.earlier_programs
    assert plan.program == read_sweep(folder.path).sweep.program
    assert [] == points_to_run(*resume_sweep(folder.path), retry_failed=True)
    assert any("source of the program" in one for one in compare_folders([folder.path]).notes)


def test_a_sweep_of_others_runs_no_program_without_trust(write: Write) -> None:
    folder = begin_sweep(planned("params.rate=1.0,2.0"))
    write(
        "foreign.py", "from pathlib import Path; Path('executed').touch()\nfrom program import run"
    )
    file = folder.path / "sweep.yaml"
    text = file.read_text("utf-8").replace("program.py", "foreign.py")
    file.write_text(text, "utf-8")

    with pytest.raises(ConfigError, match=r"another machine or user.*foreign.py.*add --trust"):
        resume_sweep(folder.path)
    assert not Path("executed").exists()
    with pytest.raises(ConfigError, match="the program has changed since"):
        resume_sweep(folder.path, trust=True)
    assert Path("executed").exists()


def test_a_sweep_of_a_built_in_workload_needs_no_trust_and_follows_no_links(tmp_path: Path) -> None:
    plan = plan_sweep(
        lambda overrides: load_experiment(None, overrides), [axis_of_word("workers=1,2")]
    )
    folder = begin_sweep(plan)
    (folder.path / "origin.json").unlink()
    assert 2 == len(resume_sweep(folder.path)[1].points)
    (tmp_path / "mine" / folder.sweep.points[0].run).mkdir(parents=True)
    (folder.path / "points").symlink_to(tmp_path / "mine")

    with pytest.raises(ConfigError, match="points is a link to another folder"):
        resume_sweep(folder.path)


def test_two_processes_do_not_run_one_sweep() -> None:
    plan = planned("params.rate=1.0,2.0")
    folder = begin_sweep(plan)
    with folder.files.claimed(), pytest.raises(ConfigError, match="running in another process"):
        ran(folder, plan)


def test_a_sweep_that_another_process_has_ended_meanwhile_does_not_run_again() -> None:
    plan = planned("params.rate=1.0,2.0")
    folder = begin_sweep(plan)
    resumed, plan_again = resume_sweep(folder.path)
    assert ["done", "done"] == ran(folder, plan)
    before = [(one / "summary.json").stat() for one in sorted(folder.path.glob("points/*"))]

    assert ["done", "done"] == ran(resumed, plan_again)
    assert before == [(one / "summary.json").stat() for one in sorted(folder.path.glob("points/*"))]


def test_a_sweep_is_removed_as_a_whole_to_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = planned("params.rate=1.0,2.0")
    folder = begin_sweep(plan)
    monkeypatch.setenv("VARSIM_RUNS_LIMIT", "1B")

    assert ["done", "done"] == ran(folder, plan)
    assert [folder.path] == [one.path for one in stored_runs(Path("runs"))]
    assert [folder.path] == [one.path for one in make_room(Path("runs"), 1).removed]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('"version": 1', '"version": 9', "a sweep of version 9; this varsim reads 1"),
        ('"number": 2', '"number": 3', "its points need the numbers"),
        ('"run": "1-', '"run": "../1-', "its points need the numbers"),
        ('"waiting"', '"sleeping"', "is not a sweep: points.0.status"),
    ],
)
def test_a_damaged_sweep_is_refused(before: str, after: str, said: str) -> None:
    file = begin_sweep(planned("params.rate=1.0,2.0")).path / "sweep.json"
    text = file.read_text("utf-8")
    assert before in text
    file.write_text(text.replace(before, after), "utf-8")
    with pytest.raises(ConfigError) as caught:
        read_sweep(file.parent)
    assert said in str(caught.value)


def test_a_run_of_an_experiment_with_a_sweep_is_refused(write: Write) -> None:
    experiment = load_experiment(write("x.yaml", "sweep:\n  workers: [1, 2]\n"))
    with pytest.raises(ConfigError, match=r"x.yaml:1: sweep: .*use `varsim sweep .*x.yaml`"):
        run_experiment(experiment)
