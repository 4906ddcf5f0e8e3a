"""The git commit of a program's folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final, NamedTuple

_TIMEOUT_S: Final = 2.0  # a run does not wait longer for what it can do without
_COMMAND: Final = (
    "git",
    "-c",
    "core.fsmonitor=false",  # which would start a program of the repository's choice
    "status",
    "--porcelain=v2",
    "--branch",
    "--untracked-files=no",
)


class Revision(NamedTuple):
    """Where a folder stands in its repository."""

    commit: str
    dirty: bool  # whether tracked files differ from the commit


def revision_of(folder: Path) -> Revision | None:
    """The commit that is checked out; None without a repository, a commit, or git."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # nothing is written
    try:
        said = subprocess.run(
            _COMMAND,
            check=False,
            cwd=folder,
            capture_output=True,
            timeout=_TIMEOUT_S,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = said.stdout.decode("utf-8", "replace").splitlines()
    oid = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "")
    if said.returncode != 0 or not oid or oid.startswith("("):  # "(initial)": there is no commit
        return None
    return Revision(oid, any(not line.startswith("#") for line in lines))
