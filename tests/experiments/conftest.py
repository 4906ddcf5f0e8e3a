"""Fixtures for folders and files of experiments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _in_own_folder(own_folder: Path) -> None:
    """Give each test a folder of its own."""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    """Provide a function that writes a file into the test's folder."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write
