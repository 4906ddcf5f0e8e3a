"""Find a synchronization policy by its name in varsim, in installed packages, or in the program."""

from __future__ import annotations

from typing import Any, Final

from varsim.errors import ConfigError
from varsim.protocol import pickling
from varsim.protocol.references import Name
from varsim.registry import BuiltIn, Registry
from varsim.spec import CustomSynchronization, Synchronization, VariableSynchronization
from varsim.sync.policies import custom
from varsim.sync.policies.custom import CustomPolicy

BUILT_IN: Final = {
    "bounded_staleness": BuiltIn(
        "varsim.sync.policies.bounded_staleness:BoundedStaleness",
        "bounded_staleness:s lets replicas add to one copy, at most s writes ahead of the slowest",
    ),
    "central": BuiltIn(
        "varsim.sync.policies.central:Central",
        "central has one copy, as with CentralStorageStrategy",
    ),
    "compressed": BuiltIn(
        "varsim.sync.policies.compressed:Compressed",
        "compressed:INNER:BY compresses what replicas exchange; INNER is on_write or local_sgd:k, "
        "and BY is fp16, top_k:RATIO or one_bit",
    ),
    "local_sgd": BuiltIn(
        "varsim.sync.policies.local_sgd:LocalSGD",
        "local_sgd:k averages the components after every k-th write",
    ),
}

WITHOUT_PARAMETERS: Final = ("central",)
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
    kind = POLICIES.load(keyword)
    try:
        policy: CustomPolicy = kind.parse(parameters)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        right = f"; write it as in {kind.example}" if kind.example else ""
        raise ConfigError(f"invalid parameters of {keyword}: {name!r}{right}") from error
    custom.register(policy)
    return policy


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
    return CustomSynchronization(policy.name, definition=pickled)


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
    else:
        policy_named(synchronization.name)


class _NothingNamed:
    """Replaces no object of a policy by a name, so that every object is pickled by value."""

    def name_of(self, value: object) -> Name | None:
        return None

    def find(self, name: Name) -> Any:
        raise ConfigError(f"a policy cannot hold {name!r}")


_NOTHING_NAMED: Final = _NothingNamed()
