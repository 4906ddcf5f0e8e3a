"""Make the packages of examples/policies available, as pip would, without installing them."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

POLICIES: Final = Path(__file__).parents[1] / "examples" / "policies"


def install(policies: Path, folder: Path) -> list[str]:
    """Write what pip writes about the packages; return the folders to add to sys.path.

    Args:
        policies: The folder of the packages.
        folder: An empty folder for the files about them.
    """
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
