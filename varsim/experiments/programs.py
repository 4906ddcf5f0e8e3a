"""Load the program of a run, and run it: a workload's function, or a script."""

from __future__ import annotations

import gc
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from varsim.distribute.mirrored import MirroredStrategy
from varsim.distribute.supervision import supervised
from varsim.distribute.variable import variable_creator_scope
from varsim.errors import CallTimeout, WorkerLost
from varsim.experiments.active_run import ActiveRun
from varsim.experiments.catalog import Workload, built_in, is_path, load_workload, whole_path
from varsim.experiments.config import Experiment
from varsim.experiments.key_locations import WrongKey, expectation
from varsim.experiments.run_argument import keys_of_run
from varsim.experiments.run_supervisor import RunSupervisor
from varsim.experiments.scripts import ScriptProgram
from varsim.experiments.sources import (
    ProgramLocation,
    forget_imported,
    location_of_file,
    location_of_module,
)
from varsim.experiments.spmd import SpmdProgram
from varsim.experiments.step_loop import ResumePoint, StepLoop, resume_point
from varsim.experiments.strategies import strategy_of
from varsim.launch.seeding import AT_IMPORT, seeded
from varsim.nearest import did_you_mean, listed
from varsim.report.json_values import plain
from varsim.report.summary import Phase
from varsim.texts import resuming
from varsim.texts.incarnations import LostValues, Recovery
from varsim.workloads.job import Job


class RunProgram(Protocol):
    """The program of a run."""

    params: dict[str, Any]  # the program's arguments, including defaults
    no_oracle: str  # the reason why an oracle is impossible; "" if an oracle is possible

    location: ProgramLocation | None  # None if a run does not keep its sources
    not_kept: str  # the reason why the sources of a user's program are not kept; "" if kept

    def keys(self) -> dict[str, Any]:
        """Return the keys that complete the experiment."""

    def play(self, run: ActiveRun, began_s: float) -> object:
        """Run the program, and return its result.

        After this call, the strategies that `run` observes are still open.

        Raises:
            BaseException: Any error of the program.
        """


class WorkloadProgram:
    """A function `run(job, ...)`, which gets a strategy with the experiment's settings."""

    no_oracle = ""

    def __init__(self, workload: Workload, params: dict[str, Any]) -> None:
        self.workload = workload
        self.params = params
        self.location = _location_of(workload)
        foreign = self.location is None and workload.name not in built_in()
        self.not_kept = f"module {workload.name!r}: it is installed" if foreign else ""

    def keys(self) -> dict[str, Any]:
        """Return the complete name of the workload, and all arguments."""
        return {"workload": self.workload.name, "params": plain(self.params)}

    def play(self, run: ActiveRun, began_s: float) -> object:
        """Run the workload, and return its result."""
        experiment = run.experiment
        supervisor = RunSupervisor(run, began_s)
        with supervised(supervisor):
            strategy = strategy_of(experiment, experiment.device_names, run.directory)
        strategy.start()
        point = _resumed(run)
        with run.doing(Phase.TRAINING):
            try:
                while True:
                    loop = StepLoop(run, strategy, point)
                    job = Job(strategy, experiment.seed, experiment.steps, loop.progress, loop)
                    try:
                        with supervised(supervisor), variable_creator_scope(run.settings):
                            result: object = self.workload.run(job, **self.params)
                        break
                    except (WorkerLost, CallTimeout) as error:
                        if error.recovery is None:
                            raise
                        recovery = error.recovery
                    supervisor.forget_losses()
                    point = _begin_again(run, strategy, loop, point, recovery)
            finally:
                supervisor.report_losses()
        loop.check_end()
        run.check_settings()
        if experiment.steps is not None and not job.has_read_steps:
            run.warn(
                f"--steps {experiment.steps} had no effect: this workload does not read job.steps"
            )
        return result


def _resumed(run: ActiveRun) -> ResumePoint | None:
    """Return the checkpoint from which the run continues.

    Warn if there is none, or if the settings that decide the values of variables have changed.
    """
    resume = run.experiment.resume
    if resume is None:
        return None
    point = resume_point(resume, run.warn)
    if point is None:
        run.warn(resuming.NO_CHECKPOINT.format(run=resume.name))
        return None
    changed = _changes(keys_of_run(resume), run.keys)
    if changed:
        text = ", ".join(changed)
        run.warn(resuming.OTHER_SETTINGS.format(step=point.step, run=point.run, changed=text))
    return point


_DECISIVE: Final = ("seed", "mode", "variables", "uneven", "auto")
"""The keys of an experiment that decide the values of variables, beside params and workers."""


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the changed settings, as in "params.lr=0.2 (was 0.1)"."""
    old, new = _decisive(before), _decisive(now)
    return [
        f"{name}={new.get(name, 'not set')} (was {old.get(name, 'not set')})"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]


def _decisive(keys: Mapping[str, Any]) -> dict[str, Any]:
    params = {f"params.{name}": value for name, value in keys.get("params", {}).items()}
    return params | {key: keys[key] for key in _DECISIVE if key in keys}


def _begin_again(
    run: ActiveRun,
    strategy: MirroredStrategy,
    loop: StepLoop,
    resumed: ResumePoint | None,
    recovery: Recovery,
) -> ResumePoint | None:
    """Prepare another call of the workload, and return the checkpoint from which it continues.

    The strategy goes on after lost workers, but the workload did not catch the error.

    Args:
        loop: The steps of the interrupted call.
        resumed: The checkpoint from which the interrupted call continued, if any.
    """
    point = resume_point(run.directory.path, run.warn) or resumed
    where = loop.place or _place(run, strategy, recovery)
    run.begin_again(logged=0 if point is None else point.logged)
    gc.collect()  # the variables of the first call must not be created again
    seeded(run.experiment.seed).restore()
    again = resuming.CalledAgain(
        lost=recovery.gone,
        where=where,
        incarnation=strategy.incarnations.number,
        num_replicas=recovery.num_replicas,
        removed=recovery.removed,
        checkpoint=None if point is None else point.step,
        is_exact=point is None or point.restoration.contents.is_exact,
        last=loop.begun if point is None or point.loop == loop.number else None,
        missing=_not_created_again(strategy, recovery),
    )
    run.warn(str(again))
    return point


def _place(run: ActiveRun, strategy: MirroredStrategy, recovery: Recovery) -> str:
    """Return where a workload was that does not iterate with job.steps()."""
    if run.step:
        return f"after step {run.step}"
    calls = strategy.incarnations.calls
    return f"{'in' if recovery.in_call else 'after'} call {calls}" if calls else "before any call"


def _not_created_again(strategy: MirroredStrategy, recovery: Recovery) -> tuple[LostValues, ...]:
    """Return the lost values of variables that the program still has, as in a global variable."""
    held = {variable.spec.name for variable in strategy.alive_variables()}
    return tuple(one for one in recovery.lost if one.variable in held)


def _location_of(workload: Workload) -> ProgramLocation | None:
    if workload.name in built_in():
        return None
    if is_path(workload.name):
        return location_of_file(Path(workload.name))
    return location_of_module(workload.name, workload.module.__file__)


def load_program(experiment: Experiment) -> RunProgram:
    """Load the program that an experiment runs.

    Raises:
        WrongKey: The program does not exist, cannot be loaded, or does not take these arguments.
    """
    if experiment.script is not None:
        kind = SpmdProgram if experiment.spmd else ScriptProgram
        return kind(experiment.script, experiment.args)
    if is_path(experiment.workload):
        forget_imported(location_of_file(whole_path(experiment.workload)))
    with seeded(experiment.seed, *AT_IMPORT).here():
        workload = load_workload(experiment.workload)
    return WorkloadProgram(workload, check_params(workload, experiment.params))


# ---------------------------------------------------------------- the parameters of a workload


def check_params(workload: Workload, params: Mapping[str, object]) -> dict[str, Any]:
    """Return all arguments for the workload's `run`: `params`, and defaults for other arguments.

    Raises:
        WrongKey: An argument is unknown (the text names the nearest), has the wrong type, or is
            missing.
    """
    known = _parameters(workload.run)
    for name in params:
        if name not in known and not _takes_any(workload.run):
            raise WrongKey(
                ("params", name),
                f"workload {workload.name!r} has no parameter "
                f"{name!r}{did_you_mean(name, known)}\n  parameters: {listed(known)}",
            )
    types = _types(workload.run)
    arguments: dict[str, Any] = {}
    for name, parameter in known.items():
        if name in params:
            arguments[name] = _checked(name, params[name], types.get(name), parameter.default)
        elif parameter.default is not parameter.empty:
            arguments[name] = parameter.default
        else:
            raise WrongKey(("params", name), f"workload {workload.name!r} requires it")
    return arguments | {name: value for name, value in params.items() if name not in known}


def _parameters(run: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return the parameters after the job that can be given by name."""
    _, *others = inspect.signature(run).parameters.values()
    nameable = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {parameter.name: parameter for parameter in others if parameter.kind in nameable}


def _takes_any(run: Callable[..., Any]) -> bool:
    parameters = inspect.signature(run).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _types(run: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(run, include_extras=True)
    except (NameError, TypeError, AttributeError):  # annotations that only type checkers evaluate
        return {}


def _checked(name: str, value: object, annotation: Any, default: object) -> Any:
    if annotation is None:
        if default is inspect.Parameter.empty or default is None:
            return value
        annotation = type(default)
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return value
    try:  # JSON is validated strictly, but a list may become a tuple, and a text an enum's member
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        inner = "".join(f" at {part!r}" for part in problem["loc"])
        raise WrongKey(
            ("params", name),
            f"invalid value {problem['input']!r}{inner}: {expectation(problem['msg'])}",
        ) from None
