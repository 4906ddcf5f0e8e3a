"""What `varsim run WORD` runs: an experiment's file, a program, or a built-in workload."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from varsim.errors import ConfigError
from varsim.experiments import catalog
from varsim.experiments.config import Experiment
from varsim.experiments.loading import EXPERIMENT_FILES, Override, load_experiment
from varsim.experiments.nearest import did_you_mean

_PROGRAM: Final = ".py"


def experiment_of(word: str | None, overrides: Sequence[Override]) -> Experiment:
    """The experiment that a word names, with `overrides` in their order.

    A path goes before a name. Without a word it is the built-in job.

    Raises:
        ConfigError: There is nothing of that name, or it is no experiment; the text names the
            nearest.
    """
    if word is None:
        return load_experiment(None, overrides)
    path = Path(word)
    if path.suffix == _PROGRAM:
        return _of_workload(word, overrides)
    if path.is_file() or path.suffix in EXPERIMENT_FILES:
        return load_experiment(path, overrides)
    if word in catalog.built_in():
        return _of_workload(word, overrides)
    raise ConfigError(_unknown(word))


def _of_workload(name: str, overrides: Sequence[Override]) -> Experiment:
    return load_experiment(None, [Override(("workload",), name, name), *overrides])


def _unknown(word: str) -> str:
    here = Path(word).parent
    files = [
        str(here / file.name)
        for file in (sorted(here.iterdir()) if here.is_dir() else ())
        if file.suffix in (*EXPERIMENT_FILES, _PROGRAM)
    ]
    names = [] if os.sep in word else list(catalog.built_in())
    kind = f"{word!r} is a folder" if Path(word).is_dir() else f"there is no {word!r}"
    return (
        f"{kind}{did_you_mean(word, [*names, *files])}\n"
        "  varsim run takes an experiment.yaml, a program.py with a function run(job, ...), or a "
        "built-in workload (varsim workloads)"
    )
