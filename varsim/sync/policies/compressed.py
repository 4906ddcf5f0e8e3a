"""Compressed: the changes that replicas exchange are compressed, with error feedback.

A compressed change lacks something. The replica keeps what it lacks, the *residual*, and adds it to
its next change. So nothing is lost, but a part of a change takes effect later.

Under ON_WRITE, assign_add and assign_sub are compressed. Under LocalSGD, the exchange is: each
replica sends the change of its component since the last exchange. Some
contributions are whole values, which end the residuals: an assign under ON_WRITE, because the
variable should get this value; the first exchange under LocalSGD, because there is no earlier one;
and the first exchange after the program has written the variable. A write of the program ends the
residuals, too, because the variable should keep the written value.

Source: Seide et al., 1-Bit Stochastic Gradient Descent, 2014 (error feedback); Stich et al.,
Sparsified SGD with Memory, 2018; Basu et al., Qsparse-local-SGD, 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import ClassVar, Final, Self

import numpy as np

from varsim.errors import DtypeError, ShapeError
from varsim.spec import (
    Array,
    NamedArrays,
    Operand,
    Operation,
    Shape,
    Synchronization,
    VariableAggregation,
    VariableSpec,
)
from varsim.spec import Rows as OperandRows
from varsim.sync import reduce
from varsim.sync.actions import ReplicaAction
from varsim.sync.compression import NAMES as COMPRESSORS
from varsim.sync.compression import (
    Compressor,
    FlatForm,
    Packed,
    compressor_named,
    form_of,
    norm_of,
    packed,
    plus,
)
from varsim.sync.operand import applied
from varsim.sync.policies import local_sgd, on_write
from varsim.sync.policies.cell import Cell, Reason, Refuse
from varsim.sync.policies.cells import Aggregating, Local, aggregated, combining_rows
from varsim.sync.policies.compressed_names import inner_and_compressor, name_of_inner
from varsim.sync.policies.custom import CustomPolicy
from varsim.sync.policies.exchanging import WRITES, EveryKth, WritesSinceExchange
from varsim.sync.policies.known import Known
from varsim.sync.policies.local_sgd import LocalSGD
from varsim.sync.policies.on_write import Merge
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.replica import (
    Contributed,
    LocalComponent,
    ReplicaWrites,
    VariableT_contra,
)
from varsim.sync.policies.state import StateRule
from varsim.texts import refusals
from varsim.texts.modes import FORMS

KEEPS_RESIDUAL: Final = Reason("keeps_residual", of_read=False, shows_components=False)
"""Why scatter_mul and scatter_div are refused: they would have to change the residuals, too."""


_RESIDUAL: Final = "residual"
"""What earlier contributions have lacked; missing if they lacked nothing."""

_BEFORE: Final = "residual_before"
"""The residual before the last contribution, until the next write."""

_AT: Final = "contributed_at"
"""The version of the component at the last contribution, until the next write."""

_SINCE: Final = "since"
"""The version of the component when this state began."""

_BASE: Final = "base"
"""The value of the last exchange, to which the next change is relative. If it is missing, the next
exchange must be whole. Only used under LocalSGD."""


def _contribute(variable: LocalComponent, residual: Array | None) -> None:
    """Record a contribution, and the residual after it."""
    state = variable.policy_state
    state.setdefault(_SINCE, np.array(variable.version))
    state[_AT] = np.array(variable.version)
    if _RESIDUAL in state:
        state[_BEFORE] = state.pop(_RESIDUAL)
    if residual is not None:
        state[_RESIDUAL] = residual.reshape(variable.component().shape)


def _settle(variable: LocalComponent) -> bool:
    """Return whether a contribution was committed since the last call of this function.

    The replica does not wait for a commit.
    """
    variable.policy_state.pop(_BEFORE, None)
    return variable.policy_state.pop(_AT, None) is not None


@dataclass(frozen=True, slots=True)
class Residuals(StateRule):
    """What a replica keeps for its next change: the residual, and under LocalSGD more.

    A checkpoint has the residual under ON_WRITE, and the count of writes under LocalSGD. After a
    restore the exchange under LocalSGD is whole, so it needs no residual.
    """

    writes: StateRule | None  # the rule for the count of writes under LocalSGD

    def check(self, spec: VariableSpec, state: NamedArrays) -> None:
        """Check the arrays that `carried` can return.

        Raises:
            ValueError: There are other arrays.
        """
        if self.writes is not None:
            self.writes.check(spec, state)
            return
        for name, array in state:
            fits = name == _RESIDUAL and (array.shape, array.dtype) == (spec.shape, spec.dtype)
            if not fits or not np.isfinite(array).all():
                raise ValueError(f"{name} is not a finite residual of the variable")

    def carried(self, state: NamedArrays) -> NamedArrays:
        """Return the residual, or the count of writes."""
        kept = {_RESIDUAL} if self.writes is None else {WRITES}
        return tuple((name, array) for name, array in state if name in kept)

    def after_failure(self, state: NamedArrays, version: int) -> NamedArrays:
        """Take back the last contribution if its commit has not arrived; count from 0 again."""
        kept = dict(state)
        kept.pop(WRITES, None)
        at, before = kept.get(_AT), kept.get(_BEFORE)
        if at is not None and at == version:
            for name in (_AT, _BEFORE, _RESIDUAL):
                kept.pop(name, None)
            if before is not None:
                kept[_RESIDUAL] = before
        return tuple(kept.items())

    def after_overwrite(self, state: NamedArrays, version: int) -> NamedArrays:
        """Drop the residual: the variable should keep the value that the program has written."""
        since = dict(state).get(_SINCE)
        if since is not None and version <= since:
            return state
        return tuple((name, array) for name, array in state if name == WRITES)

    def after_loss(self, states: Sequence[NamedArrays | None]) -> Sequence[NamedArrays]:
        """Return the states of all replicas: a lost replica has no residual."""
        rule = StateRule() if self.writes is None else self.writes
        return rule.after_loss(states)


def _contributed(change: Array, packed: Packed, location: str) -> Contributed:
    """Return the contribution of a flat change."""
    return Contributed(packed.parts, norm_of(change), norm_of(packed.residual), location)


def _whole(value: Array, location: str) -> Contributed:
    """Return the contribution of a whole value."""
    return Contributed((np.array(value.reshape(-1)),), 0.0, 0.0, location)


def _approximated(by: Compressor, value: Array) -> Array:
    """Return a value as other replicas get it, if there is no residual before it."""
    flat = value.reshape(-1)
    return by.unpack(by.pack(flat), form_of(flat)).reshape(value.shape)


# ---------------------------------------------------------------- ON_WRITE


@dataclass(frozen=True, slots=True)
class MergeWhole(Aggregating):
    """A collective whose values are not compressed. It ends the residuals of all replicas."""

    by: Compressor
    writes_itself: ClassVar[bool] = True

    @property
    def compressor(self) -> Compressor | None:
        """Return the compressor of the other writes."""
        return self.by

    def write(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        operation: Operation,
        operand: Operand,
        location: str,
    ) -> Sequence[ReplicaAction]:
        """Contribute the value; wait first for the commit of an earlier contribution."""
        if replica.owes_merge(variable):
            return replica.wait_and_repeat(variable)
        assert isinstance(operand, np.ndarray), "a sparse write has another cell"
        _settle(variable)
        sent = self._contribution(variable, operation, operand, location)
        replica.contribute_compressed(variable, operation, sent)
        return ()

    def _contribution(
        self, variable: LocalComponent, operation: Operation, value: Array, location: str
    ) -> Contributed:
        """Return what the replica sends, and keep the residual."""
        _contribute(variable, None)
        return _whole(value, location)

    def cost_of_write(self, known: Known) -> int:
        """Count a contribution from each replica, and a commit to each replica."""
        return 2 * known.num_replicas


@dataclass(frozen=True, slots=True)
class MergeCompressed(MergeWhole):
    """A collective: the compressed changes of the replicas are aggregated."""

    def _contribution(
        self, variable: LocalComponent, operation: Operation, value: Array, location: str
    ) -> Contributed:
        """Return the compressed sum of the change and the residual; keep the new residual.

        The residual is kept as it must be added. An assign_sub subtracts, so the residual has the
        opposite sign for it.
        """
        before, subtracts = variable.policy_state.get(_RESIDUAL), operation is Operation.ASSIGN_SUB
        if before is not None:
            before = np.negative(before).reshape(-1) if subtracts else before.reshape(-1)
        change = value.reshape(-1)
        made = packed(self.by, change, before)
        after = np.negative(made.residual) if subtracts else made.residual
        _contribute(variable, after)
        return _contributed(change, made, location)

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the first write, before which there are no residuals."""
        arrays = [value for value in values if isinstance(value, np.ndarray)]
        sent = [_approximated(self.by, value) for value in arrays]
        return aggregated(spec, operation, components, sent)

    def for_rows(self, operation: Operation, aggregation: VariableAggregation) -> Cell:
        """Return the cell of a sparse write under ON_WRITE; refuse to multiply and to divide."""
        if operation in (Operation.SCATTER_MUL, Operation.SCATTER_DIV):
            return Refuse(KEEPS_RESIDUAL)
        return combining_rows(Merge(), operation, aggregation)


# ---------------------------------------------------------------- LocalSGD


@dataclass(frozen=True, slots=True)
class AverageCompressed(EveryKth):
    """A local write; at the k-th write, all components become an approximation of their mean.

    The approximation is the value of the last exchange plus the mean of the compressed changes
    since then.
    """

    by: Compressor
    since_exchange: ClassVar[bool] = True

    @property
    def compressor(self) -> Compressor | None:
        """Return the compressor of the exchanges."""
        return self.by

    def settle(self, variable: LocalComponent) -> None:
        """Keep the value of the last exchange, if there was one since the last write.

        There is no change since an infinity or NaN, so after such a value the next exchange is
        whole. The value is the same on all replicas, so all of them send whole components.
        """
        if _settle(variable):
            agreed = variable.show()
            if np.isfinite(agreed).all():
                variable.policy_state[_BASE] = agreed
            else:
                variable.policy_state.pop(_BASE, None)

    def contribute(
        self,
        replica: ReplicaWrites[VariableT_contra],
        variable: VariableT_contra,
        location: str,
    ) -> None:
        """Contribute the compressed change since the last exchange; or else the whole component."""
        value, state = variable.component().reshape(-1), variable.policy_state
        base, residual = state.get(_BASE), state.get(_RESIDUAL)
        if base is None:
            _contribute(variable, None)
            whole = _whole(value, location)
            replica.contribute_compressed(variable, Operation.ASSIGN, whole)
            return
        change = plus(value, np.negative(base).reshape(-1))
        made = packed(self.by, change, None if residual is None else residual.reshape(-1))
        _contribute(variable, made.residual)
        sent = _contributed(change, made, location)
        replica.contribute_compressed(variable, Operation.ASSIGN, sent)

    def written(
        self,
        spec: VariableSpec,
        operation: Operation,
        components: Sequence[Array],
        values: Sequence[Operand],
    ) -> list[Array]:
        """Return the components after the first write since an exchange without residuals."""
        both = zip(components, values, strict=True)
        after = [applied(operation, component, value) for component, value in both]
        if self.every > 1:
            return after
        pairs = zip(after, components, strict=True)
        changes = [_approximated(self.by, np.asarray(own - old)) for own, old in pairs]
        mean = reduce.aggregate(changes, spec.aggregation)
        return [np.asarray(old + mean) for old in components]

    def bytes_of_rows(
        self, spec: VariableSpec, rows: Sequence[OperandRows], whole_bytes: int
    ) -> int:
        """Return the size of an exchange of changes if every write is exchanged; else 0."""
        if self.every > 1:
            return 0
        sent = self.by.size_bytes(FlatForm(whole_bytes // spec.dtype.itemsize, spec.dtype))
        return len(rows) * (sent + whole_bytes)


# ---------------------------------------------------------------- the policy


_COMPRESSIBLE: Final = (np.dtype(np.float32), np.dtype(np.float64))
"""The dtypes that can be compressed."""


@dataclass(frozen=True)
class Compressed(CustomPolicy):
    """Compress what replicas exchange under another policy, with error feedback.

    Args:
        inner: ON_WRITE, or AUTO, which means ON_WRITE here; or `LocalSGD(k)`. Also as a text.
        by: The compressor: "fp16", "top_k:RATIO" or "one_bit".
    Raises:
        ConfigError: The policy cannot be compressed, or there is no such compressor.
    """

    keyword: ClassVar[str] = "compressed"
    summary: ClassVar[str] = (
        "Compressed(inner, by): replicas exchange compressed changes. What a compressed change "
        "lacks is added to the replica's next change."
    )
    example: ClassVar[str] = "compressed:on_write:top_k:0.01"
    form_of_name: ClassVar[str] = FORMS["compressed"]
    meaning_of_parameters: ClassVar[str] = (
        f"INNER is on_write or {FORMS[LocalSGD.keyword]}, and BY is {COMPRESSORS}"
    )
    inner: Synchronization | LocalSGD | str
    by: str = "fp16"

    def __post_init__(self) -> None:
        object.__setattr__(self, "inner", name_of_inner(self.inner))
        object.__setattr__(self, "by", compressor_named(self.by).name)

    @classmethod
    def parse(cls, parameters: list[str]) -> Self:
        """Return the policy for INNER:BY, where INNER is on_write or local_sgd:K.

        Raises:
            ConfigError: A parameter is missing or invalid.
        """
        return cls(*inner_and_compressor(parameters))

    @property
    def _every(self) -> int:
        """Return the k of LocalSGD; 0 for ON_WRITE."""
        _, _, every = str(self.inner).partition(":")
        return int(every or 0)

    @property
    def is_mirrored(self) -> bool:  # type: ignore[override]  # depends on `inner`
        """Return whether all components should hold the same value."""
        return not self._every

    @property
    def aggregations(self) -> Mapping[VariableAggregation, VariableAggregation]:  # type: ignore[override]
        """Return the aggregations of LocalSGD; for ON_WRITE, SUM and MEAN."""
        if self._every:
            return LocalSGD.aggregations
        return {one: one for one in (VariableAggregation.SUM, VariableAggregation.MEAN)}

    @property
    def state(self) -> StateRule:
        """Return the rules for residuals."""
        return Residuals(WritesSinceExchange(self._every) if self._every else None)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table."""
        return _rows_of(self._every, self.by)

    def check(self, name: str, shape: Shape, dtype: np.dtype[np.generic]) -> None:
        """Refuse variables whose values cannot be compressed.

        Raises:
            DtypeError: The dtype is neither float32 nor float64.
            ShapeError: The shape has an unknown dimension, so a residual could not be added.
        """
        if dtype not in _COMPRESSIBLE:
            raise DtypeError(name, refusals.NotCompressible(dtype), refusals.USE_LARGE_FLOATS)
        if None in shape:
            raise ShapeError(name, refusals.CompressedOpenShape(shape), refusals.KNOWN_SHAPE)


@cache
def _rows_of(every: int, by_name: str) -> Rows:
    by = compressor_named(by_name)
    if every:
        average = on_every_write(AverageCompressed(every, by))
        return rows(
            replica={Operation.READ: Local(), **average}, cross_replica=local_sgd.CROSS_REPLICA
        )
    change = MergeCompressed(by)
    return rows(
        replica={
            Operation.READ: Local(),
            Operation.ASSIGN: MergeWhole(by),
            Operation.ASSIGN_ADD: change,
            Operation.ASSIGN_SUB: change,
        },
        cross_replica=on_write.CROSS_REPLICA,
    )
