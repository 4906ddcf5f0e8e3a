"""A private folder has an owner from its creation, and is removed if the owner was killed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from varsim.transport import folders
from varsim.transport.folders import PrivateFolder, leftovers, new_path, remove_leftovers


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "places", lambda: [tmp_path])
    return tmp_path


def killed(folder: PrivateFolder) -> PrivateFolder:
    """Release the lock of a folder, as the system does when the owner is killed."""
    os.close(folder._lock)
    folder._lock = -1
    return folder


def test_a_folder_is_private_and_is_removed() -> None:
    with PrivateFolder(new_path("x-")) as folder:
        assert 0o40700 == folder.path.stat().st_mode
        (folder.path / "file").touch()
    assert not folder.path.exists()


def test_the_folder_of_a_killed_process_is_removed() -> None:
    folder = killed(PrivateFolder(new_path()))
    (folder.path / "worker-0.log").touch()

    ((path, process_id),) = [(one.path, one.process_id) for one in leftovers()]
    assert (folder.path, str(os.getpid())) == (path, process_id)
    assert [path] == [one.path for one in remove_leftovers()]
    assert not path.exists()


def test_a_folder_in_use_is_not_removed() -> None:
    with PrivateFolder(new_path()) as folder:
        assert [] == remove_leftovers()
        assert folder.path.exists()


def test_forks_of_a_killed_owner_keep_its_folder() -> None:
    """A fork of the owner may still use the folder."""
    folder = PrivateFolder(new_path())
    held = os.dup(folder._lock)  # a fork has such a copy of the descriptor
    killed(folder)
    assert [] == leftovers()
    os.close(held)
    assert [folder.path] == [one.path for one in remove_leftovers()]


def test_other_folders_are_not_touched(place: Path) -> None:
    """Names of other folders may begin with the same letters as those of private folders."""
    (place / "varsim-results").mkdir()
    (place / "varsim-file").touch()
    (place / "elsewhere").mkdir()
    killed(PrivateFolder(place / "elsewhere" / "mine"))
    (place / "varsim-link").symlink_to(place / "elsewhere" / "mine")
    assert [] == remove_leftovers()
    assert (place / "elsewhere" / "mine").exists()


def test_only_an_old_unowned_folder_is_removed(place: Path) -> None:
    """A new folder may not be locked yet. The owner of an old folder without a lock was killed."""
    lock = place / "varsim-new" / "owner"
    lock.parent.mkdir()
    lock.touch()
    assert [] == remove_leftovers()
    os.utime(lock, (1, 1))
    assert [lock.parent] == [one.path for one in remove_leftovers()]
