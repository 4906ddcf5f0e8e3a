"""Write the locks again from pyproject.toml, and show what changed: `make upgrade` and `make lock`.

uv writes the locks, because pip cannot lock for other Pythons than its own. The locks contain
versions and hashes, but no addresses: pip's configuration on each machine says where packages are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from locks.installed import FOLDER, NEWEST, pins

ROOT: Final = FOLDER.parent
PYPROJECT: Final = ROOT / "pyproject.toml"
LOWEST: Final = FOLDER / "lowest.txt"
RESOLUTION: Final = {NEWEST: "highest", LOWEST: "lowest-direct"}
PYTHONS: Final = ("3.11", "3.12", "3.13", "3.14")
_UV_TIMEOUT_S: Final = 300  # it asks the package index about forty packages


def relock(uv: str, *, upgrade: bool) -> None:
    """Write both locks, for all Pythons and systems that varsim supports.

    Args:
        uv: The command.
        upgrade: Whether to take newer releases. If False, pins that still fit are kept.
    """
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))
    needed_to_build = "\n".join(project["build-system"]["requires"])
    for lock, resolution in RESOLUTION.items():
        command = [uv, "pip", "compile", "pyproject.toml", "-", "--extra", "dev"]
        command += ["--upgrade"] if upgrade else []
        command += ["--universal", "--python-version", PYTHONS[0], "--resolution", resolution]
        command += ["--generate-hashes", "--no-annotate", "--no-emit-index-url", "--no-config"]
        command += ["--custom-compile-command", "make upgrade", "--quiet"]
        command += ["--output-file", str(lock.relative_to(ROOT))]
        subprocess.run(
            command, input=needed_to_build, text=True, check=True, cwd=ROOT, timeout=_UV_TIMEOUT_S
        )


def everywhere(lock: Path) -> dict[str, str]:
    """Return the version of each package of a lock, or its versions by Python if they differ."""
    if not lock.exists():
        return {}
    by_python = {
        python: pins(lock, {"python_full_version": f"{python}.0", "python_version": python})
        for python in PYTHONS
    }
    found: dict[str, str] = {}
    for name in sorted({name for versions in by_python.values() for name in versions}):
        versions = {python: by_python[python].get(name, "-") for python in PYTHONS}
        alike = set(versions.values())
        if len(alike) == 1:
            found[name] = alike.pop()
        else:
            found[name] = ", ".join(f"{version} on {py}" for py, version in versions.items())
    return found


def changes(before: dict[str, str], after: dict[str, str]) -> Iterable[str]:
    """Yield a line for each package that was added or removed, or whose version changed."""
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name, "-"), after.get(name, "-")
        if old != new:
            yield f"  {name:<20} {old} → {new}"


def main() -> int:
    """Write the locks, and print old and new versions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="the command uv")
    parser.add_argument("--keep", action="store_true", help="keep the pins that still fit")
    options = parser.parse_args()
    before = {lock: everywhere(lock) for lock in RESOLUTION}
    relock(options.uv, upgrade=not options.keep)
    for lock in RESOLUTION:
        lines = list(changes(before[lock], everywhere(lock)))
        print(f"{lock.relative_to(ROOT)}: {len(lines)} changed", *lines, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
