"""Read the parameters of `Compressed`: the policy inside it, and the compressor."""

from __future__ import annotations

from varsim.errors import ConfigError
from varsim.spec import VariableSynchronization
from varsim.sync.compression import is_compressor
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.local_sgd import LocalSGD
from varsim.texts import refusals
from varsim.texts.modes import are_missing


def inner_and_compressor(parameters: list[str]) -> tuple[str, str]:
    """Return the names of the inner policy and of the compressor, given as INNER:BY.

    The compressor is not checked.

    Raises:
        ConfigError: A parameter is missing, or the inner policy cannot be compressed.
    """
    given = [one for one in parameters if one]
    if not given:
        raise ConfigError(are_missing(["INNER", "BY"]))
    if is_compressor(given[0]):
        raise ConfigError(f"{are_missing(['INNER'])} before the compressor {':'.join(given)}")
    inner, *by = given
    if inner == LocalSGD.keyword and by and not is_compressor(by[0]):
        inner, by = f"{inner}:{by[0]}", by[1:]
    if _compressible(inner) is None:
        why = refusals.why_not_compressed(inner)
        raise ConfigError(f"policy {inner!r} cannot be compressed: {why}")
    if not by:
        raise ConfigError(f"{are_missing(['BY'])} after {inner}")
    return inner, ":".join(by)


def name_of_inner(inner: object) -> str:
    """Return the name of a policy that can be compressed.

    Args:
        inner: A policy, a synchronization, or the name of one of them.
    Raises:
        ConfigError: The policy cannot be compressed; the text says why.
    """
    word = inner.name if isinstance(inner, VariableSynchronization | CustomPolicy) else str(inner)
    name = _compressible(word.lower())
    if name is None:
        raise ConfigError(str(refusals.NotCompressed(word.lower())))
    return name


def _compressible(word: str) -> str | None:
    """Return the name of an inner policy; None if the policy cannot be compressed.

    Raises:
        ConfigError: The number of LocalSGD is not positive.
    """
    if word in ("on_write", "auto"):
        return "on_write"
    keyword, _, every = word.partition(":")
    if keyword == LocalSGD.keyword and every.isdecimal():
        return LocalSGD(int(every)).name
    return None
