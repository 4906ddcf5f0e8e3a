"""Decide whether the programs of a sweep may run: those of another machine or user need `--trust`.

A sweep names its programs by their paths, and does not carry them. As in a run, `origin.json`
proves that this user's varsim wrote the sweep's file. See ADR 21 and 72.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from varsim.errors import ConfigError
from varsim.experiments import catalog
from varsim.experiments.carried_program import ORIGIN, is_signed, origin_of, signature_of
from varsim.experiments.store import SWEEP_FILE, RunFiles
from varsim.experiments.sweep_folder import is_sweep
from varsim.experiments.sweep_plan import PlannedPoint
from varsim.report.formatting import names


def write_origin(files: RunFiles, text: str) -> None:
    """Write the proof that this user's varsim made a sweep.

    Args:
        text: The whole content of the sweep's file.
    Raises:
        OSError: The file cannot be written.
    """
    mark = signature_of({SWEEP_FILE: text.encode()})
    files.write(ORIGIN, json.dumps({"mark": mark}, indent=1))


def sweep_of_file(word: str) -> Path | None:
    """Return the sweep whose file a word names; None for other words."""
    path = Path(word).expanduser()
    return path.parent if path.name == SWEEP_FILE and is_sweep(path.parent) else None


def is_own_sweep(path: Path) -> bool:
    """Return whether this user's varsim wrote a sweep's file, and it was not changed later."""
    try:
        signed = {SWEEP_FILE: (path / SWEEP_FILE).read_bytes()}
    except OSError:
        return False
    return is_signed(signed, origin_of(path).get("mark"))


def check_trust(path: Path, points: Sequence[PlannedPoint]) -> None:
    """Refuse the programs of a sweep that this user's varsim did not write.

    Args:
        path: The sweep's folder.
        points: The points to run; their programs are not loaded yet.
    Raises:
        ConfigError: The sweep comes from another machine or user, or was changed, and not all
            programs are built in.
    """
    experiments = [point.experiment for point in points]
    programs = dict.fromkeys(
        one.script or one.workload
        for one in experiments
        if one.script is not None or one.workload not in catalog.built_in()
    )
    if programs and not is_own_sweep(path):
        raise ConfigError(
            f"{path} is a sweep that comes from another machine or user, or that was changed after "
            f"it began, and it runs {names([*programs])}. To run it, look at this program and at "
            f"{path / SWEEP_FILE}, then add --trust"
        )
