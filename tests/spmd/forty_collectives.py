"""A script of 40 collectives, for real torch.distributed and for varsim.torch_distributed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Array = Any

SIZE = 4
"""The number of ranks."""


class Script:
    """The collectives of one rank."""

    def __init__(self, dist: Any, new: Callable[..., Array], shown: Callable[[Array], Any]) -> None:
        """Prepare the script.

        Args:
            dist: torch.distributed, or varsim's module.
            new: Returns an array, given its values and the name of its dtype.
            shown: Returns an array's values as lists.
        """
        self._dist = dist
        self._new = new
        self._shown = shown
        self._rank = dist.get_rank()
        self.values: dict[str, Any] = {}
        """The values of this rank, by the name of the collective."""

    def _zeros(self, count: int, shape: Any, dtype: str = "float32") -> list[Array]:
        row = [0] * shape[-1]
        return [self._new([row] * shape[0] if len(shape) > 1 else row, dtype) for _ in range(count)]

    def _note(self, name: str, *arrays: Array) -> None:
        assert name not in self.values, name
        self.values[name] = [self._shown(one) for one in arrays]

    def reductions(self) -> None:
        dist, new, rank = self._dist, self._new, self._rank
        op = dist.ReduceOp
        floats = [0.5 + rank, -2.0 * rank, 3.25, 1.5 * (rank % 2)]
        for number, (reduction, dtype) in enumerate(
            [
                ("SUM", "float32"),
                ("SUM", "int64"),
                ("SUM", "float64"),
                ("MIN", "float32"),
                ("MAX", "float32"),
                ("MIN", "int32"),
                ("MAX", "int64"),
                ("PRODUCT", "float32"),
                ("PRODUCT", "int32"),
            ]
        ):
            given = floats if dtype.startswith("float") else [rank + 1, -rank, 7, number]
            x = new(given, dtype)
            dist.all_reduce(x, getattr(op, reduction))
            self._note(f"all_reduce {reduction} {dtype}", x)

        x = new([[1.0 * rank, 2.0], [3.0, 4.0 + rank]], "float32")
        work = dist.all_reduce(x, async_op=True)
        work.wait()
        self._note("all_reduce of a matrix, async", x)
        x = new(1.5 + rank, "float32")
        dist.all_reduce(x)
        self._note("all_reduce of a scalar", x)
        x = new([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0 * rank]], "float32")
        dist.all_reduce(x[1])
        self._note("all_reduce of a row", x)

        for dst, reduction in ((1, op.SUM), (3, op.MAX)):
            x = new([rank + 0.5, 2.0], "float32")
            dist.reduce(x, dst, reduction)
            self._note(f"reduce to {dst}", *([x] if rank == dst else []))

    def broadcasts_and_gathers(self) -> None:
        dist, new, rank = self._dist, self._new, self._rank
        for src, dtype in ((0, "float32"), (2, "int64"), (3, "bool")):
            x = new([rank, 1, rank % 2], dtype)
            dist.broadcast(x, src)
            self._note(f"broadcast from {src}", x)

        for dtype in ("float32", "int64", "bool"):
            xs = self._zeros(SIZE, (2,), dtype)
            dist.all_gather(xs, new([rank, 1], dtype))
            self._note(f"all_gather {dtype}", *xs)
        xs = self._zeros(SIZE, (1, 2))
        dist.all_gather(xs, new([[rank, -rank]], "float32"))
        self._note("all_gather of a matrix", *xs)
        (x,) = self._zeros(1, (2 * SIZE,))
        dist.all_gather_into_tensor(x, new([rank, 10 * rank], "float32"))
        self._note("all_gather_into_tensor, concatenated", x)
        (x,) = self._zeros(1, (2 * SIZE, 1), "int64")
        dist.all_gather_into_tensor(x, new([[rank], [10 * rank]], "int64"))
        self._note("all_gather_into_tensor of matrices", x)

        for root in (0, 2):
            xs = self._zeros(SIZE, (2,))
            dist.gather(new([rank, rank * rank], "float32"), xs if rank == root else None, root)
            self._note(f"gather to {root}", *(xs if rank == root else []))
            (x,) = self._zeros(1, (2,), "int64")
            xs = [new([root, 10 * i], "int64") for i in range(SIZE)]
            dist.scatter(x, xs if rank == root else None, root)
            self._note(f"scatter from {root}", x)

    def exchanges(self) -> None:
        dist, new, rank = self._dist, self._new, self._rank
        op = dist.ReduceOp
        for reduction in ("SUM", "MAX"):
            (x,) = self._zeros(1, (2,))
            xs = [new([rank + i, rank * i], "float32") for i in range(SIZE)]
            dist.reduce_scatter(x, xs, getattr(op, reduction))
            self._note(f"reduce_scatter {reduction}", x)
        (x,) = self._zeros(1, (1,), "int64")
        dist.reduce_scatter_tensor(x, new([rank, 2, 3, 4 * rank], "int64"))
        self._note("reduce_scatter_tensor", x)
        (x,) = self._zeros(1, (SIZE,))
        dist.all_to_all_single(x, new([10 * rank + i for i in range(SIZE)], "float32"))
        self._note("all_to_all_single", x)
        (x,) = self._zeros(1, (SIZE + rank * SIZE,), "int64")
        sent = [1 + i for i in range(SIZE)]
        given = [100 * rank + i for i in range(sum(sent))]
        dist.all_to_all_single(x, new(given, "int64"), [1 + rank] * SIZE, sent)
        self._note("all_to_all_single with sizes", x)

    def messages_and_barriers(self) -> None:
        dist, new, rank = self._dist, self._new, self._rank
        x = new([rank, 5.0], "float32")
        if rank == 0:
            dist.send(x, 1)
        elif rank == 1:
            assert 0 == dist.recv(x, 0)
        self._note("send and recv", x)
        x, y = new([10 * rank], "int64"), new([-1], "int64")
        if rank % 2 == 0:
            dist.send(x, (rank + 1) % SIZE, tag=7)
            dist.recv(y, (rank - 1) % SIZE, tag=8)
        else:
            dist.recv(y, (rank - 1) % SIZE, tag=7)
            dist.send(x, (rank + 1) % SIZE, tag=8)
        self._note("a ring", y)
        dist.barrier()
        dist.monitored_barrier()
        self._note("barriers")

    def objects(self) -> None:
        dist, rank = self._dist, self._rank
        objects: list[Any] = [None] * SIZE
        dist.all_gather_object(objects, {"rank": rank, "text": "é" * rank})
        self.values["all_gather_object"] = objects
        found = [None] * SIZE if rank == 1 else None
        dist.gather_object([rank], found, 1)
        self.values["gather_object"] = found
        objects = [rank, {"a": rank}] if rank == 3 else [None, None]
        dist.broadcast_object_list(objects, 3)
        self.values["broadcast_object_list"] = objects
        own: list[Any] = [None]
        dist.scatter_object_list(own, [i * "x" for i in range(SIZE)] if rank == 0 else None, 0)
        self.values["scatter_object_list"] = own

    def groups(self) -> None:
        dist, new, rank = self._dist, self._new, self._rank
        pair, three = dist.new_group([0, 2]), dist.new_group([3, 1, 0])
        self.values["ranks in groups"] = [
            dist.get_rank(pair),
            dist.get_world_size(pair),
            dist.get_process_group_ranks(three),
        ]
        x = new([rank, 1.0], "float32")
        if rank in (0, 2):
            dist.all_reduce(x, group=pair)
        self._note("all_reduce in a group", x)
        x = new([rank, 1.0], "float32")
        if rank != 2:
            dist.broadcast(x, 3, group=three)
        self._note("broadcast in a group", x)
        xs = self._zeros(3, (1,))
        if rank != 2:
            dist.all_gather(xs, new([10 * rank], "float32"), group=three)
            dist.barrier(group=three)
        self._note("all_gather in a group", *xs)
        dist.barrier()


def run(dist: Any, new: Callable[..., Array], shown: Callable[[Array], Any]) -> dict[str, Any]:
    """Do the collectives, and return the values of this rank; see `Script`."""
    script = Script(dist, new, shown)
    script.reductions()
    script.broadcasts_and_gathers()
    script.exchanges()
    script.messages_and_barriers()
    script.objects()
    script.groups()
    dist.barrier()
    return script.values
