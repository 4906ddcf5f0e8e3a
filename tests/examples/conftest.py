"""Install the packages of examples/policies, as pip would, for the tests of one folder."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

POLICIES = Path(__file__).parents[2] / "examples" / "policies"


def install(policies: Path, folder: Path) -> list[str]:
    """Write what pip writes about the packages; return the folders to add to sys.path."""
    found = [str(folder)]
    for about in sorted(policies.glob("*/pyproject.toml")):
        project = tomllib.loads(about.read_text())["project"]
        name, version = project["name"], project["version"]
        entries = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        entries.mkdir()
        (entries / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (entries / "entry_points.txt").write_text(
            "\n".join(
                f"[{group}]\n" + "".join(f"{key} = {path}\n" for key, path in points.items())
                for group, points in project["entry-points"].items()
            )
        )
        found.append(str(about.parent))
    return found


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the packages importable, with the entry points of their pyproject.toml."""
    for path in install(POLICIES, tmp_path):
        monkeypatch.syspath_prepend(path)
