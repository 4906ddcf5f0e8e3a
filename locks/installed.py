"""Compare installed packages with `locks/newest.txt`; `--pins` prints the pins that apply here."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

from packaging.markers import Marker
from packaging.utils import canonicalize_name

FOLDER: Final = Path(__file__).resolve().parent
NEWEST: Final = FOLDER / "newest.txt"

TELL_IN_DOCUMENTS: Final = ("click", "numpy", "pydantic", "pydantic-core", "rich")
"""Generated documents and schemas contain what these packages print or describe."""

_PIN: Final = re.compile(r"^(?P<name>[\w.-]+)==(?P<version>[^\s;\\]+)(?: ; (?P<marker>[^\\]+))?")


def pins(lock: Path, environment: dict[str, str] | None = None) -> dict[str, str]:
    """Return the version of each package of a lock, for this Python and system.

    Args:
        environment: Values for the markers, such as `{"python_full_version": "3.14.0"}`. If it is
            None, the markers get this system's values.
    """
    found: dict[str, str] = {}
    for line in lock.read_text("utf-8").splitlines():
        if pin := _PIN.match(line):
            marker = pin["marker"]
            if not marker or Marker(marker).evaluate(environment):
                found[canonicalize_name(pin["name"])] = pin["version"]
    return found


def other_versions() -> dict[str, tuple[str, str]]:
    """Return the locked and the installed version of packages that change generated documents."""
    locked = pins(NEWEST)
    found: dict[str, tuple[str, str]] = {}
    for name in TELL_IN_DOCUMENTS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "nothing"
        if version != locked[name]:
            found[name] = (locked[name], version)
    return found


def why_documents_may_differ() -> str:
    """Return the reason why this environment cannot check generated documents, or ""."""
    others = [
        f"{name} {here} instead of {locked}" for name, (locked, here) in other_versions().items()
    ]
    if not others:
        return ""
    return (
        "generated documents and schemas follow locks/newest.txt, and this environment has "
        f"{', '.join(others)}: not compared (`make setup` installs what is locked)"
    )


def main() -> int:
    """Print the pins of this Python without hashes, as constraints for pip."""
    if sys.argv[1:] != ["--pins"]:
        raise SystemExit("usage: python -m locks.installed --pins")
    for name, version in sorted(pins(NEWEST).items()):
        print(f"{name}=={version}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
