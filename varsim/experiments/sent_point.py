"""Send a point of a sweep to another host, and make the run that comes home one of this host.

The other host runs the same experiment, with the same program: with the files of this host if it
sees them at the same paths, as on a shared file system, and else with copies.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from varsim.distribute.cluster_resolver import TF_CONFIG, has_chief
from varsim.experiments import catalog
from varsim.experiments.carried_program import PROGRAM, renew_origin, revision_of
from varsim.experiments.config import Experiment
from varsim.experiments.programs import load_program
from varsim.experiments.sources import ProgramLocation, sources_of
from varsim.experiments.store import SUMMARY, RunFiles, as_json, from_plain
from varsim.experiments.text_files import read_object
from varsim.private import make_private_folder, write_private

_COPIES: Final = "copies"  # the folder of copies of files that are not below the working directory


class SentPoint:
    """An experiment of this host that another host runs."""

    def __init__(self, experiment: Experiment) -> None:
        """Read the program as it is now.

        Raises:
            ConfigError: It cannot be loaded.
        """
        self._experiment = experiment
        with experiment.locations.located_errors():
            self._location: ProgramLocation | None = load_program(experiment).location
        self._sources: dict[str, bytes] = {}
        if self._location is not None:
            self._sources = sources_of(self._location).files

    def text(self, name: str) -> str:
        """Return what the other host needs, as one line.

        Args:
            name: The name of the run's folder.
        """
        file = self._experiment.file
        location = self._location
        root = None if location is None else location.root.absolute()
        return json.dumps(
            {
                "keys": self._experiment.model_dump(mode="json", exclude_unset=True),
                "locations": [[[*keys], one] for keys, one in _located(self._experiment)],
                "name": name,
                "working_directory": str(Path.cwd()),
                "root": None if root is None else str(root),
                "program": None if location is None else str(location.file.absolute()),
                "sources": _encoded(self._sources),
                "file": None if file is None else [str(file), _encoded({"": file.read_bytes()})],
                "environment": {one: os.environ[one] for one in [TF_CONFIG] if one in os.environ},
            }
        )

    def settle(self, run: Path, there: str) -> None:
        """Make the run that has come home one of this host: with its paths, commit and origin.

        Args:
            run: The run's folder.
            there: The path of the folder on the other host.
        Raises:
            ConfigError: The summary cannot be read.
            OSError: A file cannot be written.
        """
        folder = None if self._location is None else self._location.root.absolute()
        file = self._experiment.file
        if folder is None and file is not None:
            folder = file.absolute().parent
        revision = None if folder is None else revision_of(folder)
        for path in sorted(run.rglob(SUMMARY)):
            values = _moved(read_object(path, "run the sweep"), there, str(run))
            summary = from_plain(values, str(path))
            carried = summary.carried
            if carried is not None and revision is not None:
                carried = replace(carried, commit=revision.commit, dirty=revision.dirty)
            RunFiles(path.parent).write(SUMMARY, as_json(replace(summary, carried=carried)))
        program = run / PROGRAM
        # A program that this host did not send is that of another machine: it needs --trust.
        if all(_is(program / name, content) for name, content in self._sources.items()):
            renew_origin(RunFiles(run), folder, with_chief=self._experiment.spmd and has_chief())


def _located(experiment: Experiment) -> list[tuple[tuple[str, ...], str]]:
    return list(experiment.locations.by_keys.items())


def _encoded(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(content).decode("ascii") for name, content in files.items()}


def _moved(value: Any, before: str, now: str) -> Any:
    """Return a value of JSON in whose texts one path stands for another one."""
    if isinstance(value, str):
        return value.replace(before, now)
    if isinstance(value, dict):
        return {_moved(key, before, now): _moved(one, before, now) for key, one in value.items()}
    return [_moved(one, before, now) for one in value] if isinstance(value, list) else value


def _is(path: Path, content: bytes) -> bool:
    with suppress(OSError):
        return path.read_bytes() == content
    return False


# ---------------------------------------------------------------- on the other host


class ReceivedPoint:
    """An experiment of another host that this host runs, in the working directory of the program.

    Args:
        text: The text of `SentPoint`.
        folder: A private folder for files.
    Raises:
        OSError: A file cannot be written.
    """

    def __init__(self, text: str, folder: Path) -> None:
        self._sent = json.loads(text)
        self._copies = folder / _COPIES
        self._here = Path(self._sent["working_directory"])
        self.name: str = self._sent["name"]
        os.environ.update(self._sent["environment"])
        make_private_folder(self._copies)
        os.chdir(self._here if self._here.is_dir() else self._copies)

    def experiment(self) -> Experiment:
        """Return the experiment; its program is on this host.

        Raises:
            OSError: A file cannot be written.
        """
        sent = self._sent
        keys: dict[str, Any] = dict(sent["keys"])
        sources = {name: base64.b64decode(one) for name, one in sent["sources"].items()}
        if sent["root"] is not None:
            before = Path(sent["root"])
            root = self._placed(before, sources)
            key = "workload" if keys.get("script") is None else "script"
            if key == "workload" and not catalog.is_path(keys[key]):
                sys.path.insert(0, str(root))
            elif root != before:
                keys[key] = str(root / Path(sent["program"]).relative_to(before))
        experiment = Experiment.model_validate(keys)
        experiment.locations.by_keys.update({tuple(one): at for one, at in sent["locations"]})
        if sent["file"] is not None:
            path, content = Path(sent["file"][0]), base64.b64decode(sent["file"][1][""])
            experiment.loaded_from(self._placed(path.parent, {path.name: content}) / path.name)
        return experiment

    def _placed(self, folder: Path, files: Mapping[str, bytes]) -> Path:
        """Return the folder that has these files: the same path, or a folder of copies."""
        if all(_is(folder / name, content) for name, content in files.items()):
            return folder
        below = folder.relative_to(self._here) if folder.is_relative_to(self._here) else None
        placed = self._copies / (f"of-{folder.name}" if below is None else below)
        for name, content in files.items():
            make_private_folder((placed / name).parent)
            write_private(placed / name, content)
        return placed
