"""On a machine with low limits the tests pass, or fail with one clear error."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest

from tests.surroundings import (
    MAX_FOLDER,
    ensure_open_files,
    heed_interrupts,
    recorded_limits,
    short_temporary,
)
from varsim.transport.folders import PrivateFolder, new_socket_path
from varsim.transport.sockets import MAX_IPC_PATH


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    return recorded_limits(monkeypatch, 64, 64)


@pytest.fixture
def long_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / ("l" * 2 * MAX_FOLDER)
    path.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(path))
    return path


def test_too_few_open_files_are_one_clear_error(limits: list[tuple[int, int]]):
    with pytest.raises(pytest.UsageError, match=r"need 256 .* 64 are allowed .*ulimit -n 256"):
        ensure_open_files()


def test_the_soft_limit_is_raised_if_the_hard_limit_allows_this(limits: list[tuple[int, int]]):
    limits.append((64, 4096))
    ensure_open_files()

    assert (256, 4096) == limits[-1]


def test_tests_in_a_background_job_heed_interrupts():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        heed_interrupts()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_long_tmpdir_is_not_used_for_sockets_of_tests(long_temporary: Path):
    path = short_temporary()
    path.rmdir()

    assert Path("/tmp") == path.parent
    assert [] == list(long_temporary.iterdir())


def test_a_long_tmpdir_is_not_used_for_sockets(long_temporary: Path):
    """Clusters and `varsim bench` choose the folder of a socket with `new_socket_path`."""
    with PrivateFolder(new_socket_path("c")) as folder:
        assert len(str(folder.path / "c")) < MAX_IPC_PATH
    assert [] == list(long_temporary.iterdir())
