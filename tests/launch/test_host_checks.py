"""`varsim doctor` finds each problem, names the remedy, and never calls unchecked subjects ok."""

from __future__ import annotations

import errno
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import zmq

from varsim.errors import StartError
from varsim.launch import host_checks, host_needs, logs
from varsim.launch.host_checks import CHECKS, Check, Request, State, check_host
from varsim.launch.logs import WorkerLogs
from varsim.launch.rendezvous import log_name
from varsim.transport import arena, folders
from varsim.transport.folders import PrivateFolder, new_path

Patch = pytest.MonkeyPatch
MIB = 2**20


def check(subject: str, workers: int = 2, runs: Path = Path()) -> Check:
    return Check(subject, *dict(CHECKS)[subject](Request(workers, runs)))


def raises(error: BaseException) -> Callable[..., Any]:
    def raise_it(*_: object, **__: object) -> Any:
        raise error

    return raise_it


FULL = OSError(errno.ENOSPC, "No space left on device")


def statvfs(free_bytes: int = 2**40, free_files: int = 10**6) -> Callable[[object], Any]:
    return lambda _: SimpleNamespace(
        f_bavail=free_bytes, f_frsize=1, f_favail=free_files, f_files=10**7
    )


def old_python(patch: Patch) -> None:
    patch.setattr(sys, "version_info", (3, 10, 1))


def old_libzmq(patch: Patch) -> None:
    patch.setattr(zmq, "zmq_version_info", lambda: (4, 1, 9))


def no_curve(patch: Patch) -> None:
    patch.setattr(zmq, "has", lambda _: False)


def no_shared_memory(patch: Patch) -> None:
    patch.setattr(os, "posix_fallocate", raises(FULL))


def no_addresses_for_sharing(patch: Patch) -> None:
    patch.setattr(arena, "address_space", lambda: 2**28)


def no_memory(patch: Patch) -> None:
    patch.setattr(host_checks, "_available_bytes", lambda: MIB)


def few_files(patch: Patch) -> None:
    patch.setattr(resource, "getrlimit", lambda _: (10, 20))


def few_threads(patch: Patch) -> None:
    patch.setattr(host_checks, "spare_threads", lambda wanted: wanted - 1)


def few_addresses(patch: Patch) -> None:
    patch.setattr(host_checks, "address_space", lambda: 100 * MIB)


def long_paths(patch: Patch) -> None:
    patch.setattr(folders, "MAX_IPC_PATH", 3)


def no_temporary_files(patch: Patch) -> None:
    patch.setattr(PrivateFolder, "__init__", raises(FULL))


def no_room(patch: Patch) -> None:
    patch.setattr(os, "statvfs", statvfs(free_bytes=MIB))


def no_inodes(patch: Patch) -> None:
    patch.setattr(os, "statvfs", statvfs(free_files=3))


def no_runs(patch: Patch) -> None:
    patch.setattr("tempfile.TemporaryFile", raises(PermissionError(13, "Permission denied")))


def early_clock(patch: Patch) -> None:
    patch.setattr(time, "time", lambda: 0.0)


def unsteady_clock(patch: Patch) -> None:
    patch.setattr(time, "get_clock_info", lambda _: SimpleNamespace(adjustable=True))


@pytest.mark.parametrize(
    ("subject", "fault", "found", "remedy"),
    [
        ("Python", old_python, "", "use Python 3.11 or newer"),
        ("ZeroMQ", old_libzmq, "libzmq", "install a pyzmq with libzmq 4.2 or newer"),
        ("CURVE", no_curve, "transport: tcp needs it", "use transport: ipc"),
        ("shared memory", no_shared_memory, "No space left", "use exchange: star"),
        ("shared memory", no_addresses_for_sharing, "addresses are limited", "ulimit -v"),
        ("shared memory", no_memory, "1.0 MiB of memory is free", "use fewer workers"),
        ("open files", few_files, "can be raised to 20", "raise the limit (ulimit -n"),
        ("processes and threads", few_threads, "a cluster adds 9; possible: 8", "ulimit -u"),
        ("addresses", few_addresses, "100.0 MiB more", "raise the limit (ulimit -v)"),
        ("path of sockets", long_paths, "is too long", "set TMPDIR"),
        ("temporary files", no_temporary_files, "No space left", "set TMPDIR"),
        ("temporary files", no_room, "1.0 MiB is free", "set TMPDIR"),
        ("folder of runs", no_room, "1.0 MiB is free", "varsim runs --limit"),
        ("folder of runs", no_inodes, "only 3 more files (inodes)", "varsim runs --limit"),
        ("folder of runs", no_runs, "Permission denied", "use --out"),
        ("clock", early_clock, "before the day on which varsim was installed", "set the clock"),
        ("clock", unsteady_clock, "monotonic clock can be set", "use another system"),
    ],
)
def test_a_problem_has_a_remedy(
    subject: str, fault: Callable[[Patch], None], found: str, remedy: str, monkeypatch: Patch
) -> None:
    before = check(subject)
    assert (State.OK, "") == (before.state, before.remedy), before
    with monkeypatch.context() as patch:
        fault(patch)
        after = check(subject)
    assert State.PROBLEM is after.state, after
    assert found in after.found
    assert remedy in after.remedy


def no_memfd(patch: Patch) -> None:
    patch.delattr(os, "memfd_create")


def no_dev_shm(patch: Patch) -> None:
    patch.setattr(Path, "is_dir", lambda _: False)


def read_only_dev_shm(patch: Patch) -> None:
    patch.setattr("tempfile.TemporaryFile", raises(OSError(30, "Read-only file system")))


def limited_addresses(patch: Patch) -> None:
    patch.setattr(host_checks, "address_space", lambda: 2**31)
    patch.setattr(host_needs, "address_space", lambda: 2**31)


@pytest.mark.parametrize(
    ("subject", "lack", "found"),
    [
        ("shared memory", no_memfd, "exchange: star works"),
        ("/dev/shm", no_dev_shm, "this system has no /dev/shm"),
        ("/dev/shm", read_only_dev_shm, "not writable (Read-only file system)"),
        ("processes and threads", limited_addresses, "more were not tried"),
    ],
)
def test_what_is_not_looked_at_is_not_ok(
    subject: str, lack: Callable[[Patch], None], found: str, monkeypatch: Patch
) -> None:
    with monkeypatch.context() as patch:
        lack(patch)
        result = check(subject)
    assert (State.NOT_CHECKED, "") == (result.state, result.remedy), result
    assert found in result.found


def test_the_check_says_that_unknown_free_memory_is_not_checked(monkeypatch: Patch) -> None:
    monkeypatch.setattr(host_checks, "_available_bytes", lambda: None)
    assert "the free memory is not checked on this system" in check("shared memory").found


def test_every_subject_is_checked_once() -> None:
    checks = check_host(Request(2, Path()))
    assert [subject for subject, _ in CHECKS] == [one.subject for one in checks]


def test_check_and_start_need_the_same_open_files(monkeypatch: Patch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 500))
    monkeypatch.setattr(host_needs, "open_files", lambda: 10)
    result = check("open files", workers=1000)
    assert State.PROBLEM is result.state
    with pytest.raises(StartError, match=r"ulimit -n 1074"):
        host_needs.ensure_open_files(1000)
    assert "ulimit -n 1074" in result.remedy


def test_the_nearest_parent_of_a_missing_folder_is_checked(tmp_path: Path) -> None:
    assert f"{tmp_path} is writable" in check("folder of runs", runs=tmp_path / "a" / "b").found


def test_the_check_names_a_tmpdir_whose_path_is_too_long(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    result = check("path of sockets")
    assert State.OK is result.state
    assert result.found.endswith(f"; the path of {long} is too long")


@pytest.mark.parametrize("unusable", ["missing", "file"])
def test_the_check_names_an_unusable_tmpdir(
    monkeypatch: Patch, tmp_path: Path, unusable: str
) -> None:
    """Without this text the user would not know why the files of a cluster are in /tmp."""
    (tmp_path / "file").touch(0o700)
    monkeypatch.setenv("TMPDIR", str(tmp_path / unusable))
    result = check("temporary files")
    assert (State.OK, True) == (
        result.state,
        result.found.endswith(f"; TMPDIR={tmp_path / unusable} cannot be used"),
    )


def test_a_current_directory_that_was_removed_is_a_problem(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    result = check("folder of runs", runs=Path("runs"))
    assert (State.PROBLEM, "runs: No such file or directory") == (result.state, result.found)


def test_leftovers_are_listed_and_removed(monkeypatch: Patch, tmp_path: Path) -> None:
    for module in (folders, logs):
        monkeypatch.setattr(module, "places", lambda: [tmp_path])
    folder = PrivateFolder(new_path())
    os.close(folder._lock)
    folder._lock = -1

    result = check("leftovers")
    assert State.PROBLEM is result.state
    assert f"{folder.path} (process {os.getpid()})" in result.found
    assert [folder.path] == host_checks.clean()
    assert State.OK is check("leftovers").state


def test_the_newest_logs_are_kept_until_they_are_removed(
    monkeypatch: Patch, tmp_path: Path
) -> None:
    for module in (folders, logs):
        monkeypatch.setattr(module, "places", lambda: [tmp_path])
    monkeypatch.setattr(logs, "MAX_KEPT", 2)
    assert "none is kept" == check("logs of lost workers").found
    (tmp_path / "varsim-worker-x.log").mkdir()
    kept = []
    for number in range(3):
        with PrivateFolder(new_path()) as folder:
            log = folder.path / log_name(1)
            log.touch()
            of_workers = WorkerLogs(folder.path, private=True, num_replicas=2)
            log.write_text("line\n" * 100)
            os.utime(log, (number, number))
            kept.append(Path(of_workers.of_lost(1)[1]))

    assert [False, True, True] == [path.exists() for path in kept]
    result = check("logs of lost workers")
    assert f"{kept[2]}, {kept[1]} (at most " in result.found
    assert "`varsim doctor --clean` removes them" == result.remedy
    assert [kept[2], kept[1]] == host_checks.clean()
    assert "none is kept" == check("logs of lost workers").found
