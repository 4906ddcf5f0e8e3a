"""The leak check finds every kind of resource that a test can leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq

from tests.leaks import MARK, LeakCheck
from tests.waiting import MS, is_running, wait_for, wait_for_exit


@pytest.fixture
def check(private_temporary: Path, monkeypatch: pytest.MonkeyPatch) -> LeakCheck:
    monkeypatch.setattr("tests.leaks.GRACE_S", 20 * MS)
    monkeypatch.setattr("tests.leaks.gc", SimpleNamespace(collect=lambda _=2: 0))  # saves time
    return LeakCheck(private_temporary, os.environ[MARK])


def test_a_clean_test_passes_the_leak_check(check: LeakCheck) -> None:
    assert check.leaks() == []


def test_a_child_is_found_and_ended(check: LeakCheck) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        assert [f"process {child.pid}: sleep 60"] == check.leaks()

        check.end_processes()

        assert -9 == child.wait()
        assert check.leaks() == []
    finally:
        child.kill()
        child.wait()


def test_a_child_without_the_mark_of_the_run_is_found(check: LeakCheck) -> None:
    child = subprocess.Popen(["/bin/sleep", "60"], env={})
    try:
        assert [f"process {child.pid}: /bin/sleep 60"] == check.leaks()
    finally:
        child.kill()
        child.wait()


def test_an_orphan_is_found_after_its_parent_has_ended(check: LeakCheck) -> None:
    program = (
        "import subprocess; print(subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL).pid)"
    )
    orphan = int(subprocess.check_output([sys.executable, "-c", program]))
    assert [f"process {orphan}: sleep 60"] == check.leaks()

    check.end_processes()

    wait_for_exit(orphan)
    assert not is_running(orphan)


def test_a_thread_is_found(check: LeakCheck) -> None:
    go_on = threading.Event()
    thread = threading.Thread(target=go_on.wait, name="forgotten")
    thread.start()
    try:
        assert ["thread forgotten"] == check.leaks()
    finally:
        go_on.set()
        thread.join()
    assert check.leaks() == []


def test_a_socket_is_found(check: LeakCheck) -> None:
    context = zmq.Context()
    socket = context.socket(zmq.DEALER)
    try:
        assert any("eventfd" in leak for leak in check.leaks())
    finally:
        socket.close()
        context.term()
    assert check.leaks() == []


def test_a_private_folder_is_found(check: LeakCheck, private_temporary: Path) -> None:
    folder = private_temporary / "varsim-x"
    folder.mkdir()
    assert [f"file {folder}"] == check.leaks()
    folder.rmdir()


def test_a_segment_is_found(
    check: LeakCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The test uses its own folder, because other tests check the system's folder meanwhile."""
    monkeypatch.setattr("tests.leaks.SEGMENTS", tmp_path)
    segment = tmp_path / "varsim-x"
    segment.touch()
    assert [f"file {segment}"] == check.leaks()
    segment.unlink()


def test_a_segment_that_another_program_uses_is_no_leak(
    check: LeakCheck, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.leaks.SEGMENTS", tmp_path)
    segment = tmp_path / "varsim-x"
    segment.write_bytes(bytes(4096))
    program = (
        "import mmap, sys\n"
        "with open(sys.argv[1], 'r+b') as file, mmap.mmap(file.fileno(), 4096):\n"
        "    input('mapped\\n')\n"
    )
    command = [sys.executable, "-c", program, str(segment)]
    with subprocess.Popen(
        command, env={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert "mapped\n" == other.stdout.readline()
        used = check.leaks()
        other.communicate("\n")

    assert f"file {segment}" not in used
    assert [f"file {segment}"] == check.leaks()
    segment.unlink()


def test_wait_for_returns_the_first_true_value_or_fails_at_the_deadline() -> None:
    states = iter([0, 0, 7])
    assert 7 == wait_for(lambda: next(states))
    with pytest.raises(AssertionError, match=r"waited 0.01 s for tea; it is still False"):
        wait_for(lambda: False, 0.01, what="tea")
