"""Load an experiment from a YAML file and the command line; each error says where the value is."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from varsim import environment
from varsim.distribute import cluster_resolver
from varsim.errors import ConfigError
from varsim.experiments import catalog, yaml_lines
from varsim.experiments.config import Experiment, keys_of
from varsim.experiments.key_locations import KeyLocations, KeyPath, WrongKey, expectation
from varsim.experiments.text_files import read_text
from varsim.experiments.variable_settings import long_form
from varsim.launch.devices import workers_of_environment
from varsim.nearest import did_you_mean, listed
from varsim.texts.facts import times

EXPERIMENT_FILES: Final = (".yaml", ".yml")
_ONE_OF_TWO: Final = {"workers": "devices", "devices": "workers"}


@dataclass(frozen=True, slots=True)
class Override:
    """A value from the command line, which overrides the value in the file."""

    keys: KeyPath
    value: Any
    location: str  # the override as the user wrote it, for errors

    @staticmethod
    def parse(text: str) -> Override:
        """Parse `key=value` or `outer.inner=value`; the value is YAML.

        Raises:
            ConfigError: The text has another form.
        """
        key, equals, value = text.partition("=")
        keys = tuple(key.strip().split("."))
        if not equals or not all(keys):
            raise ConfigError(f"invalid override {text!r}: expected key=value")
        # A mode may contain equals signs and commas, and is always text.
        written = value if keys == ("mode",) else yaml_lines.value_of(value)
        return Override(keys, written, text)


@dataclass(slots=True)
class _Layers:
    """The values so far, and the location of each value."""

    values: dict[str, Any]
    locations: KeyLocations
    overridden: set[str] = field(default_factory=set)  # outermost keys

    def put(self, override: Override) -> None:
        keys, value = override.keys, override.value
        of_a_variable = keys[0] == "variables" and len(keys) > 1
        inner = self.values
        for depth, key in enumerate(keys[:-1], start=1):
            before = inner.get(key)
            if of_a_variable and depth == 2 and isinstance(before, str):
                before = long_form(before)
            elif keys[0] == "trace" and isinstance(before, str):
                before = {"level": before}
            elif keys[0] == "checkpoint" and isinstance(before, int):
                before = {"every": before}
            inner[key] = before if isinstance(before, dict) else {}
            inner = inner[key]
        if of_a_variable and len(keys) == 2 and isinstance(value, str):
            before = inner.get(keys[-1])
            value = (long_form(before) if isinstance(before, str | dict) else {}) | long_form(value)
        inner[keys[-1]] = value
        self.locations.by_keys[keys] = override.location
        self.overridden.add(keys[0])
        other = _ONE_OF_TWO.get(keys[0])
        if other is not None and other not in self.overridden:
            self.values.pop(other, None)  # the file's value is also replaced


def load_experiment(
    path: Path | None = None, overrides: Iterable[Override] = (), *, allow_paths: bool = False
) -> Experiment:
    """Load the experiment of a YAML file, or the defaults; apply `overrides` in their order.

    Args:
        allow_paths: Whether paths in the file may lead out of its folder, or, for `out`, out of the
            current folder. Paths in overrides may lead anywhere.
    Raises:
        ConfigError: The file cannot be read, or a key or a value is wrong.
    """
    layers = _Layers({}, KeyLocations()) if path is None else _read(path)
    for override in overrides:
        layers.put(override)
    if path is not None and not allow_paths:
        _check_paths(layers, path.parent)
    _put_workers_of_environment(layers)
    try:
        experiment = Experiment.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError(_text_of(error, layers)) from None
    if experiment.spmd:
        _check_tf_config(experiment, layers)
    experiment.locations.by_keys.update(layers.locations.by_keys)
    if path is not None:
        experiment.loaded_from(path)
    return experiment


def _put_workers_of_environment(layers: _Layers) -> None:
    """Set the number of workers by the environment, if nothing else sets it."""
    is_spmd = bool(layers.values.get("spmd"))
    # In a script, a strategy without devices reads the environment itself.
    if "script" in layers.values and not is_spmd:
        return
    if not {"workers", "devices"}.isdisjoint(layers.values):
        return
    asked, source = workers_of_environment(), environment.WORKERS
    if asked is None and is_spmd:
        asked, source = cluster_resolver.workers_of_tf_config(), cluster_resolver.TF_CONFIG
    if asked is not None:
        layers.put(Override(("workers",), asked, f"{source} (environment)"))


def _check_tf_config(experiment: Experiment, layers: _Layers) -> None:
    """Refuse a TF_CONFIG with another number of workers than the experiment.

    Raises:
        ConfigError: TF_CONFIG is malformed, or contradicts the experiment.
    """
    described, count = cluster_resolver.workers_of_tf_config(), len(experiment.device_names)
    if described is None or described == count:
        return
    key = next((one for one in ("workers", "devices") if one in layers.values), None)
    source = "the default is" if key is None else f"{layers.locations.by_keys.get((key,), key)}:"
    source = source.replace("--workers", "--workers (-n)")  # the location has the longer name
    raise ConfigError(
        f"TF_CONFIG (environment) describes {times(described, 'worker')}, but {source} "
        f"{times(count, 'worker')}. With --spmd, TF_CONFIG alone is enough; or unset it: "
        "env -u TF_CONFIG varsim exec ..."
    )


_NO_EXPERIMENT: Final = (
    "an experiment is a YAML file; unpack an exported run first, and list the variables of a model "
    "with `varsim inventory`"
)

_EMPTY: Final = (
    "no key is set: set at least one, such as `workload: my_program.py`; without `workload` and "
    "`script`, an experiment runs the built-in digits"
)


def _read(path: Path) -> _Layers:
    try:
        text = read_text(path, yaml_lines.MAX_BYTES, _NO_EXPERIMENT)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {str(path)!r}{_nearest_file(path)}") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    document = yaml_lines.load(text, str(path))
    if not document.values:  # the defaults would run another job than the user meant
        raise ConfigError(f"{path}: {_EMPTY}")
    layers = _Layers(
        document.values,
        KeyLocations({keys: f"{path}:{line}" for keys, line in document.lines.items()}),
    )
    layers.values.setdefault("name", re.sub(r"[^\w.-]+", "_", path.stem))
    workload, script = layers.values.get("workload"), layers.values.get("script")
    if isinstance(workload, str) and catalog.is_path(workload):
        layers.values["workload"] = str(path.parent / Path(workload).expanduser())
    if isinstance(script, str):
        layers.values["script"] = str(path.parent / Path(script).expanduser())
    return layers


def _check_paths(layers: _Layers, folder: Path) -> None:
    """Refuse paths of the file that lead out of the folder to which they are relative.

    Links inside the folder are followed.

    Raises:
        ConfigError: A path leads out of its folder, and no override replaces the path.
    """
    for key, below in (("workload", folder), ("script", folder), ("out", Path())):
        path = layers.values.get(key)
        if key in layers.overridden or not isinstance(path, str):
            continue
        if key == "workload" and not catalog.is_path(path):
            continue
        if not _absolute(Path(path).expanduser()).is_relative_to(_absolute(below)):
            whose = "current folder" if key == "out" else f"experiment's folder {below}"
            problem = (
                f"{path} is outside the {whose}; if you trust the file, add --allow-paths "
                f"(in Python: allow_paths=True), or give {key}=PATH yourself"
            )
            raise ConfigError(layers.locations.located((key,), problem))


def _absolute(path: Path) -> Path:
    """Return an absolute path without `..`; links are not resolved."""
    return Path(os.path.normpath(path.absolute()))


def _nearest_file(path: Path) -> str:
    folders = dict.fromkeys([path.parent, Path("configs")])
    found = [
        str(file)
        for folder in folders
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix in EXPERIMENT_FILES
    ]
    return did_you_mean(str(path), found)


# ---------------------------------------------------------------- errors


_UNKNOWN: Final = "extra_forbidden"
"""The type of pydantic's error about a key that does not exist."""


def _text_of(error: ValidationError, layers: _Layers) -> str:
    """Return the texts of all errors, one below the other."""
    # An unknown key is first, because it can be the reason why a required key is missing.
    problems = sorted(error.errors(), key=lambda one: one["type"] != _UNKNOWN)
    return "\n".join(dict.fromkeys(_text_of_one(one, layers) for one in problems))


def _text_of_one(error: Any, layers: _Layers) -> str:
    locations = layers.locations
    keys = tuple(str(part) for part in error["loc"])
    if not keys:  # an error in a check of the whole model
        wrong = error["ctx"]["error"]
        if isinstance(wrong, WrongKey):
            return locations.located(wrong.keys, wrong.problem)
        location = locations.of(("devices",))
        return f"{location + ': ' if location else ''}{_problem(error)}"
    if error["type"] == _UNKNOWN:
        known, whose = keys_of(keys)
        if len(keys) == 1 and keys[0] in _params(layers.values):
            nearest = f", but the workload has; did you mean 'params.{keys[0]}'?"
        else:
            nearest = did_you_mean(keys[-1], known)
        problem = f"{whose} no key {keys[-1]!r}{nearest}\n  keys: {listed(known)}"
        location = locations.of(keys)
        return f"{location + ': ' if location else ''}{problem}"
    lists_modes = keys[0] == "mode" and error["type"] == "value_error"
    allowed = "" if lists_modes else _allowed(keys)
    return locations.located(keys, f"{_problem(error)}{allowed}")


def _params(values: Mapping[str, Any]) -> Collection[str]:
    """Return the parameters of the workload if it ships with varsim; else an empty collection."""
    name = values.get("workload", Experiment.model_fields["workload"].default)
    ours = isinstance(name, str) and name in catalog.built_in()
    return catalog.listing(name).params if ours else ()


def _problem(error: Any) -> str:
    match error["type"]:
        case "value_error":
            return str(error["ctx"]["error"])
        case "string_pattern_mismatch":
            return f"invalid value {error['input']!r}: it contains a character that is not allowed"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"invalid value {error['input']!r}: expected a mapping, {{key: value}}"
    if isinstance(error["input"], dict):
        return expectation(error["msg"])
    if error["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", error["ctx"]["expected"])
        near = did_you_mean(str(error["input"]), known)
        return f"invalid value {error['input']!r}: {expectation(error['msg'])}{near}"
    return f"invalid value {error['input']!r}: {expectation(error['msg'])}"


def _allowed(keys: KeyPath) -> str:
    if keys[0] == "faults" and len(keys) > 1:
        return ""  # the error about a fault says where the list is
    depth = {"variables": 3, "trace": 2, "checkpoint": 2}.get(keys[0], 1)
    fixed = keys[:depth] if len(keys) >= depth else keys[:1]
    known, _ = keys_of(fixed)
    return f"\n  {fixed[-1]}: {known.get(fixed[-1], '')}"
