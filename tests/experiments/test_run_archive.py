"""Archives of runs: they are unpacked into the folder of runs, and nowhere else."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner

from varsim.cli.main import main
from varsim.errors import ConfigError
from varsim.experiments.run_archive import unpacked
from varsim.testing import simulated_cluster

RUN = "20260101-000000-mine"
PROGRAM = '''"""A program."""
import varsim as tf
def run(job):
    job.log(loss=1)
'''


def tar_of(file: Path, members: Sequence[tarfile.TarInfo]) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(bytes(member.size)))


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname = kind, link
    return one


@pytest.mark.parametrize("ending", ["tar.gz", "zip"])
def test_an_exported_run_is_unpacked_and_run(write: Callable[[str, str], Path], ending: str):
    write("mine.py", PROGRAM)

    def varsim(*words: str) -> tuple[int, str]:
        with simulated_cluster():
            done = CliRunner().invoke(main, words)
        return done.exit_code, done.output

    _, run = varsim("run", "mine.py", "-q", "--out", "here")
    run = run.strip()
    assert 0 == varsim("export", run, f"sent.{ending}")[0]
    code, refused = varsim("run", f"sent.{ending}")
    assert (2, True) == (code, "add --trust" in refused)
    there = Path("runs") / Path(run).name
    assert 2 == varsim("run", f"sent.{ending}", "--trust")[0]  # it is unpacked already
    assert (Path(run) / "metrics.jsonl").read_bytes() == (there / "metrics.jsonl").read_bytes()
    assert 0 == varsim("runs", str(there), "--remove")[0]
    code, again = varsim("run", f"sent.{ending}", "--trust", "-q", "--out", "again")
    assert (0, 0) == (code, varsim("diff", str(there), again.strip())[0]), again
    assert [there.name] == [one.name for one in Path("runs").iterdir()]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([member("../evil")], "'../evil' is not a file in the directory of a run"),
        ([member("/tmp/evil")], "is not a file in the directory"),
        ([member("evil")], "is not a file in the directory"),
        ([member(f"{RUN}/x", tarfile.SYMTYPE, "/etc")], "links are not unpacked"),
        ([member(f"{RUN}/x", tarfile.FIFOTYPE)], "links are not unpacked"),
        ([member(f"{RUN}/experiment.yaml"), member("other/x")], "not the archive of one run"),
        ([member(f"{RUN}/x")], "has no experiment.yaml"),
        ([member(f"{RUN}/x"), member(f"{RUN}/x")], "cannot be unpacked"),
        ([], "has no experiment.yaml"),
    ],
)
def test_other_archives_are_refused_and_leave_no_file(
    tmp_path: Path, members: Sequence[tarfile.TarInfo], said: str
):
    tar_of(tmp_path / "sent.tgz", members)
    with pytest.raises(ConfigError, match=said):
        unpacked(tmp_path / "sent.tgz", tmp_path / "runs")

    assert [] == list(tmp_path.glob("runs/*")) + list(tmp_path.glob("runs/.*"))


def test_a_damaged_archive_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "sent.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{RUN}/experiment.yaml", "a" * 999)
    content = bytearray((tmp_path / "sent.zip").read_bytes())
    content[70] ^= 255
    (tmp_path / "sent.zip").write_bytes(content)
    (tmp_path / "sent.tgz").write_bytes(b"x" * 99)

    for name in ("sent.zip", "sent.tgz"):
        with pytest.raises(ConfigError, match="cannot be unpacked"):
            unpacked(tmp_path / name, tmp_path / "runs")
