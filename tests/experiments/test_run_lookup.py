"""The lookup of a run by path, name or `latest`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from varsim.errors import ConfigError
from varsim.experiments.run_lookup import (
    OUT,
    bench_names,
    find_bench,
    find_record,
    find_run,
    find_run_or_sweep,
    find_sweep,
    run_names,
    sweep_names,
)

FIRST, SECOND, THIRD = "20260101-080000-digits", "20260101-090000-digits", "20260102-080000-loss"


@pytest.fixture(autouse=True)
def _runs() -> None:
    """Provide three runs and a measured host. The second run was started last."""
    for name in (FIRST, SECOND, THIRD):
        made(name, "experiment.yaml", "summary.json", "history.db")
    made("20260103-080000-bench", "bench.json")
    Path("runs", "latest").symlink_to(SECOND)


def made(name: str, *files: str, out: Path = OUT) -> Path:
    for file in files:
        path = out / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return out / name


def refused(text: str, find=find_run) -> str:
    with pytest.raises(ConfigError) as caught:
        find(text)
    return str(caught.value)


def test_a_run_is_found_by_name_prefix_path_or_latest() -> None:
    assert OUT / THIRD == find_run(THIRD) == find_run("20260102") == find_run("runs/20260102")
    assert OUT / SECOND == find_run("latest")
    assert Path("runs/latest") == find_run("runs/latest")
    assert OUT / FIRST / "history.db" == find_run(f"runs/{FIRST}/history.db")


def test_a_part_of_a_run_is_found_with_each_form_of_the_run() -> None:
    part = made(f"{SECOND}/strategy-2", "summary.json", "history.db")

    for run in (SECOND, "20260101-09", "latest", f"runs/{SECOND}", "runs/20260101-09"):
        assert part == find_run(f"{run}/strategy-2") == find_record(f"{run}/strategy-2"), run
        assert OUT / SECOND / "history.db" == find_run(f"{run}/history.db"), run
        assert part / "history.db" == find_run(f"{run}/strategy-2/history.db"), run
    assert Path("runs/latest/strategy-2") == find_run("runs/latest/strategy-2")
    assert f"runs/{SECOND} has no strategy-3: it has strategy-2" == refused("latest/strategy-3")
    assert refused(f"{FIRST}/strategy-2").endswith("it has no further strategy or incarnation")
    assert refused("gone/strategy-2").startswith("there is no run 'gone'")


def test_a_point_of_a_sweep_is_found_by_its_number() -> None:
    sweep = made("20260104-080000-x-sweep", "sweep.json", "sweep.yaml")
    point = made("02-seed-1", "experiment.yaml", out=sweep / "points")

    for word in ("latest-sweep", "20260104", str(sweep), "runs/latest-sweep"):
        assert point == find_run(f"{word}/2") == find_run(f"{word}/02"), word
    assert "has no run of a point 3" in refused("latest-sweep/3")
    for word in ("latest-sweep", "20260104", str(sweep), f"{sweep}/sweep.yaml"):
        assert refused(word).startswith(f"{sweep} is a sweep, and this command takes a run")
    assert "is a sweep, and this command takes a run" in refused(str(sweep), find_record)
    assert sweep == find_sweep("latest-sweep") == find_sweep("20260104")
    assert [sweep.name] == sweep_names()
    assert sweep.name not in run_names()


@pytest.mark.parametrize("find", [find_run, find_run_or_sweep])
def test_an_archive_is_not_taken_for_its_folder(find: Callable[[str], Path]) -> None:
    run = made(FIRST, "experiment.yaml", out=Path("elsewhere"))
    (run / "sent.tar.gz").touch()

    said = refused(f"{run}/sent.tar.gz", find)
    assert said.startswith(f"{run}/sent.tar.gz is an archive, and this command takes a run: unpack")
    assert f"`tar -xf {run}/sent.tar.gz`" in said


def test_a_path_takes_precedence_over_a_name() -> None:
    made("20260102", out=Path())
    Path("20260102").mkdir()

    assert Path("20260102") == find_run("20260102")


def test_a_complete_name_takes_precedence_over_a_prefix() -> None:
    longer = made(f"{THIRD}-2", "experiment.yaml")

    assert OUT / THIRD == find_run(THIRD)
    assert longer == find_run(f"{THIRD}-")


def test_without_a_link_the_newest_run_is_the_latest() -> None:
    """Some file systems do not support links, and a link may refer to a deleted run."""
    Path("runs", "latest").unlink()
    assert OUT / THIRD == find_run("latest") == find_run("runs/latest")

    for target in ("gone", "latest"):  # the second link leads to itself
        Path("runs", "latest").symlink_to(target)
        assert OUT / THIRD == find_run("latest") == find_run("runs/latest")
        Path("runs", "latest").unlink()
    Path("runs", "latest").mkdir()
    assert OUT / THIRD == find_run("latest")


def test_an_ambiguous_prefix_is_refused_with_all_names() -> None:
    said = f"2 runs in runs/ begin with '20260101': {SECOND}, {FIRST}"

    assert said == refused("20260101")


@pytest.mark.parametrize("text", ["loss", "2026102-080000-loss", "runs/loss", "runs/los"])
def test_the_error_for_an_unknown_run_names_the_nearest_run(text: str) -> None:
    said = refused(text)

    assert said.startswith(f"there is no run '{text}': it is not a path, and no name in ")
    assert THIRD in said.partition("nearest: ")[2].split(", ")


def test_without_runs_the_error_says_how_to_make_one() -> None:
    assert "it is not a path, and elsewhere/ contains no run; `varsim run` creates one" in refused(
        "elsewhere/latest"
    )


def test_runs_and_measured_hosts_are_looked_up_separately() -> None:
    """`latest` is the last run, or the last measured host."""
    assert ["20260103-080000-bench"] == bench_names()
    assert [THIRD, SECOND, FIRST] == run_names()
    assert OUT / "20260103-080000-bench" == find_bench("latest") == find_bench("20260103")
    assert "no measured host '20260102'" in refused("20260102", find_bench)


def test_the_error_for_a_run_without_a_record_has_the_reason() -> None:
    """The record was switched off, or the run has not ended, or the record could not be written."""
    off = made("20260104-off", "experiment.yaml", "summary.json")
    (off / "experiment.yaml").write_text("trace: off\n")
    assert "it ran with `trace: off`; run it again with --trace ops" in refused(
        "20260104", find_record
    )
    (off / "experiment.yaml").write_text("trace: {level: off, limit: 64 MiB}\n")
    assert "`trace: off`" in refused(str(off), find_record)

    made("20260105-running", "experiment.yaml")
    assert "has no history.db yet: the run has not ended, or" in refused("20260105", find_record)

    made("20260106-full", "experiment.yaml", "summary.json", "trace/program.trace")
    assert "the records of its processes are in trace/" in refused("20260106", find_record)


def test_a_folder_without_a_run_is_refused() -> None:
    Path("empty").mkdir()

    assert refused("empty", find_record).startswith("empty has no history.db: give a run's")


@pytest.mark.parametrize("text", ["x" * 5000, "a\0b"])
def test_an_impossible_file_name_is_refused(text: str) -> None:
    assert refused(text).startswith(f"there is no run {text!r}")
