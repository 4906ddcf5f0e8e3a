"""Copies a program into its run, so that the run can be repeated anywhere.

See ADR 21. `program/` in a run's directory holds the sources. `origin.json` proves that this user's
varsim wrote them; it stays on this machine.
"""

from __future__ import annotations

import json
import platform
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np

import varsim
from varsim.errors import ConfigError
from varsim.experiments import mark
from varsim.experiments.repository import revision_of
from varsim.experiments.sources import Home, sources_of
from varsim.experiments.store import EXPERIMENT, RunDirectory
from varsim.report.summary import Carried

PROGRAM: Final = "program"
ORIGIN: Final = "origin.json"
_CACHE: Final = "__pycache__"


def program_key(home: Home) -> str:
    """Return the path of the program for a run's `experiment.yaml`."""
    return f"{PROGRAM}/{home.file.relative_to(home.root).as_posix()}"


def carry(
    directory: RunDirectory, home: Home | None, experiment_file: Path | None, not_kept: str = ""
) -> Carried:
    """Copy the program into a run's directory, which has its `experiment.yaml` already.

    Args:
        home: Where the program stands; None if there is nothing to keep of it.
        experiment_file: The experiment as the user wrote it.
        not_kept: Why nothing is to be kept, if that needs saying.
    Raises:
        OSError: It cannot be written.
    """
    files: dict[str, bytes] = {}
    left_out = [not_kept] if not_kept else []
    if home is not None:
        sources = sources_of(home)
        files, left_out = sources.files, sources.left_out
    if experiment_file is not None and experiment_file.name not in files:
        files[experiment_file.name] = experiment_file.read_bytes()
    for name, content in files.items():
        path = directory.path / PROGRAM / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = home.root if home is not None else None
    if folder is None and experiment_file is not None:
        folder = experiment_file.absolute().parent
    _write_origin(directory, folder)
    revision = None if folder is None else revision_of(folder)
    return Carried(
        files=list(files),
        left_out=left_out,
        commit=None if revision is None else revision.commit,
        dirty=None if revision is None else revision.dirty,
        versions={
            "varsim": varsim.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        system=f"{platform.system()} {platform.machine()}",
    )


def _write_origin(directory: RunDirectory, folder: Path | None) -> None:
    origin = {
        "mark": mark.mark_of(_marked(directory.path)),
        "program": None if folder is None else str(folder),
        "working_directory": str(Path.cwd()),
    }
    directory.write(ORIGIN, json.dumps(origin, indent=1))


def _marked(path: Path) -> dict[str, bytes]:
    """The files that determine what is executed: the experiment, and every file of the program."""
    files = {EXPERIMENT: (path / EXPERIMENT).read_bytes()}
    program = path / PROGRAM
    for file in sorted(program.rglob("*")):
        if file.is_file() and _CACHE not in file.relative_to(program).parts:
            files[file.relative_to(path).as_posix()] = file.read_bytes()
    return files


def origin_of(path: Path) -> dict[str, Any]:
    """Return the content of `origin.json`; empty for a run from elsewhere."""
    try:
        origin = json.loads((path / ORIGIN).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return origin if isinstance(origin, dict) else {}


def is_own(path: Path) -> bool:
    """Whether this user's varsim wrote a run's program, and nothing was changed since."""
    try:
        return mark.is_marked(_marked(path), origin_of(path).get("mark"))
    except OSError:
        return False


def forget_caches(path: Path) -> None:
    """Remove compiled code beside a run's program: Python would use it instead of the source.

    Raises:
        ConfigError: It cannot be removed.
    """
    for cache in sorted((path / PROGRAM).rglob(_CACHE)):
        try:
            shutil.rmtree(cache)
        except OSError as error:
            raise ConfigError(f"{cache} cannot be removed: {error.strerror}") from None
