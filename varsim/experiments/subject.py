"""What `varsim run WORD` means: an experiment's file, a program, a workload, or a run to repeat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from varsim.errors import ConfigError
from varsim.experiments import catalog
from varsim.experiments.config import Experiment
from varsim.experiments.found_runs import OUT, find_run, run_names
from varsim.experiments.loading import EXPERIMENT_FILES, Override, load_experiment
from varsim.experiments.nearest import did_you_mean
from varsim.experiments.rerun import experiment_again, run_folder
from varsim.experiments.store import EXPERIMENT, LATEST

_PROGRAM: Final = ".py"


def experiment_of(
    word: str | None, overrides: Sequence[Override], *, trust: bool = False
) -> Experiment:
    """The experiment that a word names, with `overrides` in their order.

    A path goes before a name, and a workload's name before a run's. Without a word it is the
    built-in job.

    Args:
        trust: Whether the program of a run may be run that came from elsewhere.
    Raises:
        ConfigError: There is nothing of that name, or it is no experiment; the text names the
            nearest.
    """
    if word is None:
        return load_experiment(None, overrides)
    path = Path(word).expanduser()
    folder = run_folder(path)
    if folder is not None:
        return experiment_again(folder, overrides, trust=trust)
    if path.suffix == _PROGRAM:
        return _of_workload(word, overrides)
    if path.is_file() or path.suffix in EXPERIMENT_FILES:
        return load_experiment(path, overrides)
    if word in catalog.built_in():
        return _of_workload(word, overrides)
    if not path.exists():
        try:
            return experiment_again(_named(word), overrides, trust=trust)
        except _NoSuchRun:
            pass
    raise ConfigError(_unknown(word))


class _NoSuchRun(Exception):
    """No run has this name."""


def _named(word: str) -> Path:
    """The run of that name.

    Raises:
        ConfigError: Several begin with it.
        _NoSuchRun: None does.
    """
    out = Path(word).parent if os.sep in word else OUT
    begun = [name for name in run_names(out) if name.startswith(Path(word).name)]
    if not begun and Path(word).name != LATEST:
        raise _NoSuchRun
    folder = run_folder(find_run(word))
    if folder is None:
        raise ConfigError(f"{word}: that run has no {EXPERIMENT}, so it cannot be run again")
    return folder


def _of_workload(name: str, overrides: Sequence[Override]) -> Experiment:
    return load_experiment(None, [Override(("workload",), name, name), *overrides])


def _unknown(word: str) -> str:
    here = Path(word).parent
    files = [
        str(here / file.name)
        for file in (sorted(here.iterdir()) if here.is_dir() else ())
        if file.suffix in (*EXPERIMENT_FILES, _PROGRAM)
    ]
    runs = run_names()
    names = [] if os.sep in word else [*catalog.built_in(), *([LATEST] if runs else []), *runs]
    kind = f"{word!r} is a folder" if Path(word).is_dir() else f"there is no {word!r}"
    return (
        f"{kind}{did_you_mean(word, [*names, *files])}\n"
        "  varsim run takes an experiment.yaml, a program.py with a function run(job, ...), a "
        "built-in workload (varsim workloads), or a run to run it again"
    )
