"""List the variables of a TensorFlow or Keras model as an experiment of the workload `inventory`.

A separate process reads the file (`model_reader.py`; ADR 33 says why), so TensorFlow's import, its
threads and its messages stay out of varsim.
"""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from varsim.errors import ConfigError
from varsim.experiments import model_reader, yaml_lines
from varsim.extension_dtypes import EXTENSION_SIZES, NAMES
from varsim.nearest import did_you_mean
from varsim.report.formatting import count as counted
from varsim.report.formatting import names, size, visible
from varsim.workloads.inventory import COPIES_IN_PROGRAM, COPIES_PER_REPLICA

KINDS: Final = {
    "keras": "Keras model",
    "saved_model": "SavedModel",
    "checkpoint": "TensorFlow checkpoint",
}
"""The formats of files: the reader's word → the word for users."""

_EXPECTED: Final = (
    "expected a Keras model (.keras, .h5), the folder of a SavedModel, or a TensorFlow checkpoint "
    "(its folder, or its path without .index)"
)
_TIMEOUT_S: Final = 600.0  # enough for a model of many GiB on a slow disk
_COMMENT_WIDTH: Final = 98
_TAIL_LINES: Final = 5  # lines of stderr that the error shows if the reader fails

_OPTIMIZERS: Final = (
    "an optimizer writes them on each replica, after the gradients are combined, so they cost no "
    "exchange"
)
_ROLES: Final = {
    model_reader.OPTIMIZER: _OPTIMIZERS,
    model_reader.SAVING: "written when a checkpoint is saved, and not in a step",
    model_reader.COPY: "further copies of variables in the same file",
    model_reader.OTHER_STATE: "not variables, but the state of other objects",
}
"""Why variables with a role are left out."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The variables of a model that a step writes, and notes for the user about this list."""

    source: Path
    kind: str
    variables: list[dict[str, Any]]  # entries of the workload's list
    notes: list[str]

    @property
    def summary(self) -> str:
        """Return the number of variables and parameters, and their size."""
        elements = [int(np.prod(one["shape"], dtype=object)) for one in self.variables]
        itemsizes = [_itemsize(one["dtype"]) for one in self.variables]
        size_bytes = sum(a * b for a, b in zip(elements, itemsizes, strict=True))
        number, parameters = counted(len(elements)), counted(sum(elements))
        plural = "s" * (len(elements) > 1)
        return f"{number} variable{plural}, {parameters} parameters, {size(size_bytes)}"

    def as_yaml(self) -> str:
        """Return the experiment as YAML, with the notes as comments."""
        said = [
            f"The variables of {visible(self.source.name)} ({KINDS[self.kind]}), listed by "
            f"`varsim inventory`: {self.summary}. A run with N workers needs up to "
            f"({COPIES_PER_REPLICA} N + {COPIES_IN_PROGRAM}) times these bytes of memory.",
            *self.notes,
        ]
        comments = [line for text in said for line in textwrap.wrap(text, _COMMENT_WIDTH)]
        entries = [f"  - {yaml_lines.one_line(entry)}" for entry in self.variables]
        head = ["workload: inventory", "params:", "  variables:"]
        return "\n".join([*(f"# {line}" for line in comments), *head, *entries, ""])


def take_inventory(path: Path, python: str) -> Inventory:
    """List the variables of a file or folder.

    Args:
        python: The interpreter that has TensorFlow.
    Raises:
        ConfigError: The file is of another kind, cannot be read, or has no variables. Or the
            interpreter cannot be run, or has no TensorFlow.
    """
    kind, place = recognized(path)
    variables, notes = writable(_read(kind, place, python), kind)
    if not variables:
        why = "".join(f"\n  {note}" for note in notes)
        raise ConfigError(f"{path}: this {KINDS[kind]} has no variable that a step writes{why}")
    return Inventory(path, kind, variables, notes)


def recognized(path: Path) -> tuple[str, Path]:
    """Return the kind of a file or folder, and the path for its reader.

    Raises:
        ConfigError: The path does not exist, or is of another kind.
    """
    prefix = path.parent / path.name.removesuffix(".index").partition(".data-")[0]
    if Path(f"{prefix}.index").is_file():
        return "checkpoint", prefix
    if path.is_dir():
        if (path / "saved_model.pb").is_file():
            return "saved_model", path
        return "checkpoint", _checkpoint_in(path)
    if not path.exists():
        others = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        near = did_you_mean(path.name, [one.name for one in others])
        raise ConfigError(f"there is no {str(path)!r}{near}\n  {_EXPECTED}")
    if path.name.endswith(".weights.h5"):
        raise ConfigError(
            f"{path}: a file of weights has no names of variables and no settings; save the whole "
            "model (model.save('x.keras')), or a checkpoint"
        )
    if path.suffix in (".keras", ".h5", ".hdf5"):
        return "keras", path
    raise ConfigError(f"{path}: unknown format\n  {_EXPECTED}")


def _checkpoint_in(folder: Path) -> Path:
    """Return the folder if it names its latest checkpoint, or else its only checkpoint."""
    if (folder / "checkpoint").is_file():
        return folder
    found = sorted(folder.glob("*.index"))
    if len(found) == 1:
        return found[0].with_suffix("")
    if not found:
        raise ConfigError(f"{folder}: neither saved_model.pb nor a checkpoint is there")
    said = names([str(one.with_suffix("")) for one in found])
    raise ConfigError(f"{folder}: there are several checkpoints; give one of {said}")


# ---------------------------------------------------------------- the process that reads


def _read(kind: str, path: Path, python: str) -> list[dict[str, Any]]:
    """Run the reader, and return what it found."""
    try:
        done = subprocess.run(
            [python, str(model_reader.__file__), kind, str(path)],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        )
    except OSError as error:
        raise ConfigError(f"--python {python}: it cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{path} was not read within {_TIMEOUT_S:.0f} s") from error
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        tail = "".join(f"\n  {line}" for line in done.stderr.splitlines()[-_TAIL_LINES:])
        raise ConfigError(
            f"{path} was not read: {python} ended with {done.returncode}{tail}"
        ) from None
    if "missing" in answer:
        raise ConfigError(_missing(answer["missing"], python))
    if "error" in answer:
        raise ConfigError(_unreadable(kind, path, answer["error"]))
    found: list[dict[str, Any]] = answer["variables"]
    return found


def _missing(module: str, python: str) -> str:
    what = "TensorFlow" if module in ("tensorflow", "keras") else module
    return (
        f"reading the file needs {what}, and {python} does not have it: install it there with "
        f"`{python} -m pip install {what.lower()}`, or give an interpreter that has it with "
        "--python PATH"
    )


def _unreadable(kind: str, path: Path, error: str) -> str:
    said = textwrap.shorten(error, 300, placeholder=" …")
    remedy = (
        "\n  if the model has classes of your own, list a checkpoint, which does not need them: "
        "tf.train.Checkpoint(model=model).save('checkpoints/model')"
        if kind == "keras"
        else ""
    )
    return f"{path} cannot be read as a {KINDS[kind]}: {said}{remedy}"


# ---------------------------------------------------------------- what a step writes


def writable(found: Iterable[dict[str, Any]], kind: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the entries of the variables that a step writes, and notes about other variables."""
    left_out: dict[str, list[str]] = {}
    renamed: list[str] = []
    variables: dict[str, dict[str, Any]] = {}
    for one in found:
        why = _why_not(one)
        if why:
            left_out.setdefault(why, []).append(one["name"])
            continue
        entry = {key: value for key, value in one.items() if key != "role"}
        entry["name"] = _unused(one["name"], variables)
        if entry["name"] != one["name"]:
            renamed.append(entry["name"])
        variables[entry["name"]] = entry
    listed = list(variables.values())
    notes = [*_about_settings(listed, kind), *_about_names(renamed), *_about_dtypes(listed)]
    notes += [f"Left out: {_some(who)}: {why}." for why, who in left_out.items()]
    if kind == "keras":
        notes.append(f"The variables of the model's optimizer are not listed: {_OPTIMIZERS}.")
    return listed, [visible(note) for note in notes]


def _why_not(one: dict[str, Any]) -> str:
    """Return the reason why a variable is left out; "" if the variable is listed."""
    if "role" in one:
        return _ROLES[one["role"]]
    if one["dtype"] not in NAMES:
        return f"variables of varsim cannot have the dtype {one['dtype']}"
    if one["shape"] is None or None in one["shape"]:
        return "the file does not contain their complete shapes; a checkpoint does"
    return ""


def _unused(name: str, used: dict[str, Any]) -> str:
    """Return an unused name: if another variable has it, append a number, as TensorFlow does."""
    candidates: Iterator[str] = (f"{name}_{number}" for number in count(1))
    return name if name not in used else next(one for one in candidates if one not in used)


def _about_settings(variables: list[dict[str, Any]], kind: str) -> list[str]:
    notes = []
    if variables and "synchronization" not in variables[0]:
        notes.append(
            f"A {KINDS[kind]} has no settings. Without them, synchronization and aggregation are "
            "AUTO and NONE, TensorFlow's defaults, and it is not known which variables are "
            "trainable."
        )
    without = Counter(one.get("aggregation", "none") for one in variables)["none"]
    if without:
        notes.append(
            f"The aggregation is NONE for {_number(without, 'variable')}, because TensorFlow's "
            "optimizers combine the gradients before they write. The workload `inventory` has no "
            "gradients, so it writes these variables with MEAN, and integers with "
            "ONLY_FIRST_REPLICA."
        )
    return notes


def _about_names(renamed: list[str]) -> list[str]:
    if not renamed:
        return []
    return [f"Several variables have the same name; a number was added: {names(renamed)}."]


def _about_dtypes(variables: list[dict[str, Any]]) -> list[str]:
    used = [name for name in EXTENSION_SIZES if any(one["dtype"] == name for one in variables)]
    if not used:
        return []
    return [
        f"A run of variables of {' and '.join(used)} needs the package ml_dtypes: pip install "
        "ml_dtypes, or install varsim-distribute[ml_dtypes]."
    ]


def _itemsize(dtype: str) -> int:
    return EXTENSION_SIZES.get(dtype) or np.dtype(dtype).itemsize


def _some(who: list[str]) -> str:
    return f"{_number(len(who), 'variable')} ({names(who)})"


def _number(number: int, what: str) -> str:
    return f"{counted(number)} {what}{'s' * (number > 1)}"
