"""Sweeps whose points run on the nodes of a Ray cluster: with a package that stands for Ray."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.launch.remote.fake_ray import write_fake_ray
from varsim.cli.main import main
from varsim.cli.sweep_progress import SweepProgress
from varsim.errors import ConfigError, StartError
from varsim.experiments.comparison import compare_folders
from varsim.experiments.config import Experiment
from varsim.experiments.loading import load_experiment
from varsim.experiments.run_archive import unpacked
from varsim.experiments.sent_point import ReceivedPoint, SentPoint
from varsim.experiments.spread_sweep import nodes_text
from varsim.experiments.sweep_folder import PointStatus, SweepPoint, read_sweep
from varsim.experiments.sweep_plan import SweepPlan, axis_of_word, plan_sweep
from varsim.experiments.sweep_runner import begin_sweep, points_to_run, resume_sweep, run_sweep
from varsim.experiments.sweep_spread import spread_of
from varsim.launch.remote import ray_connection, ray_task

Write = Callable[[str, str], Path]

PROGRAM = """
from part import RATE

def run(job, *, rate: float = RATE):
    for step in range(2):
        job.strategy.run(lambda: None)
    job.progress(2, 2)
    return {"twice": 2 * rate}
"""


def planned(*words: str, spread: object = "ray") -> SweepPlan:
    return plan_sweep(
        lambda overrides: load_experiment(None, overrides),
        [axis_of_word(one) for one in words],
        spread=spread,
    )


# ---------------------------------------------------------------- what a sweep says


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("rai", "spread is 'rai', and must be ray, none, or ray with its settings.*; did you mean"),
        ({"ssh": {}}, "spread is .*, and must be ray"),
        ({"ray": "a:1"}, "spread is .*, and must be ray"),
        ({"ray": {"hosts": 2}}, "spread: ray has no setting 'hosts': it has address, resources"),
        ({"ray": {"address": 7}}, "spread: ray: address is 7, and must be a text"),
    ],
)
def test_a_wrong_spread_is_refused(value: object, error: str) -> None:
    with pytest.raises(ConfigError, match=f"^sweep.yaml:3: {error}"):
        spread_of(value, "sweep.yaml:3")


def test_points_with_workers_on_several_hosts_are_not_spread() -> None:
    words = ("seed=0,1", "launcher.ssh.hosts=[a, b]")
    with pytest.raises(ConfigError, match="each one runs on one node: omit launcher, or omit spr"):
        planned(*words)
    assert planned(*words, spread="none").spread is None


def test_a_sweep_keeps_where_its_points_run() -> None:
    """A file's `spread` is replaced by that of the command line."""
    settings = {"ray": {"address": "203.0.113.1:6379"}}
    plan = planned("seed=0,1", spread=settings)
    folder = begin_sweep(plan)
    _, again = resume_sweep(folder.path)
    assert plan.spread == again.spread
    assert again.spread is not None
    assert "203.0.113.1:6379" == again.spread.settings.address
    _, here = resume_sweep(folder.path, spread="none")
    assert here.spread is None


def test_the_nodes_of_points_and_their_overheads_are_summed_up() -> None:
    def point(number: int, node: str, overhead_s: float | None) -> SweepPoint:
        return SweepPoint(
            number=number,
            settings={},
            status=PointStatus.DONE,
            run=str(number),
            node=node,
            overhead_s=overhead_s,
        )

    assert "" == nodes_text([point(1, "", None)])
    three = [point(1, "b", 1.0), point(2, "a", 0.5), point(3, "b", 4.0), point(4, "c", None)]
    assert (
        "3 points on 2 nodes of Ray: a 1, b 2. Scheduling overhead per point: median 1.00 s, from "
        "500 ms to 4.00 s" == nodes_text(three)
    )


# ---------------------------------------------------------------- a point that travels


def received(experiment: Experiment, folder: Path, **changes: object) -> Experiment:
    """Return the experiment that another host makes of what was sent."""
    sent = json.loads(SentPoint(experiment).text("1-run")) | changes
    return ReceivedPoint(json.dumps(sent), folder).experiment()


def test_a_host_with_the_same_files_runs_them(write: Write, tmp_path: Path) -> None:
    write("part.py", "RATE = 3.0")
    write("program.py", PROGRAM)
    file = write("one.yaml", "workload: program.py\nworkers: 2\ntrace: off")
    experiment = load_experiment(file)
    there = received(experiment, tmp_path / "there")

    assert experiment.as_keys() == there.as_keys()
    assert experiment.model_fields_set == there.model_fields_set
    assert (experiment.file, experiment.locations) == (there.file, there.locations)


def test_a_host_without_the_files_gets_copies(write: Write, tmp_path: Path) -> None:
    write("part.py", "RATE = 3.0")
    write("program.py", PROGRAM)
    experiment = load_experiment(write("one.yaml", "workload: program.py"))
    before = Path.cwd()
    try:
        there = received(
            experiment,
            tmp_path / "there",
            working_directory="/none",
            root="/none/programs",
            program="/none/programs/program.py",
            file=["/none/one.yaml", {"": ""}],
        )
        assert "programs/program.py" == os.path.relpath(there.workload)
        assert PROGRAM.strip() == Path(there.workload).read_text().strip()
        assert "RATE = 3.0" == Path("programs/part.py").read_text().strip()
        assert there.file is not None
        assert "" == there.file.read_text()
    finally:
        os.chdir(before)


def test_a_folder_is_the_same_after_its_way(tmp_path: Path) -> None:
    """It is sent in parts of equal size; links stay behind."""
    there = tmp_path / "there"
    files = {"experiment.yaml": b"a: 1", "logs/empty": b"", "big": bytes(range(256)) * 5000}
    for name, content in files.items():
        path = there / "1-run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (there / "1-run/link").symlink_to("/etc/passwd")
    parts = list(ray_task._packed(there))
    assert [ray_task.PART_BYTES] == [len(one) for one in parts[:-1]]

    archive = tmp_path / "run.tar"
    archive.write_bytes(b"".join(parts))
    with tarfile.open(archive) as packed:
        assert 3 == len(packed.getmembers())
    home = unpacked(archive, tmp_path / "home")
    found = {
        str(one.relative_to(home)): one.read_bytes() for one in home.rglob("*") if one.is_file()
    }
    assert files == found


# ---------------------------------------------------------------- whole sweeps


@pytest.fixture
def on_fake_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a sweep with one worker for each point; it returns the points."""
    write_fake_ray(tmp_path / "fake")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "fake"))
    monkeypatch.setattr(ray_connection, "version", lambda _: "2.50.0")

    def run(address: str, *words: str) -> list[SweepPoint]:
        plan = planned(*words, spread={"ray": {"address": address}})
        folder = begin_sweep(plan)
        run_sweep(folder, plan, SweepProgress(points_to_run(folder, plan), 0, quiet=True))
        assert not [*(folder.path / "points").glob(".*")], "no partial file is left"
        return read_sweep(folder.path).sweep.points

    return run


@pytest.mark.thorough
@pytest.mark.processes
def test_points_come_home_and_a_crashed_task_runs_once_more(
    on_fake_ray: Callable[..., list[SweepPoint]],
    write: Write,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("part.py", "RATE = 3.0")
    write("program.py", PROGRAM)
    points = on_fake_ray("crashes-1:1", "workload=program.py", "workers=1,3", "params.rate=1.0,2.0")

    assert ["done", "done", "failed", "failed"] == [one.status.value for one in points]
    assert all("no node of the Ray cluster has 3 CPU" in one.error for one in points[2:])
    assert all(one.overhead_s is not None and one.overhead_s > 0 for one in points[:2])
    said = " ".join(capsys.readouterr().err.split())
    assert " runs again: node " in said
    assert "WorkerCrashedError: the process has died" in said
    rows = compare_folders([Path("runs/latest-sweep")]).rows
    assert [2.0, 4.0] == [row.metrics["twice"] for row in rows[:2]]


@pytest.mark.processes
@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("unreachable:1", "^spread: ray: Ray cannot be reached at address 'unreachable:1': Conn"),
        (
            "without-varsim:1",
            "^spread: ray: Ray cannot use node address-a: RayTaskError: ModuleNotFoundError: No "
            r"module named 'varsim' \(varsim must be installed on all nodes",
        ),
    ],
)
def test_a_cluster_that_cannot_be_used_is_one_error(
    on_fake_ray: Callable[..., list[SweepPoint]], address: str, error: str
) -> None:
    with pytest.raises(StartError, match=error):
        on_fake_ray(address, "seed=0,1")
    points = read_sweep(Path("runs/latest-sweep")).sweep.points
    assert [PointStatus.WAITING] * 2 == [one.status for one in points]


@pytest.mark.processes
def test_the_command_says_how_to_go_on_when_the_cluster_can_be_used(
    on_fake_ray: Callable[..., list[SweepPoint]],
) -> None:
    assert on_fake_ray is not None, "it provides the package"
    words = ["sweep", "seed=0,1", "--spread", "ray", "--address", "unreachable:1"]
    result = CliRunner().invoke(main, words)
    assert 1 == result.exit_code
    assert "Ray cannot be reached at address 'unreachable:1'" in result.output
    folder = Path("runs/latest-sweep").readlink()
    assert f"continue with `varsim sweep runs/{folder}`" in result.output
