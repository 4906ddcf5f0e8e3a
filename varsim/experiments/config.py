"""Define the keys of an experiment's YAML file, and the values that each key allows.

Errors, the JSON Schema for editors, and the docs use the same descriptions.
"""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    Field,
    PrivateAttr,
    WithJsonSchema,
    model_validator,
)

from varsim.distribute.faults import SYNTAX as FAULTS
from varsim.distribute.faults import Fault, parse_fault
from varsim.distribute.lost_workers import MAX_RESTARTS
from varsim.errors import ConfigError
from varsim.experiments import catalog
from varsim.experiments.backend_values import LauncherValue, RegisteredName
from varsim.experiments.checkpoint_settings import CheckpointSettings
from varsim.experiments.key_locations import KeyLocations, WrongKey
from varsim.experiments.mode_text import SYNTAX, WORDS, Mode, parse_mode
from varsim.experiments.trace_settings import Keys, TraceSettings
from varsim.experiments.variable_settings import VariableSettings
from varsim.launch.backends import REGISTRIES, named_launcher
from varsim.launch.devices import DEFAULT_WORKERS, MAX_WORKERS, cpus, problem_with
from varsim.launch.launcher import Backends
from varsim.texts.modes import ADAPTIVE
from varsim.texts.uneven import MEANINGS, UNEVEN, Uneven

_MAX_NAME_LENGTH: Final = 80
"""A file system allows 255 bytes, and the name of the run's directory also contains a time."""


def _checked_mode(text: str) -> str:
    parse_mode(text)
    return text


_Mode = Annotated[
    str,
    AfterValidator(_checked_mode),
    WithJsonSchema(
        {"anyOf": [{"enum": [*WORDS, ADAPTIVE]}, {"type": "string", "pattern": "[=:]"}]}
    ),
]
_Workload = Annotated[
    str,
    WithJsonSchema({"anyOf": [{"enum": list(catalog.built_in())}, {"type": "string"}]}),
]

_SPREAD: Final[dict[str, Any]] = {
    "anyOf": [
        {"enum": ["ray", "none"]},
        {
            "type": "object",
            "properties": {
                "ray": {
                    "type": "object",
                    "properties": {
                        "address": {"type": "string"},
                        "resources_per_worker": {"type": "object"},
                        "runtime_env": {"type": "object"},
                        "start_timeout_s": {"type": "number", "exclusiveMinimum": 0},
                    },
                    "additionalProperties": False,
                }
            },
            "required": ["ray"],
            "additionalProperties": False,
        },
    ]
}
"""Where the points of a sweep run."""

_Sweep = Annotated[
    dict[str, Any],
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"zip": {"type": "boolean"}, "spread": _SPREAD},
            "additionalProperties": {
                "anyOf": [
                    {"type": "array", "minItems": 1},
                    {"type": ["string", "number", "boolean", "object"]},
                ]
            },
        }
    ),
]


_OF_WORKLOADS: Final = {
    "workload": "remove workload or script",
    "params": "use args for a script",
    "steps": "a script counts its own steps; pass their number in args, if "
    "the script has such an argument",
    "checkpoint": "a script saves its own checkpoints: use tf.train.Checkpoint in it",
    "oracle": "the oracle runs the program a second time, on one replica; put the training into a "
    "function run(job), and run it with `varsim run`",
    "auto": "advised needs a pilot run with fewer steps, but a script counts its own steps; use "
    "on_write or adaptive",
}
"""Key that an experiment with a script cannot have → the reason, or what to do instead."""

_OF_REPLICAS: Final = (
    "on_worker_lost",
    "max_restarts",
    "uneven",
    "strict",
    "exchange",
    "stall_warn_s",
    "stall_fail_s",
    "link_loss_s",
)
"""The keys without an effect on parameter servers. Faults and modes have their own texts."""

_WITHOUT_EFFECT: Final[dict[str, tuple[Any, ...]]] = {
    "on_worker_lost": (None, "fail"),
    "strict": (False,),
    "exchange": ("auto",),
}
"""Key → the values that ask for nothing; for other keys, this is None."""


# ---------------------------------------------------------------- the experiment


def _checked_fault(text: str) -> str:
    return parse_fault(text).text


_Fault = Annotated[str, AfterValidator(_checked_fault)]


class Experiment(Keys):
    """One run of a workload or a script, as `varsim run` does it."""

    name: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+$",
        max_length=_MAX_NAME_LENGTH,
        description="Names the run's directory: letters, digits, '_', '-' and '.'. "
        "By default the file's name, or the workload's.",
    )
    workload: _Workload = Field(
        default="digits",
        description="A built-in workload, a dotted module, or the path of a .py file "
        "(relative to this file) with a function run(job, *, ...).",
    )
    script: str | None = Field(
        default=None,
        min_length=1,
        description="Instead of workload: a Python script, which is run unchanged, as "
        "`varsim exec` does. Its path is relative to this file.",
    )
    spmd: bool = Field(
        default=False,
        description="true or false: every worker runs the whole script, as with `varsim exec "
        "--spmd` (docs/spmd.md).",
    )
    args: list[str] = Field(
        default_factory=list, description="Arguments of the script (sys.argv[1:])."
    )
    params: dict[str, Any] = Field(
        default_factory=dict,
        description="Arguments of the workload's run(): `varsim workloads` lists them.",
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=MAX_WORKERS,
        description=f"Number of replicas, from 1 to {MAX_WORKERS}. Each is a worker process.",
    )
    devices: list[str] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_WORKERS,
        description="Instead of workers: a name for each replica's device, such as cpu:0, gpu:0.",
    )
    mode: _Mode | None = Field(
        default=None,
        description="The synchronization of variables that the workload creates without one: "
        f"{SYNTAX}.",
    )
    variables: dict[str, VariableSettings] = Field(
        default_factory=dict,
        description="Settings by variable name, or by pattern such as 'moving_*': a mode, as in "
        "weights: on_read; mode/aggregation, as in on_read/sum; or a mapping with synchronization "
        "and aggregation. These settings override the workload's; "
        "later settings override earlier ones.",
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="Number of steps, at least 1; by default the workload decides.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="Seed of all random numbers, at least 0; `job.seed` in the program. It seeds "
        "`random` and `numpy.random` in the program, and in each worker together with the "
        "replica's id.",
    )
    launcher: Annotated[str | dict[str, dict[str, Any]], LauncherValue()] = Field(
        default=Backends().launcher,
        description=f"What starts the workers. {REGISTRIES['launcher'].summary()} A mapping of one "
        "name to its settings, such as ssh: {hosts: [a, b]}, chooses a launcher with settings.",
    )
    transport: Annotated[str, RegisteredName("transport")] = Field(
        default=Backends().transport,
        description=f"What carries the messages. {REGISTRIES['transport'].summary()}",
    )
    exchange: Annotated[str, RegisteredName("exchange")] = Field(
        default=Backends().exchange,
        description="How large values are sent, and where they are reduced. "
        f"{REGISTRIES['exchange'].summary()}",
    )
    auto: Literal["on_write", "adaptive", "advised"] = Field(
        default="on_write",
        description="What AUTO means. on_write: as in TensorFlow. adaptive: the same values up to "
        "rounding, exchanged only before a read. advised: for each variable, the settings that "
        "`varsim advise` recommends after a short pilot run.",
    )
    trace: TraceSettings = Field(
        default=TraceSettings(),
        description="What every process records for the run's history. ops: operations on "
        "variables, without large values. messages: all values. off: nothing. A mapping has "
        "level, steps (100:200 records the calls of strategy.run from the 100th to the 199th) and "
        "limit (the largest trace of each process, such as 64 MiB).",
    )
    checkpoint: CheckpointSettings | None = Field(
        default=None,
        description="Save a checkpoint after every N steps, and keep the last K: {every: N, keep: "
        "K}, or N alone. `varsim run --resume RUN` continues a run from its last checkpoint. For "
        "workloads that iterate with `for step in job.steps():`.",
    )
    oracle: bool = Field(
        default=False,
        description="true or false: run the program once more, on one replica with the whole "
        "batch, to find wrong values, such as values that are N times too large.",
    )
    faults: list[_Fault] = Field(
        default_factory=list,
        description=f"Faults to inject into the replicas (docs/faults.md): {FAULTS}.",
    )
    uneven: Uneven | None = Field(
        default=None,
        description="What a distributed dataset does at a batch that leaves a replica without "
        f"rows (default: {UNEVEN[0]}). {MEANINGS}.",
    )
    strict: bool = Field(
        default=False,
        description="true or false: refuse synchronization NONE, and unnamed collectives called in "
        "different lines, instead of warning about them.",
    )
    stall_warn_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="A replica that makes no progress for so many seconds is reported, with its "
        "Python stack; 0 means never. By default 5.",
    )
    stall_fail_s: float | None = Field(
        default=None,
        ge=0,
        allow_inf_nan=False,
        description="If a replica makes no progress for so many seconds, its process is ended, "
        "and the run fails; 0 means never. By default VARSIM_CALL_TIMEOUT_S, or else 60 for a "
        "replica that is blocked, and 600 for a replica that computes.",
    )
    link_loss_s: float | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="With transport: tcp, a worker is lost after so many seconds without a "
        "connection. A shorter interruption costs only time. By default 20.",
    )
    on_worker_lost: Literal["fail", "restart", "shrink"] | None = Field(
        default=None,
        description="What happens after a worker was lost. fail (the default): the run fails. "
        "restart: it goes on with new workers, from its last checkpoint. shrink: the same with "
        "fewer workers.",
    )
    max_restarts: int | None = Field(
        default=None,
        ge=0,
        description="The largest number of restarts. After them, the run fails when a worker is "
        f"lost. By default {MAX_RESTARTS}.",
    )
    out: str = Field(
        default="runs",
        min_length=1,
        description="The directory in which the run's directory is created.",
    )

    sweep: _Sweep = Field(
        default_factory=dict,
        description="The keys that `varsim sweep` varies, with dots for nested keys, and their "
        "values: a list, such as workers: [1, 2, 4], or a range with both ends, such as seed: "
        "0..3. zip: true combines the first values of all keys, the second values, and so on, "
        "instead of all values with each other. spread: ray runs the points on the nodes of a Ray "
        "cluster (docs/ray.md).",
    )

    _locations: KeyLocations = PrivateAttr(default_factory=KeyLocations)
    _file: Path | None = PrivateAttr(default=None)
    _resume: Path | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _check_script(self) -> Experiment:
        if self.script is None:
            if self.args:
                raise ValueError("args are for a script; use params for a workload")
            if self.spmd:
                raise WrongKey(("spmd",), "spmd needs a script; name it with script:")
            return self
        advised = self.auto == "advised"
        for key, why in _OF_WORKLOADS.items():
            said = advised if key == "auto" else key in self.model_fields_set
            if said and getattr(self, key) is not False:
                raise WrongKey((key,), f"not with a script: {why}")
        return self

    @model_validator(mode="after")
    def _check_faults(self) -> Experiment:
        for fault in self.parsed_faults:
            if self.script is not None and fault.step is not None:
                raise WrongKey(("faults",), "a script reports no steps: write call= for step=")
            if self.script is None or self.spmd or self.workers or self.devices:
                fault.check(len(self.device_names))
            if self.script is None or "transport" in self.model_fields_set:
                fault.check_link(self.transport)
        return self

    @model_validator(mode="after")
    def _check_auto(self) -> Experiment:
        if self.auto == "advised" and self.parsed_mode.adaptive:
            raise WrongKey(
                ("auto",),
                "advised chooses for each variable; remove auto: advised, or the mode adaptive",
            )
        return self

    @model_validator(mode="after")
    def _check_devices(self) -> Experiment:
        if self.devices is None:
            return self
        if self.workers is not None and self.workers != len(self.devices):
            raise ValueError(
                f"{len(self.devices)} devices for {self.workers} workers: remove devices or workers"
            )
        problem = problem_with(self.devices)
        if problem:
            raise ValueError(f"devices: {problem}")
        return self

    @property
    def backends(self) -> Backends:
        """Return the launcher, transport and exchange."""
        launcher = named_launcher(self.launcher)
        return Backends(transport=self.transport, exchange=self.exchange, **launcher)

    @property
    def named_backends(self) -> dict[str, str]:
        """Return the backends that the experiment itself names."""
        launcher = (
            {"launcher", "launcher_settings"} if "launcher" in self.model_fields_set else set()
        )
        named = launcher | (self.model_fields_set & {"transport", "exchange"})
        return {name: value for name, value in asdict(self.backends).items() if name in named}

    @property
    def set_for_replicas(self) -> list[str]:
        """Return the keys with a value other than the default that have an effect on replicas."""
        asked = self.model_fields_set
        return [
            key
            for key in _OF_REPLICAS
            if key in asked and getattr(self, key) not in _WITHOUT_EFFECT.get(key, (None,))
        ]

    @property
    def locations(self) -> KeyLocations:
        """Return the location of each value, if the experiment was loaded."""
        return self._locations

    @property
    def file(self) -> Path | None:
        """Return the YAML file that a user wrote, if it was loaded from one."""
        return self._file

    def loaded_from(self, file: Path | None) -> None:
        """Set the YAML file that a user wrote."""
        # Links are resolved now: a `latest` in the path will soon name the new run.
        self._file = None if file is None else file.parent.resolve() / file.name

    @property
    def resume(self) -> Path | None:
        """Return the folder of the run that is resumed."""
        return self._resume

    def resume_from(self, folder: Path) -> None:
        """Set the folder of the run that is resumed."""
        self._resume = folder

    @property
    def title(self) -> str:
        """Return the name of the run."""
        program = self.script or self.workload
        stem = re.split(r"[/\\.]", program.removesuffix(".py"))[-1]
        return self.name or re.sub(r"[^\w-]+", "_", stem)[:_MAX_NAME_LENGTH] or "run"

    @property
    def device_names(self) -> tuple[str, ...]:
        """Return a device name for each replica."""
        if self.devices is not None:
            return tuple(self.devices)
        return cpus(self.workers or DEFAULT_WORKERS)

    @property
    def parsed_mode(self) -> Mode:
        """Return the modes that `mode` gives to variables."""
        return Mode(None, {}) if self.mode is None else parse_mode(self.mode)

    @property
    def parsed_faults(self) -> list[Fault]:
        """Return the faults."""
        return [parse_fault(text) for text in self.faults]

    @property
    def auto_in_force(self) -> str:
        """Return what AUTO means: `auto`, unless the mode is adaptive."""
        return ADAPTIVE if self.parsed_mode.adaptive else self.auto

    def as_keys(self) -> dict[str, Any]:
        """Return the keys and values of an equivalent YAML file, without empty values."""
        left_out = _OF_WORKLOADS.keys() - {"auto"} if self.script is not None else set()
        left_out |= set() if self.spmd else {"spmd"}
        keys: dict[str, Any] = self.model_dump(mode="json", exclude_none=True, exclude=left_out)
        return {key: value for key, value in keys.items() if value not in ({}, [], None)}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of an experiment's YAML file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Experiment.model_json_schema(),
        "title": "varsim experiment",
    }


def keys_of(path: tuple[str, ...]) -> tuple[dict[str, str], str]:
    """Return the allowed keys at the level of the last key of `path`, and the subject of an error.

    Raises:
        ConfigError: At this level, any key is allowed.
    """
    if len(path) == 1:
        return _described(Experiment), "an experiment has"
    if len(path) == 3 and path[0] == "variables":
        return _described(VariableSettings), "a variable's settings have"
    if len(path) == 2 and path[0] == "trace":
        return _described(TraceSettings), "trace has"
    if len(path) == 2 and path[0] == "checkpoint":
        return _described(CheckpointSettings), "checkpoint has"
    raise ConfigError(f"{'.'.join(path)} is not a key")


def _described(model: type[BaseModel]) -> dict[str, str]:
    return {name: field.description or "" for name, field in model.model_fields.items()}
