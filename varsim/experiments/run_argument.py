"""Resolve the word of `varsim run WORD`: an experiment's file, a program, a workload, or a run."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from varsim.distribute.checkpoints.folder import listed
from varsim.distribute.cluster_resolver import CHIEF, WORKER, has_chief
from varsim.distribute.policies import POLICIES
from varsim.errors import ConfigError
from varsim.experiments import catalog, yaml_lines
from varsim.experiments.carried_program import ORIGIN, PROGRAM, forget_caches, is_own, origin_of
from varsim.experiments.config import Experiment
from varsim.experiments.loading import EXPERIMENT_FILES, Override, load_experiment
from varsim.experiments.run_archive import is_archive, unpacked
from varsim.experiments.run_lookup import (
    OUT,
    find_point,
    find_run,
    named_sweep,
    refuse_archive,
    run_names,
)
from varsim.experiments.store import CHECKPOINTS, EXPERIMENT, LATEST, SUMMARY
from varsim.experiments.text_files import read_text
from varsim.nearest import did_you_mean
from varsim.texts.resuming import NOT_ITERATED, OTHER_WORKLOAD, WITHOUT_CHECKPOINTS
from varsim.tracing.history import HISTORY, open_history

_PROGRAM: Final = ".py"


def experiment_of(
    word: str | None,
    overrides: Sequence[Override],
    *,
    trust: bool = False,
    allow_paths: bool = False,
    unpacks: bool = False,
) -> Experiment:
    """Return the experiment that a word names, with `overrides` applied in their order.

    A path has priority over a name, and a workload's name has priority over a run's name. Without a
    word, the experiment is the built-in job.

    Args:
        trust: Whether to run the program of a run that comes from another machine or user.
        allow_paths: Whether paths in an experiment's file may lead out of its folder.
        unpacks: Whether to unpack an archive of a run into `runs/`; otherwise it is refused.
    Raises:
        ConfigError: The word does not name an experiment; the text contains the nearest name.
    """
    if word is None:
        return load_experiment(None, overrides)
    path = Path(word).expanduser()
    if not unpacks:
        refuse_archive(path)
    folder = unpacked(path, OUT) if is_archive(path) else run_folder(path)
    if folder is not None:
        return experiment_again(folder, overrides, trust=trust)
    if path.suffix == _PROGRAM:
        return _of_workload(word, overrides)
    if path.is_file() or path.suffix in EXPERIMENT_FILES:
        return load_experiment(path, overrides, allow_paths=allow_paths)
    if word in catalog.built_in():
        return _of_workload(word, overrides)
    if not path.exists():
        try:
            return experiment_again(_named(word), overrides, trust=trust)
        except _NoSuchRun:
            pass
    raise ConfigError(_unknown(word))


def experiment_to_resume(
    word: str, overrides: Sequence[Override], *, trust: bool = False
) -> Experiment:
    """Return the experiment of a run that is to be continued from its last checkpoint.

    Args:
        word: A run: its path, the beginning of its name, or `latest`.
        trust: Whether to run the program of a run that comes from another machine or user.
    Raises:
        ConfigError: There is no such run, it saved no checkpoints, or an override names another
            program.
    """
    other = next((one for one in overrides if one.keys[0] in _OF_THE_PROGRAM), None)
    if other is not None:
        raise ConfigError(OTHER_WORKLOAD.format(what=other.location))
    found = Path(word).expanduser() if Path(word).expanduser().exists() else find_run(word)
    folder = (found if found.is_dir() else found.parent).resolve()  # `latest` will name the new run
    if not (folder / EXPERIMENT).is_file():
        raise ConfigError(f"{word} is not a run: it has no {EXPERIMENT}")
    without_faults = Override(("faults",), [], "faults")  # the faults happened in that run
    experiment = experiment_again(folder, [without_faults, *overrides], trust=trust)
    if experiment.script is not None:
        raise ConfigError(f"{word} cannot be resumed: {NOT_ITERATED}")
    if "checkpoint" not in keys_of_run(folder) and not listed(folder / CHECKPOINTS):
        raise ConfigError(WITHOUT_CHECKPOINTS.format(run=word))
    experiment.resume_from(folder)
    return experiment


class _NoSuchRun(Exception):
    """No run has this name."""


def _named(word: str) -> Path:
    """Return the run that a word names.

    Raises:
        ConfigError: The names of several runs begin with the word.
        _NoSuchRun: No run's name begins with the word.
    """
    if (point := find_point(word) if os.sep in word else None) is not None:
        return point
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
    if (sweep := named_sweep(word)) is not None:
        return (
            f"{sweep} is a sweep: `varsim sweep {sweep}` continues it, and `varsim run {sweep}/1` "
            "repeats a point"
        )
    kind = f"{word!r} is a folder" if Path(word).is_dir() else f"there is no {word!r}"
    return (
        f"{kind}{did_you_mean(word, [*names, *files])}\n"
        "  varsim run takes an experiment.yaml, a program.py with a function run(job, ...), a "
        "built-in workload (varsim workloads), or a run to repeat"
    )


# ---------------------------------------------------------------- a run that is repeated

_IS_ONE: Final = (SUMMARY, HISTORY, ORIGIN)
"""Files that identify a folder with an `experiment.yaml` as a run."""

_OF_THE_PROGRAM: Final = ("workload", "script")


def run_folder(path: Path) -> Path | None:
    """Return the run of a folder or of its `experiment.yaml`; None if the path is not a run's."""
    folder = path.parent if path.name == EXPERIMENT and path.is_file() else path
    if not (folder / EXPERIMENT).is_file():
        return None
    return folder if any((folder / name).is_file() for name in _IS_ONE) else None


def experiment_again(folder: Path, overrides: Sequence[Override], *, trust: bool) -> Experiment:
    """Return the experiment of a run, with the program in the run's directory.

    The experiment's `out` is not used, because it is a folder of the user who made the run.

    Args:
        trust: Whether to run a program that this user's varsim did not copy into the run.
    Raises:
        ConfigError: The program is not trusted, or the run does not carry its program.
    """
    file, said = folder / EXPERIMENT, keys_of_run(folder)
    replaced = any(one.keys[0] in _OF_THE_PROGRAM for one in overrides)
    code = None if replaced else _code(folder, said)
    if code is not None:
        installed = not code.exists() and _is_module(said)
        if not code.exists() and not installed:
            raise ConfigError(_without_source(folder, code, said))
        if not trust and not is_own(folder):
            raise ConfigError(_untrusted(folder, None if installed else code, said))
        _check_chief(folder, said)
        forget_caches(folder)
        if _is_module(said):
            sys.path.insert(0, str((folder / PROGRAM).absolute()))
    out = Override(("out",), Experiment.model_fields["out"].default, "out")
    # The check of trust above protects the user. The program may be in another folder.
    try:
        experiment = load_experiment(file, [out, *overrides], allow_paths=True)
    except ConfigError as error:
        raise ConfigError(f"{error}{_missing_packages(folder)}") from None
    experiment.loaded_from(None)  # varsim wrote the file, and not a user
    return experiment


def _check_chief(folder: Path, said: dict[str, Any]) -> None:
    """Refuse to repeat a run with a chief without one: the program would be another one.

    Raises:
        ConfigError: The run had a TF_CONFIG with a chief, and there is none now.
    """
    if not said.get("spmd") or origin_of(folder).get("chief") is not True or has_chief():
        return
    count = int(said.get("workers") or len(said.get("devices") or ()))
    others = [f"worker-{i}" for i in range(count - 1)]
    config = json.dumps({"cluster": {CHIEF: [f"{CHIEF}-0"], WORKER: others}})
    raise ConfigError(
        f"{folder} had a TF_CONFIG with a chief: replica 0 was the chief, and the others were "
        f"workers from 0. Without it, replica 0 would be worker 0. Set it again: TF_CONFIG="
        f"{shlex.quote(config)}"
    )


def _missing_packages(folder: Path) -> str:
    """Return a line for each policy that a run had, and that no installed package provides."""
    try:
        with open_history(folder / HISTORY) as history:
            packages = history.run.get("policies") or {}
    except (ConfigError, OSError):
        return ""  # the run was not recorded, or its record is damaged
    return "".join(
        f"\n  This run had the policy {keyword} of {package}: install this package."
        for keyword, package in packages.items()
        if keyword not in POLICIES.names()
    )


def keys_of_run(folder: Path) -> dict[str, Any]:
    """Return the keys of a run's experiment, with the defaults."""
    file = folder / EXPERIMENT
    return yaml_lines.load(read_text(file, yaml_lines.MAX_BYTES), str(file)).values


def _code(folder: Path, said: dict[str, Any]) -> Path | None:
    """Return the file that is executed if the run is repeated; None for a built-in workload."""
    script, workload = said.get("script"), str(said.get("workload", ""))
    if script is not None:
        return folder / str(script)
    if workload in catalog.built_in():
        return None
    if catalog.is_path(workload):
        return folder / workload
    module = folder / PROGRAM / Path(*workload.split("."))
    return module if module.is_dir() else module.with_suffix(".py")


def _without_source(folder: Path, code: Path, said: dict[str, Any]) -> str:
    key = "script" if "script" in said else "workload"
    is_inside = code.is_relative_to(folder)
    why = "it does not contain its program" if is_inside else "its program is in another folder"
    return (
        f"{folder} cannot be run again: {why}, and {code} does not exist; give the program as "
        f"{key}=PATH"
    )


def _is_module(said: dict[str, Any]) -> bool:
    return "script" not in said and not catalog.is_path(str(said.get("workload", "")))


def _untrusted(folder: Path, code: Path | None, said: dict[str, Any]) -> str:
    what = (
        "contains a program" if code is not None else f"imports {said['workload']!r} as a program"
    )
    where = (
        f"{code} and the other files in {folder / PROGRAM}/"
        if code is not None
        else f"that module and at {folder / EXPERIMENT}"
    )
    return (
        f"{folder} {what} that comes from another machine or user, or that was changed after the "
        f"run. To run it, look at {where}, then add --trust"
    )
