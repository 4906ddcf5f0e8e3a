"""Elastic averaging: after every k-th write, each component and a centre attract each other.

Source: S. Zhang, A. Choromanska, Y. LeCun, "Deep learning with Elastic Averaging SGD" (EASGD),
NIPS 2015, the synchronous form. With the centre c and the rate ρ, an exchange computes
x_i ← x_i − ρ (x_i − c) and c ← c + ρ Σ (x_i − c), both from the values before the exchange.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

import varsim as tf
from varsim.spec import Array, Operation, VariableAggregation, VariableSpec
from varsim.sync.policies.cells import Exchange, Local
from varsim.sync.policies.copy import ReadCopy, ToAllAndCopy
from varsim.sync.policies.exchanging import ExchangeEvery, WritesSinceExchange
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.state import StateRule
from varsim.texts.cells import CellText

MEAN = VariableAggregation.MEAN


@dataclass(frozen=True, slots=True)
class Attract(ExchangeEvery):
    """A local write; after every k-th one, the components and the centre attract each other."""

    rho: float

    @property
    def text(self) -> CellText:
        """Return the texts about this cell, for `varsim explain` and for errors."""
        return CellText(
            brief="own component; after every k-th write, a step towards the centre",
            narrow="elastic every k",
            write=(
                "The write changes only this replica's component. Every k-th write of a replica is "
                "also a collective: each component moves towards the centre copy, and the centre "
                "moves by the sum of these steps. One message comes from each replica, and one "
                "goes to each replica."
            ),
            waits="after the same number of writes on every replica, the centre is updated",
            differences=("D3",),
        )

    def exchanged(
        self, spec: VariableSpec, components: Sequence[Array], copy: Array | None
    ) -> Exchange:
        """Return the components and the centre after one exchange; steps in replica order."""
        assert copy is not None, "the policy has `keeps_copy`"
        rate = spec.dtype.type(self.rho)
        steps = [rate * (component - copy) for component in components]
        return Exchange(
            [component - step for component, step in zip(components, steps, strict=True)],
            sum(steps, start=copy),
        )


@dataclass(frozen=True)
class ElasticAveraging(tf.CustomPolicy):
    """Let components and a centre attract each other after every k-th write.

    Args:
        rho: The rate ρ of an exchange, between 0 and 1. With N replicas the centre moves by N · ρ
            times its distance from the mean of the components, so ρ should be at most 1 / N.
        every: The number k of writes of a replica per exchange; at least 1.
    Raises:
        ConfigError: `rho` is not a number between 0 and 1, or `every` is not a positive integer.
    """

    keyword: ClassVar[str] = "elastic_averaging"
    summary: ClassVar[str] = (
        "ElasticAveraging(rho, k): writes stay local; at every k-th write of a replica, all "
        "components move towards a centre copy, and the centre moves towards them."
    )
    example: ClassVar[str] = "elastic_averaging:0.1:4"
    meaning_of_parameters: ClassVar[str] = (
        "RHO is a rate between 0 and 1, and EVERY is a positive integer, the number of writes per "
        "exchange"
    )
    keeps_copy: ClassVar[bool] = True
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: MEAN,
        MEAN: MEAN,
    }
    rho: float
    every: int

    def __post_init__(self) -> None:
        is_rate = type(self.rho) is float and 0 < self.rho < 1
        if not is_rate or type(self.every) is not int or self.every < 1:
            raise tf.ConfigError(
                f"invalid ElasticAveraging({self.rho!r}, {self.every!r}): expected a rate between "
                "0 and 1, and a positive integer, the writes per exchange"
            )

    @property
    def name(self) -> str:
        """Return the keyword and the parameters; the rate is written without an exponent."""
        return f"{self.keyword}:{np.format_float_positional(self.rho, trim='-')}:{self.every}"

    @classmethod
    def parse(cls, parameters: list[str]) -> Self:
        """Return the policy with these parameters.

        Raises:
            ValueError: They are not a number and an integer.
        """
        rho, every = parameters
        return cls(float(rho), int(every))

    @property
    def state(self) -> StateRule:
        """Return the rules for the number of writes since the last exchange."""
        return WritesSinceExchange(self.every)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table. A read by the program returns the centre."""
        write = Attract(self.every, self.rho)
        return rows(
            replica={Operation.READ: Local(), **on_every_write(write)},
            cross_replica={Operation.READ: ReadCopy(), **on_every_write(ToAllAndCopy())},
        )
