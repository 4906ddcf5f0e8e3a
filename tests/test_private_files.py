"""Files that a command writes: complete or not at all, and devices and links stay what they are."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from varsim.private import whole_private_file


def write(path: Path, content: bytes) -> None:
    with whole_private_file(path) as file:
        file.write(content)


def test_a_file_is_private_and_replaced_as_a_whole(tmp_path: Path):
    file = tmp_path / "one"
    write(file, b"1")
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    with pytest.raises(TypeError):
        write(file, "no bytes")  # type: ignore[arg-type]
    assert b"1" == file.read_bytes()
    write(file, b"3")
    assert b"3" == file.read_bytes()
    assert [file] == list(tmp_path.iterdir())


def test_a_link_stays_a_link(tmp_path: Path):
    file, link = tmp_path / "one", tmp_path / "link"
    file.write_bytes(b"1")
    link.symlink_to(file)
    write(link, b"2")

    assert link.is_symlink()
    assert b"2" == file.read_bytes()


def test_a_pipe_is_written_directly(tmp_path: Path):
    """A device is neither replaced; a pipe stands for it, because a test cannot risk a device."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write(pipe, b"1")
        assert b"1" == os.read(reader, 9)
    finally:
        os.close(reader)
    assert pipe.is_fifo()


def test_a_folder_is_an_error(tmp_path: Path):
    with pytest.raises(IsADirectoryError):
        write(tmp_path, b"1")
