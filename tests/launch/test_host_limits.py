"""`varsim run` under low limits of the system: the run succeeds, or one sentence says why not."""

from __future__ import annotations

import ctypes
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import MS

pytestmark = [pytest.mark.processes, pytest.mark.slow]

TIMEOUT_S = 30_000 * MS
COMMAND = [sys.executable, "-m", "varsim", "run", "-n", "2", "--steps", "2"]
WORKS = "step 2/2  loss"
GIB = 2**30


def limited(limit: int, most: int, folder: Path) -> tuple[int, list[str]]:
    """Run the command with one resource limit; return its exit code and its lines on stderr."""

    def lower() -> None:
        if limit == resource.RLIMIT_NPROC:
            be_a_user()
        resource.setrlimit(limit, (most, most))

    done = subprocess.run(
        COMMAND, cwd=folder, preexec_fn=lower, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return done.returncode, done.stderr.splitlines()


def be_a_user() -> None:
    """Become a user who has no other processes; the limit of processes does not apply to root.

    The effective user stays root, because the interpreter may be in root's directory.
    """
    libc = ctypes.CDLL(None)
    for capability in (21, 24):  # with CAP_SYS_ADMIN or CAP_SYS_RESOURCE no limit applies
        libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
    os.setresuid(54_321, 0, 0)


@pytest.mark.parametrize("most", [3 * GIB // 8, 2 * GIB, 16 * GIB, 64 * GIB])
def test_few_addresses_are_enough_or_cause_an_error(most: int, tmp_path: Path) -> None:
    code, (line,) = limited(resource.RLIMIT_AS, most, tmp_path)
    if most >= GIB:
        assert (0, WORKS) == (code, line[: len(WORKS)])
        assert (tmp_path / "runs" / "latest" / "history.db").is_file()
    else:
        assert 1 == code
        assert "of addresses, and a cluster needs 256 MiB: raise the limit (ulimit -v)." in line


@pytest.mark.parametrize("most", [16, 64, 128])
def test_few_open_files_are_enough_or_cause_an_error(most: int, tmp_path: Path) -> None:
    code, (line,) = limited(resource.RLIMIT_NOFILE, most, tmp_path)
    if most == 128:
        assert (0, WORKS) == (code, line[: len(WORKS)])
    else:
        assert 1 == code
        assert f"open files, but this process is allowed only {most}: raise the limit" in line


@pytest.mark.parametrize("most", [GIB // 10, GIB // 7, GIB // 5])
def test_too_few_addresses_for_numpy_name_the_limit(most: int, tmp_path: Path) -> None:
    code, (line,) = limited(resource.RLIMIT_AS, most, tmp_path)
    assert 1 == code
    assert "MiB of addresses here, and varsim needs 256 MiB: raise the limit (ulimit -v)" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="a user's other processes count too")
def test_too_few_processes_for_numpy_name_the_limit(
    tmp_path: Path,
) -> None:
    """OpenBLAS raises SIGINT in this case; the error does not say "interrupted"."""
    code, (line,) = limited(resource.RLIMIT_NPROC, 1, tmp_path)
    assert 1 == code
    assert "threads, and the system allows only 0 more" in line
    assert "set OPENBLAS_NUM_THREADS=1" in line


@pytest.mark.skipif(os.geteuid() != 0, reason="a user's other processes count too")
@pytest.mark.parametrize("most", [3, 4, 6, 8, 10, 64])
def test_few_processes_are_enough_or_cause_an_error(most: int, tmp_path: Path) -> None:
    code, (line,) = limited(resource.RLIMIT_NPROC, most, tmp_path)
    if most == 64:
        assert (0, WORKS) == (code, line[: len(WORKS)])
    else:
        assert 1 == code
        assert "2 workers need 9 more processes and threads, but the system allows only" in line
