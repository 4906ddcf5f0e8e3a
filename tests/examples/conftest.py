"""Install the packages of examples/policies, as pip would, for the tests of one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.policies import POLICIES, install


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the packages importable, with the entry points of their pyproject.toml."""
    for path in install(POLICIES, tmp_path):
        monkeypatch.syspath_prepend(path)
