"""An experiment's `params`, checked against the signature of the workload's `run`."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from varsim.experiments.catalog import Workload
from varsim.experiments.nearest import did_you_mean, listed
from varsim.experiments.places import WrongKey


def check_params(workload: Workload, params: Mapping[str, object]) -> dict[str, Any]:
    """All arguments for the workload's `run`: those given, and the defaults of the others.

    Raises:
        ConfigError: One is unknown, of the wrong type, or missing; the text names the nearest.
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
            raise WrongKey(("params", name), f"workload {workload.name!r} needs it")
    return arguments | {name: value for name, value in params.items() if name not in known}


def _parameters(run: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Those after the job that can be named."""
    _, *others = inspect.signature(run).parameters.values()
    nameable = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {parameter.name: parameter for parameter in others if parameter.kind in nameable}


def _takes_any(run: Callable[..., Any]) -> bool:
    parameters = inspect.signature(run).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)


def _types(run: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(run, include_extras=True)
    except (NameError, TypeError, AttributeError):  # annotations for people, or for checkers only
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
    try:  # as JSON: strict, and a list may still become a tuple, or a word an enum's member
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problem = error.errors()[0]
        inner = "".join(f" at {part!r}" for part in problem["loc"])
        said = problem["msg"].replace("Input should", "it should", 1)
        raise WrongKey(
            ("params", name), f"{problem['input']!r}{inner} is not possible: {said}"
        ) from None
