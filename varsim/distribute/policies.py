"""Find a synchronization policy by its name in varsim, in installed packages, or in the program."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from varsim.errors import ConfigError
from varsim.nearest import did_you_mean
from varsim.protocol import pickling
from varsim.protocol.paths import shown_path
from varsim.protocol.references import Name
from varsim.registry import BuiltIn, Registry
from varsim.spec import CustomSynchronization, Synchronization, VariableSynchronization
from varsim.sync.policies import custom
from varsim.sync.policies.custom import CustomPolicy
from varsim.texts.modes import FORMS, TENSORFLOW

BUILT_IN: Final = {
    "bounded_staleness": BuiltIn(
        "varsim.sync.policies.bounded_staleness:BoundedStaleness",
        "bounded_staleness:S lets replicas add to one copy, at most S writes ahead of the slowest",
    ),
    "central": BuiltIn(
        "varsim.sync.policies.central:Central",
        "central has one copy, as with CentralStorageStrategy",
    ),
    "compressed": BuiltIn(
        "varsim.sync.policies.compressed:Compressed",
        "compressed:INNER:BY compresses what replicas exchange",
    ),
    "local_sgd": BuiltIn(
        "varsim.sync.policies.local_sgd:LocalSGD",
        "local_sgd:K averages the components after every K-th write",
    ),
}

WITHOUT_PARAMETERS: Final = tuple(one for one, form in FORMS.items() if one == form)
"""The built-in policies whose name is their keyword."""

POLICIES: Final[Registry[type[CustomPolicy]]] = Registry(
    "synchronization", BUILT_IN, group="varsim.policies"
)


def policy_named(name: str) -> CustomPolicy:
    """Return the policy with a name such as local_sgd:8.

    Raises:
        ConfigError: The policy does not exist, or does not accept these parameters.
    """
    keyword, *parameters = name.split(":")
    if VariableSynchronization.__members__.get(keyword.upper()):
        raise ConfigError(f"{keyword!r} takes no parameters: {name!r}")
    if keyword not in POLICIES.names():
        raise ConfigError(no_synchronization(name))
    kind = POLICIES.load(keyword)
    try:
        policy: CustomPolicy = kind.parse(parameters)
    except (TypeError, ValueError, IndexError) as error:
        is_said = isinstance(error, ConfigError)
        wrong = str(error) if is_said else custom.problem_of(kind, parameters, error)
        raise ConfigError(f"{name!r}: {wrong}. {custom.how_to_write(kind)}") from error
    custom.register(policy)
    return policy


def synchronization_names() -> list[str]:
    """Return all synchronizations of this installation; capitals stand for parameters."""
    return [*TENSORFLOW, *(_form_named(keyword) for keyword in sorted(POLICIES.names()))]


def no_synchronization(word: str, what: str = "synchronization", also: Sequence[str] = ()) -> str:
    """Return the error about a word that names no synchronization, with all valid names.

    Args:
        what: The noun for synchronizations, as the user knows them.
        also: Further valid names.
    """
    keyword = word.strip().lower().replace("-", "_").partition(":")[0]
    near = did_you_mean(keyword, [*TENSORFLOW, *POLICIES.names(), *also])
    names = ", ".join([*synchronization_names(), *also])
    said = f"{word!r} is not a {what}{near}\n  {what}s: {names}"
    if ":" in word and not near:
        said += (
            f"\n  If a package provides {keyword!r}, install the package: it has the entry point "
            f"{keyword} in the group {POLICIES.group}"
        )
    return said


def _form_named(keyword: str) -> str:
    """Return the form of the name of a policy; only the keyword if its package is broken."""
    if keyword in FORMS:
        return FORMS[keyword]
    try:
        return custom.form_of(POLICIES.load(keyword))
    except ConfigError:
        return keyword


def parse_synchronization(word: str) -> Synchronization:
    """Return a synchronization, given as users write it: on_read, or local_sgd:8.

    Raises:
        ConfigError: No synchronization has this name.
    """
    keyword, colon, parameters = word.strip().partition(":")
    name = keyword.replace("-", "_") + colon + parameters  # a parameter can be negative
    member = VariableSynchronization.__members__.get(name.upper())
    return synchronization_of(policy_named(name.lower())) if member is None else member


def synchronization_of(policy: CustomPolicy) -> CustomSynchronization:
    """Return the synchronization of a policy. With it, every process can find the policy."""
    custom.register(policy)
    found = POLICIES.load(policy.keyword) if policy.keyword in POLICIES.names() else None
    if found is type(policy):
        return CustomSynchronization(policy.name, POLICIES.package_of(policy.keyword))
    pickled, _ = pickling.dumps(policy, _NOTHING_NAMED)
    file = getattr(sys.modules.get(type(policy).__module__), "__file__", None)
    return CustomSynchronization(policy.name, shown_path(file) if file else "", pickled)


def know(synchronization: Synchronization) -> None:
    """Register the policy of a synchronization in this process, if necessary.

    If the program itself defines the policy, the synchronization contains the pickled policy.

    Raises:
        ConfigError: No installed package provides the policy.
    """
    if not isinstance(synchronization, CustomSynchronization) or custom.known(synchronization):
        return
    if synchronization.definition:
        custom.register(pickling.loads(synchronization.definition, [], _NOTHING_NAMED))
        return
    keyword = synchronization.name.partition(":")[0]
    if synchronization.source and keyword not in POLICIES.names():
        raise ConfigError(
            f"the policy {keyword} is not installed in this process: install "
            f"{synchronization.source}"
        )
    policy_named(synchronization.name)


class _NothingNamed:
    """Replaces no object of a policy by a name, so that every object is pickled by value."""

    def name_of(self, value: object) -> Name | None:
        return None

    def find(self, name: Name) -> Any:
        raise ConfigError(f"a policy cannot hold {name!r}")


_NOTHING_NAMED: Final = _NothingNamed()
