"""Distribute batches to replicas. Datasets are Python iterables instead of `tf.data`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import field
from functools import partial
from itertools import islice
from typing import Any, Final

import numpy as np

from varsim.distribute.conversion import as_numpy
from varsim.distribute.count_use import CountUse
from varsim.distribute.missing import explains_missing
from varsim.distribute.passes import Passes
from varsim.distribute.shares import Rows, rows_of_batch
from varsim.distribute.structure_walks import join_structures, leaves_of, map_structure
from varsim.distribute.values import PerReplica
from varsim.errors import DistributedValueError
from varsim.location import user_location
from varsim.texts.uneven import UNEVEN, cannot_join, nothing_to_repeat, refusal_of, warning_of
from varsim.value_class import value_class

COUNT: Final = "num_replicas_in_sync"
"""The attribute of `InputContext` and `ValueContext` whose use by the program is recorded."""


@value_class
class InputContext:
    """The argument of a function that returns a dataset. One dataset serves all replicas."""

    num_input_pipelines: int = 1
    input_pipeline_id: int = 0
    num_replicas_in_sync: int = 1
    count_use: CountUse = field(default_factory=CountUse, repr=False, compare=False)

    def __getattribute__(self, name: str) -> Any:
        if name == COUNT:
            self.count_use.by_caller(f"InputContext.{COUNT}")
        return object.__getattribute__(self, name)

    def get_per_replica_batch_size(self, global_batch_size: int) -> int:
        """Return the size of one replica's batch.

        Raises:
            DistributedValueError: The replicas cannot get equal parts.
        """
        self.count_use.by_caller("InputContext.get_per_replica_batch_size")
        size, rest = divmod(global_batch_size, self.num_replicas_in_sync)
        if rest:
            raise DistributedValueError(
                f"a global batch of {global_batch_size} cannot be divided into equal parts for "
                f"{self.num_replicas_in_sync} replicas: use a multiple of "
                f"{self.num_replicas_in_sync}"
            )
        return size


@explains_missing("tf.distribute.DistributedIterator")
class DistributedIterator:
    """One pass over a distributed dataset."""

    def __init__(self, batches: Iterator[Any]) -> None:
        self.batches = batches

    def __iter__(self) -> DistributedIterator:
        return self

    def __next__(self) -> Any:
        return next(self.batches)

    def get_next(self) -> Any:
        """Return the next batch; raise StopIteration if there is none."""
        return next(self.batches)


@explains_missing("tf.distribute.DistributedDataset")
class DistributedDataset:
    """A dataset whose batches have a part for each replica. Each `iter` starts a new pass.

    Args:
        dataset: Any iterable of batches.
        distribute: Converts the batches of one pass to batches with a part for each replica.
        warn_once: A function that shows a warning. It is called with a text, a location and a key
            for each batch that leaves a replica without rows, and shows only the first warning for
            each key.
        uneven: What happens at such a batch: one of `UNEVEN`.
        passes: The passes of the strategy.
    """

    def __init__(
        self,
        dataset: Iterable[Any],
        distribute: Callable[[Iterator[Any]], Iterator[Any]],
        warn_once: Callable[[str, str, str], None],
        uneven: str = UNEVEN[0],
        passes: Passes | None = None,
    ) -> None:
        self._dataset = dataset
        self._distribute = distribute
        self._warn_once = warn_once
        self._uneven = uneven
        self._passes = Passes() if passes is None else passes
        self._is_used_up = False

    def __iter__(self) -> DistributedIterator:
        """Start a pass.

        Raises:
            DistributedValueError: The dataset is an iterator that has ended.
        """
        batches = iter(self._dataset)
        if batches is self._dataset and self._is_used_up:
            raise DistributedValueError(
                "the dataset is an iterator that has ended, so it cannot be read again: give a "
                "list, or an object whose __iter__ starts again"
            )
        number = self._passes.start()
        return DistributedIterator(
            self._passes.follow(number, batches, self._pass(batches, number))
        )

    def _pass(self, batches: Iterator[Any], pass_number: int) -> Iterator[Any]:
        before: Any = None
        limit = self._passes.limits.get(pass_number)
        each = islice(self._distribute(batches), limit)
        for number, parts in enumerate(each, start=1):
            rows = rows_of_batch(parts)
            given = self._completed(parts, before, number, rows) if 0 in rows else parts
            if given is None:
                self._passes.ends[pass_number] = number - 1
                break
            yield given
            before = given
        self._is_used_up = True

    def _completed(self, parts: Any, before: Any, number: int, rows: Rows) -> Any:
        """Return the parts of a batch in which some replicas have no rows; None to end the pass.

        Args:
            before: The parts of the previous batch; None if there is no such batch.
            number: The number of the batch, counted from 1.
        """
        what, location = f"batch {number}", user_location()
        if self._uneven == "fail":
            raise DistributedValueError(refusal_of(what, rows))
        if self._uneven == "pad" and before is None:
            raise DistributedValueError(nothing_to_repeat(what, rows))
        present = rows.index(0)
        if self._uneven == "join" and (not present or any(rows[present:])):
            raise DistributedValueError(cannot_join(what, rows))
        text = warning_of(what, rows, self._uneven)
        self._warn_once(text, location, f"no rows: {location}")
        if self._uneven == "drop":
            return None
        if self._uneven == "empty":
            return parts
        if self._uneven == "join":
            return map_structure(partial(_of_present, present, len(rows) - present), parts)
        own = [
            map_structure(partial(_component, i), one) for i, one in _chosen(rows, parts, before)
        ]
        padded = per_replica(own)
        rows_of_batch(padded)  # marks the values as parts of a batch
        return padded


def _chosen(rows: Rows, parts: Any, before: Any) -> Iterator[tuple[int, Any]]:
    """Yield for each replica the batch that contains its part: `parts` or `before`."""
    return ((i, parts if count else before) for i, count in enumerate(rows))


def _of_present(present: int, joined: int, leaf: Any) -> Any:
    """Return a part of a batch without the components of the last replicas, which have joined."""
    if not isinstance(leaf, PerReplica):
        return leaf
    own = PerReplica(leaf.values[:present], joined)
    own.is_of_batch = True
    return own


def _component(replica_id: int, leaf: Any) -> Any:
    return leaf.values[replica_id] if isinstance(leaf, PerReplica) else leaf


def split_each(count: Callable[[], int], batches: Iterator[Any]) -> Iterator[Any]:
    """Split every batch over the replicas, along axis 0.

    Args:
        count: Returns the number of replicas, which is smaller after the loss of a worker.
    Raises:
        DistributedValueError: A batch has no first dimension, or the first dimensions of its arrays
            differ.
    """
    return (_split(batch, count()) for batch in batches)


def one_for_each(count: Callable[[], int], batches: Iterator[Any]) -> Iterator[Any]:
    """Give each replica its own batch. A replica for which no batch is left gets no rows.

    Args:
        count: See `split_each`.
    Raises:
        DistributedValueError: A replica should get 0 rows, but the batches have no first dimension.
    """
    while parts := list(islice(batches, number := count())):
        missing = number - len(parts)
        if missing:
            _check_rows(parts[-1], "so that replicas without a batch can get 0 rows")
            parts += [map_structure(partial(_rows, 0, 0), parts[-1])] * missing
        yield per_replica(parts)


def per_replica(values: Sequence[Any]) -> Any:
    """Regroup as `regroup` does, but convert every leaf, even equal values, to a PerReplica."""
    return join_structures(values, PerReplica)


def _split(batch: Any, count: int) -> Any:
    size = _check_rows(batch, "along which the batch is split")
    share = -(-size // count)
    return per_replica(
        [map_structure(partial(_rows, i * share, share), batch) for i in range(count)]
    )


def _check_rows(batch: Any, why: str) -> int:
    """Return the common first dimension of a batch's arrays."""
    arrays = [np.asarray(as_numpy(leaf, "(batch)")) for leaf in leaves_of(batch)]
    sizes = {array.shape[0] if array.ndim else -1 for array in arrays}
    if len(sizes) != 1 or -1 in sizes:
        raise DistributedValueError(
            f"the arrays of a batch must have the same first dimension, {why}; this batch has "
            f"arrays of shapes {[list(array.shape) for array in arrays]}"
        )
    return sizes.pop()


def _rows(first: int, count: int, leaf: Any) -> Any:
    return np.asarray(as_numpy(leaf, "(batch)"))[first : first + count]
