"""Gossip: after every k-th write, each replica averages its component with its neighbours'.

Source: X. Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms? A Case
Study for Decentralized Parallel Stochastic Gradient Descent" (D-PSGD), NIPS 2017. In D-PSGD the
replicas are a graph, and x_i becomes the sum of w_ij · x_j with a doubly stochastic matrix W. Here
the graph is a ring, and all neighbours and the replica itself have the same weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import varsim as tf
from varsim.spec import Array, Operation, VariableAggregation, VariableSpec
from varsim.sync import reduce
from varsim.sync.policies.cells import Broadcast, Exchange, Local
from varsim.sync.policies.exchanging import ExchangeEvery, WritesSinceExchange
from varsim.sync.policies.on_read import Gather
from varsim.sync.policies.policy import Rows, on_every_write, rows
from varsim.sync.policies.state import StateRule
from varsim.texts.cells import CellText

MEAN = VariableAggregation.MEAN


@dataclass(frozen=True, slots=True)
class AverageNeighbours(ExchangeEvery):
    """A local write; after every k-th one, components become means over neighbours."""

    neighbours: int

    @property
    def text(self) -> CellText:
        """Return the texts about this cell, for `varsim explain` and for errors."""
        return CellText(
            brief="own component; after every k-th write, the mean of the neighbours' components",
            narrow="gossip every k",
            write=(
                "The write changes only this replica's component. Every k-th write of a replica is "
                "also a collective: each component becomes the mean of itself and its neighbours "
                "on the ring. One message comes from each replica, and one goes to each replica."
            ),
            waits="after the same number of writes on every replica, neighbours are averaged",
            differences=("D3",),
        )

    def exchanged(
        self, spec: VariableSpec, components: Sequence[Array], copy: Array | None
    ) -> Exchange:
        """Return the mean of each replica and its neighbours, which are added in replica order."""
        count = len(components)
        return Exchange(
            [
                reduce.aggregate([components[j] for j in around(i, self.neighbours, count)], MEAN)
                for i in range(count)
            ]
        )


def around(replica_id: int, neighbours: int, num_replicas: int) -> list[int]:
    """Return a replica and its neighbours on the ring, in replica order.

    Args:
        neighbours: The number of neighbours on each side. A small ring has fewer.
    """
    distances = range(-neighbours, neighbours + 1)
    return sorted({(replica_id + distance) % num_replicas for distance in distances})


@dataclass(frozen=True)
class Gossip(tf.CustomPolicy):
    """Average the components of neighbours on a ring after every k-th write.

    Args:
        neighbours: The number of neighbours of a replica on each side; at least 1.
        every: The number k of writes of a replica per exchange; at least 1.
    Raises:
        ConfigError: An argument is not a positive integer.
    """

    keyword: ClassVar[str] = "gossip"
    summary: ClassVar[str] = (
        "Gossip(n, k): writes stay local; at every k-th write of a replica, each component becomes "
        "the mean of its own and of its n neighbours on each side of a ring."
    )
    example: ClassVar[str] = "gossip:1:4"
    meaning_of_parameters: ClassVar[str] = (
        "NEIGHBOURS is a positive integer, the number of neighbours on each side, and EVERY is a "
        "positive integer, the number of writes per exchange"
    )
    aggregations: ClassVar[Mapping[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: MEAN,
        MEAN: MEAN,
    }
    neighbours: int
    every: int

    def __post_init__(self) -> None:
        for number in (self.neighbours, self.every):
            if type(number) is not int or number < 1:
                raise tf.ConfigError(
                    f"invalid Gossip({self.neighbours!r}, {self.every!r}): expected two positive "
                    "integers, the neighbours on each side and the writes per exchange"
                )

    @property
    def state(self) -> StateRule:
        """Return the rules for the number of writes since the last exchange."""
        return WritesSinceExchange(self.every)

    @property
    def rows(self) -> Rows:
        """Return the policy's rows of the table. A read by the program returns the mean."""
        write = AverageNeighbours(self.every, self.neighbours)
        return rows(
            replica={Operation.READ: Local(), **on_every_write(write)},
            cross_replica={
                Operation.READ: Gather(),
                **on_every_write(Broadcast(per_component=True)),
            },
        )
