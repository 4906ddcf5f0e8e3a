"""The promises of each pair of settings, for the judge of histories.

The promises are written from docs/semantics.md, not from the policy table of `varsim.sync`. So an
error in the policy table does not change them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np

from varsim.analysis.arithmetic import FlatOperand, known_operand_of
from varsim.analysis.synchronization_promise import SynchronizationPromise
from varsim.errors import ConfigError
from varsim.extension_dtypes import kind_of, named
from varsim.registry import BuiltIn, Registry
from varsim.tracing.history import Event, VariableRow

AGGREGATIONS: Final = ("NONE", "SUM", "MEAN", "ONLY_FIRST_REPLICA")


POLICIES: Final[Registry[Any]] = Registry(
    "synchronization",
    {
        "ON_WRITE": BuiltIn(
            "varsim.analysis.policies.on_write:PROMISE", "one value at every write"
        ),
        "AUTO": BuiltIn(
            "varsim.analysis.policies.adaptive:PROMISE",
            "the values of ON_WRITE, but exchanged only when they are read",
        ),
        "ON_READ": BuiltIn("varsim.analysis.policies.on_read:PROMISE", "combined by a read"),
        "NONE": BuiltIn("varsim.analysis.policies.local_only:PROMISE", "never combined"),
        "central": BuiltIn("varsim.analysis.policies.central:PROMISE", "one copy"),
        "bounded_staleness": BuiltIn(
            "varsim.analysis.policies.bounded_staleness:promise",
            "one copy, to which replicas add at most s writes apart",
        ),
        "compressed": BuiltIn(
            "varsim.analysis.policies.compressed:promise", "approximations with error feedback"
        ),
        "local_sgd": BuiltIn(
            "varsim.analysis.policies.local_sgd:promise", "the mean after every k-th write"
        ),
    },
    group="varsim.promises",
)
"""For each keyword: a promise, or a function from the parameters (texts) to a promise."""


@dataclass(frozen=True, slots=True)
class Promise:
    """The promise of one variable, from its row in the history."""

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[np.generic]
    aggregation: str
    mirrored: bool
    one_copy: bool  # the components are caches of one copy; the aggregation is not for rows
    gathered: bool
    merges: bool  # all replicas must write the variable together, and every write is a merge
    deferred: bool  # all replicas must write the variable together, and exchange writes later
    apart: bool  # each replica writes its own component, without a collective
    local_reads: bool  # a replica may read a component that lacks other replicas' writes
    every: int  # number of local writes after which a replica takes part in a collective
    bound: int | None  # by how many writes replicas may be apart that add to one copy
    manual: bool  # programs can synchronise components by hand, as by v.sync and v.push
    exchanged: bool  # the policy computes merges, which are no reductions of contributions
    copy: bool  # a read by the program gives the authoritative copy
    keyword: str  # the first part of the synchronization's name
    parameters: tuple[str, ...]  # the other parts
    compressor: str  # what compresses the contributions of replicas; "" if nothing does
    is_known: bool  # whether an installed package has the promise; if not, nothing is promised

    @property
    def since_exchange(self) -> bool:
        """Return whether compressed contributions are changes since the last exchange."""
        return bool(self.compressor) and self.every > 0

    @property
    def has_parts(self) -> bool:
        """Return whether each component is only a part of the value: of its sum or mean."""
        return self.gathered and self.aggregation in {"SUM", "MEAN"}

    def operand_of(self, event: Event) -> FlatOperand | None:
        """Return what an event recorded of a write of the variable; see `known_operand_of`."""
        return known_operand_of(event, self.dtype, self.shape)

    @property
    def stays_local(self) -> bool:
        """Return whether components leave their replicas only at the program's request."""
        return self.is_known and not (
            self.mirrored or self.gathered or self.copy or self.exchanged or self.bound is not None
        )


def synchronization_promise_of(row: VariableRow) -> SynchronizationPromise | None:
    """Return the promise of a variable's synchronization; None if no installed package has it.

    Raises:
        ConfigError: The name of the synchronization is invalid.
    """
    name = str(row.synchronization)
    keyword = name.partition(":")[0]
    if keyword not in POLICIES.built_in and not _CUSTOM.fullmatch(keyword):
        raise ConfigError(_no_settings(row))
    try:
        return _promised_by(name)
    except (LookupError, ConfigError):
        return None
    except (TypeError, ValueError):
        raise ConfigError(_no_settings(row)) from None


def problem_with_promise(row: VariableRow) -> str:
    """Return why the promise of an installed package cannot be used; "" if there is none."""
    try:
        _promised_by(str(row.synchronization))
    except ConfigError as error:
        return str(error)
    except LookupError:
        return ""
    return ""


_CUSTOM: Final = re.compile("[a-z][a-z0-9_]*")


@cache
def _promised_by(name: str) -> SynchronizationPromise:
    keyword, *parameters = name.split(":")
    if keyword not in POLICIES.names():
        raise LookupError(keyword)
    loaded = POLICIES.load(keyword)
    found: SynchronizationPromise = (
        loaded
        if isinstance(loaded, SynchronizationPromise) and not parameters
        else loaded(parameters)
    )
    return found


def _no_settings(row: VariableRow) -> str:
    return f"variable {row.variable} has unknown settings: {row.synchronization}, {row.aggregation}"


_UNKNOWN: Final = SynchronizationPromise()
"""What is promised if no installed package has the promise of a policy: nothing."""


def promise_of(row: VariableRow) -> Promise:
    """Return the promise of a variable.

    Raises:
        ConfigError: The row is invalid.
    """
    promised = synchronization_promise_of(row)
    kind = promised or _UNKNOWN
    if row.aggregation not in AGGREGATIONS:
        raise ConfigError(_no_settings(row))
    try:
        shape = tuple(json.loads(row.shape))
        dtype = named(row.dtype)
    except (TypeError, ValueError):
        raise ConfigError(f"variable {row.variable} has no readable shape or dtype") from None
    if not all(one is None or (type(one) is int and one >= 0) for one in shape):
        raise ConfigError(f"variable {row.variable} has no readable shape")
    if kind_of(dtype) not in "biufc" or type(row.name) is not str:
        raise ConfigError(f"variable {row.variable} has no readable dtype or name")
    keyword, *parameters = str(row.synchronization).split(":")
    together = kind.one_copy or (kind.mirrored and row.aggregation != "NONE")
    return Promise(
        name=row.name,
        shape=shape,
        dtype=dtype,
        aggregation=row.aggregation,
        mirrored=kind.mirrored,
        one_copy=kind.one_copy,
        gathered=kind.gathered,
        merges=together and not kind.late,
        deferred=together and kind.late,
        apart=not kind.every and (kind.gathered or kind.copy or (kind.mirrored and not together)),
        local_reads=kind.local_reads,
        every=kind.every,
        bound=kind.bound,
        manual=kind.manual,
        exchanged=kind.exchanged,
        copy=kind.copy,
        keyword=keyword,
        parameters=tuple(parameters),
        compressor=kind.compressor,
        is_known=promised is not None,
    )
