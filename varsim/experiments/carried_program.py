"""Copy a program into its run, so that the run can be repeated anywhere.

See ADR 21. `program/` in a run's directory holds the sources. `origin.json` proves that this user's
varsim wrote these sources; this file is not exported.
"""

from __future__ import annotations

import hmac
import json
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

import varsim
from varsim.errors import ConfigError, FileError
from varsim.experiments.sources import ProgramLocation, sources_of
from varsim.experiments.store import EXPERIMENT, RunDirectory, RunFiles
from varsim.experiments.text_files import read_object
from varsim.private import FILE_MODE, FOLDER_MODE, make_private_folder, write_private
from varsim.report.summary import Carried

PROGRAM: Final = "program"
ORIGIN: Final = "origin.json"
_CACHE: Final = "__pycache__"


def program_key(location: ProgramLocation) -> str:
    """Return the path of the program for a run's `experiment.yaml`."""
    return f"{PROGRAM}/{location.file.relative_to(location.root).as_posix()}"


def carry(
    directory: RunDirectory,
    experiment: str,
    location: ProgramLocation | None,
    experiment_file: Path | None,
    not_kept: str = "",
    *,
    with_chief: bool = False,
) -> Carried:
    """Write the program, its origin, and then the experiment into a run's directory.

    A folder is a run as soon as it has an `experiment.yaml`. This file is written last, so a killed
    process never leaves a run whose program has no origin.

    Args:
        experiment: The text of `experiment.yaml`.
        location: The location of the program; None if its sources are not kept.
        experiment_file: The experiment as the user wrote it; None if there is no such file.
        not_kept: The reason why the sources of a user's program are not kept; "" if they are kept.
        with_chief: Whether TF_CONFIG gives the program a chief.
    Raises:
        OSError: A file cannot be written.
    """
    files: dict[str, bytes] = {}
    left_out = [not_kept] if not_kept else []
    if location is not None:
        sources = sources_of(location)
        files, left_out = sources.files, sources.left_out
    if experiment_file is not None and experiment_file.name not in files:
        files[experiment_file.name] = experiment_file.read_bytes()
    for name, content in files.items():
        path = directory.path / PROGRAM / name
        make_private_folder(path.parent)
        write_private(path, content)
    folder = location.root if location is not None else None
    if folder is None and experiment_file is not None:
        folder = experiment_file.absolute().parent
    signed = {EXPERIMENT: experiment.encode()}
    signed |= {f"{PROGRAM}/{name}": content for name, content in files.items()}
    _write_origin(directory, signed, folder, with_chief=with_chief)
    directory.write_experiment(experiment)
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


def renew_origin(directory: RunFiles, folder: Path | None, *, with_chief: bool) -> None:
    """Write the origin of a run that another host has run for this user, from what is there now.

    Args:
        folder: The folder of the program or of the experiment's file; None for a built-in workload.
        with_chief: Whether TF_CONFIG gave the program a chief.
    Raises:
        OSError: A file cannot be read or written.
    """
    _write_origin(directory, _signed_files(directory.path), folder, with_chief=with_chief)


def _write_origin(
    directory: RunFiles, signed: Mapping[str, bytes], folder: Path | None, *, with_chief: bool
) -> None:
    origin = {
        "mark": signature_of(signed),
        "program": None if folder is None else str(folder),
        "working_directory": str(Path.cwd()),
    } | ({"chief": True} if with_chief else {})
    directory.write(ORIGIN, json.dumps(origin, indent=1))


def _signed_files(path: Path) -> dict[str, bytes]:
    """Read the files that determine what is executed: the experiment and the program."""
    files = {EXPERIMENT: (path / EXPERIMENT).read_bytes()}
    program = path / PROGRAM
    for file in sorted(program.rglob("*")):
        if file.is_file() and _CACHE not in file.relative_to(program).parts:
            files[file.relative_to(path).as_posix()] = file.read_bytes()
    return files


def origin_of(path: Path) -> dict[str, Any]:
    """Return the content of `origin.json`; empty for a run of another machine or user."""
    try:
        return read_object(path / ORIGIN, "run the experiment")
    except FileError:
        return {}


def is_own(path: Path) -> bool:
    """Return whether this user's varsim wrote a run's program, and no file was changed later."""
    try:
        return is_signed(_signed_files(path), origin_of(path).get("mark"))
    except OSError:
        return False


def forget_caches(path: Path) -> None:
    """Remove compiled code beside a run's program, which Python would use instead of the source.

    Raises:
        ConfigError: A folder cannot be removed.
    """
    for cache in sorted((path / PROGRAM).rglob(_CACHE)):
        try:
            shutil.rmtree(cache)
        except OSError as error:
            raise ConfigError(f"{cache} cannot be removed: {error.strerror}") from None


# ---------------------------------------------------------------- the signature

_KEY_BYTES: Final = 32


def signature_of(files: Mapping[str, bytes]) -> str | None:
    """Return a keyed checksum of named files; None if this user has no key and cannot store a key.

    The key is a random number, which is made for the user's first run and stored in the user's
    state directory. The key does not identify the machine, and is not written anywhere else.
    """
    key = _key()
    if key is None:
        return None
    digest = hmac.new(key, digestmod="sha256")
    for name in sorted(files):
        encoded = name.encode("utf-8", "surrogateescape")
        for part in (encoded, files[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def is_signed(files: Mapping[str, bytes], signature: object) -> bool:
    """Return whether this user made the signature for these files with this content."""
    made = signature_of(files)
    return made is not None and isinstance(signature, str) and hmac.compare_digest(made, signature)


def _key() -> bytes | None:
    try:
        path = _state_directory() / "key"
    except RuntimeError:  # this user has no home directory
        return None
    with suppress(OSError, ValueError):
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text("ascii"))
        return key if len(key) == _KEY_BYTES else None
    return None


def _make(path: Path) -> None:
    """Write a new key, unless another run has written one at the same time."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    own = path.with_name(f"key-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        own.touch(mode=FILE_MODE, exist_ok=False)
        own.write_text(secrets.token_hex(_KEY_BYTES), "ascii")
        with suppress(FileExistsError):
            os.link(own, path)
    finally:
        own.unlink(missing_ok=True)


def _state_directory() -> Path:
    """Return the state directory of the XDG base directory specification."""
    state = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (state if state.is_absolute() else Path.home() / ".local" / "state") / "varsim"


# ---------------------------------------------------------------- the git commit

_TIMEOUT_S: Final = 2.0  # a run does not wait longer for this optional information
_COMMAND: Final = (
    "git",
    "-c",
    "core.fsmonitor=false",  # otherwise git may start a program that the repository names
    "status",
    "--porcelain=v2",
    "--branch",
    "--untracked-files=no",
)


class Revision(NamedTuple):
    """The git commit of a folder."""

    commit: str
    dirty: bool  # whether tracked files differ from the commit


def revision_of(folder: Path) -> Revision | None:
    """Return the commit that is checked out; None if there is no repository, commit or git."""
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}  # git writes nothing
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
