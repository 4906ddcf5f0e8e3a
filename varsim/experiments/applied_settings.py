"""Apply an experiment's settings to a workload's variables while they are created.

A variable is *free* if the workload created it without a synchronization. The mode applies to free
variables; settings for a name or a pattern apply to every variable that matches it. See ADR 10.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final

from varsim.distribute.parameter_servers.strategy import ParameterServerStrategy
from varsim.distribute.scopes import get_strategy
from varsim.errors import AggregationError
from varsim.experiments.key_locations import KeyPath, WrongKey
from varsim.experiments.mode_text import Mode
from varsim.location import user_location
from varsim.nearest import listed, no_variable
from varsim.spec import VariableSynchronization
from varsim.sync import policies
from varsim.texts.modes import ADAPTIVE

if TYPE_CHECKING:
    from varsim.distribute.strategy import Strategy
    from varsim.experiments.config import Experiment
    from varsim.experiments.variable_settings import VariableSettings

_UNSPECIFIED: Final = VariableSynchronization.AUTO
_UNNAMED: Final = "Variable"  # the default name of a variable

_ALL_SERVED: Final = "the variables of this program are"
_WITHOUT_MODE: Final = (
    "on a parameter server, where modes and settings of variables do not apply: remove it "
    "(docs/parameter_servers.md)"
)


def _refusal(name: str, error: AggregationError, key: str, *_: str) -> str:
    """Return why a variable cannot have the settings, and what to do."""
    others = "" if key == "variables" else "; or name the variables that get the mode, NAME=MODE"
    return (
        f"variable {name!r} at {user_location()}: {error.problem}\n  Change the aggregation in the "
        f"program, or set it under variables, or choose another synchronization{others}"
    )


class AppliedSettings:
    """A variable creator that applies an experiment's settings, and keeps the variables.

    Pass this object to `variable_creator_scope`. The variables are kept so that their values can be
    shown after the workload has dropped the variables.

    Args:
        strategies: The strategies whose variables get the settings; `watch` adds a strategy.
    """

    def __init__(self, experiment: Experiment, *strategies: Strategy) -> None:
        self._mode: Mode = experiment.parsed_mode
        self._patterns: dict[str, VariableSettings] = dict(experiment.variables)
        self._strategies = [*strategies]
        self._adaptive = experiment.auto_in_force == ADAPTIVE
        self._unused = {*self._patterns, *self._mode.named}
        self.created: list[Any] = []
        self.free_ids: set[int] = set()
        self._others: list[weakref.ref[Any]] = []  # variables without the settings
        self._served: list[str] = []  # the names of the variables on parameter servers

    @property
    def everything(self) -> list[Any]:
        """Return the program's variables, except dropped variables without the settings."""
        others = (ref() for ref in self._others)
        return [*self.created, *(variable for variable in others if variable is not None)]

    def begin_again(self) -> None:
        """Forget the variables, because the program begins again."""
        self._unused = {*self._patterns, *self._mode.named}
        self.created.clear()
        self.free_ids.clear()
        self._others.clear()
        self._served.clear()

    def watch(self, strategy: Strategy) -> None:
        """Apply the settings to this strategy's variables, too."""
        self._strategies.append(strategy)

    def __call__(self, next_creator: Callable[..., Any], **kwargs: Any) -> Any:
        """Create a variable, with the settings if one of the strategies owns the variable.

        Raises:
            WrongKey: The program's other settings do not allow those of the experiment.
        """
        if get_strategy() not in self._strategies:
            other = next_creator(**kwargs)
            self._others.append(weakref.ref(other))
            if isinstance(get_strategy(), ParameterServerStrategy):
                self._served.append(kwargs.get("name") or _UNNAMED)
            return other
        name = kwargs.get("name") or _UNNAMED
        free = kwargs["synchronization"] is _UNSPECIFIED
        keys: KeyPath = ()  # of the last setting that applies
        if free and self._mode.free is not None:
            kwargs["synchronization"] = self._mode.free
            keys = ("mode",)
        for pattern, settings in self._patterns.items():
            if self._matches(name, pattern):
                for setting in ("synchronization", "aggregation"):
                    value = getattr(settings, setting)
                    kwargs[setting] = kwargs[setting] if value is None else value
                keys = ("variables", pattern)
        for pattern, mode in self._mode.named.items():
            if self._matches(name, pattern):
                kwargs["synchronization"] = mode
                keys = ("mode",)
        try:
            variable = next_creator(**kwargs)
        except AggregationError as error:
            if not keys:
                raise
            raise WrongKey(keys, _refusal(name, error, *keys)) from None
        self.created.append(variable)
        if free:
            self.free_ids.add(variable.spec.variable_id)
        return variable

    def _matches(self, name: str, pattern: str) -> bool:
        if name != pattern and not fnmatchcase(name, pattern):
            return False
        self._unused.discard(pattern)
        return True

    def check(self) -> None:
        """Check that the experiment names only variables that were created.

        Raises:
            WrongKey: No variable matches a name or a pattern, or the mode applies to no variable.
        """
        names = list(dict.fromkeys(variable.spec.name for variable in self.created))
        if self._served and not names:
            self._check_servers_alone()
        variables = f"\n  variables: {listed(names)}"
        said = [("variables", pattern) for pattern in self._patterns]
        said += [("mode", name) for name in self._mode.named]
        for key, pattern in said:
            if pattern in self._unused:
                raise WrongKey(
                    (key, pattern) if key == "variables" else (key,),
                    self._on_server(pattern) or no_variable(pattern, names),
                )
        if self._adaptive and not any(policies.defers(one.spec) for one in self.created):
            raise WrongKey(
                ("mode" if self._mode.adaptive else "auto",),
                "adaptive applies to AUTO variables with an aggregation and a fixed shape, "
                f"and this program has none{variables}",
            )
        if self._mode.free is not None and not self.free_ids:
            raise WrongKey(
                ("mode",),
                f"mode {self._mode.free.name.lower()} applies to variables that are created "
                "without a synchronization, and this workload has none: name the variables to "
                f"change, NAME=MODE{variables}",
            )

    def _on_server(self, pattern: str) -> str:
        """Return that a variable of this name is on a parameter server; "" if there is none."""
        for name in self._served:
            if name == pattern or fnmatchcase(name, pattern):
                return f"variable {name!r} is {_WITHOUT_MODE}"
        return ""

    def _check_servers_alone(self) -> None:
        """Refuse settings of variables in a program with variables on parameter servers only."""
        for pattern in self._patterns:
            raise WrongKey(("variables", pattern), f"{_ALL_SERVED} {_WITHOUT_MODE}")
        if self._mode.named or self._mode.free is not None or self._mode.adaptive:
            raise WrongKey(("mode",), f"{_ALL_SERVED} {_WITHOUT_MODE}")
        if self._adaptive:
            raise WrongKey(("auto",), f"{_ALL_SERVED} {_WITHOUT_MODE}")
