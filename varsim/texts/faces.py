"""Lines of a program in the face of varsim that it uses: tf.distribute, Horovod or torch."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Final

CONTEXT: Final = "context = tf.distribute.get_replica_context()"


class Face(Enum):
    """The functions by which a program uses varsim."""

    CONTEXT = "tf.distribute"
    HOROVOD = "hvd"
    TORCH = "dist"


def face_of(uses: Iterable[str]) -> Face:
    """Return the face of a program.

    Args:
        uses: How its processes asked for the number of replicas: "hvd.size() at train.py:3".
    """
    faces = [face for face in Face for one in uses if one.startswith(f"{face.value}.")]
    return faces[0] if faces else Face.CONTEXT


_HOROVOD_OPS: Final = {
    "SUM": "Sum",
    "MEAN": "Average",
    "MIN": "Min",
    "MAX": "Max",
    "PROD": "Product",
}
_TORCH_OPS: Final = {"SUM": "SUM", "MEAN": "AVG", "MIN": "MIN", "MAX": "MAX", "PROD": "PRODUCT"}


def reducing(face: Face, op: str, value: str, name: str = "value") -> tuple[str, ...]:
    """Return lines that assign the reduction of a value over all replicas to a name.

    Args:
        op: "SUM", "MEAN", "MIN", "MAX" or "PROD".
        value: An expression of an array.
    """
    match face:
        case Face.CONTEXT:
            return CONTEXT, f'{name} = context.all_reduce("{op}", {value})'
        case Face.HOROVOD:
            return (f"{name} = hvd.allreduce({value}, op=hvd.{_HOROVOD_OPS[op]})",)
        case Face.TORCH:
            reduction = f"dist.ReduceOp.{_TORCH_OPS[op]}"
            return f"{name} = {value}", f"dist.all_reduce({name}, op={reduction})  # in place"


def reduced_lines(
    face: Face,
    op: str,
    dtype: str,
    *,
    before: str = "{}",
    after: str = "{}",
    weighted: bool = False,
) -> tuple[str, ...]:
    """Return lines that replace a replica's value by the reduction over all replicas.

    Args:
        op: "SUM", "MEAN", "MIN", "MAX" or "PROD".
        dtype: The dtype of the result, as NumPy's means have float64.
        before: An expression of what is reduced, with {} for the value: "np.log({})".
        after: An expression of the result, with {} for the reduction: "np.exp({})".
        weighted: Whether a mean is weighted with the number of each replica's examples. Only
            varsim's replica context has such a mean; other faces reduce two sums.
    """
    value = before.format(f'np.asarray(value, "{dtype}")')
    if face is Face.CONTEXT:
        weight = ", weight=examples" if weighted else ""
        reduction = f'context.all_reduce("{op}", {value}{weight})'
        return (f"value = {after.format(reduction)}",)
    if weighted:
        return (
            *reducing(face, "SUM", f"np.asarray({value} * examples)", "total"),
            *reducing(face, "SUM", "np.asarray(float(examples))", "count"),
            f'value = np.asarray({after.format("(total / count)")}, "{dtype}")',
        )
    value = value if before == "{}" else f"np.asarray({value})"  # NumPy's functions return scalars
    lines = reducing(face, op, value)
    return lines if after == "{}" else (*lines, f"value = {after.format('value')}")


def reducing_all(face: Face, op: str) -> tuple[str, ...]:
    """Return lines that reduce each value of the dict `values` over all replicas, paired by key.

    Args:
        op: "SUM", "MEAN", "MIN", "MAX" or "PROD".
    """
    match face:
        case Face.CONTEXT:
            return CONTEXT, f'values = context.all_reduce("{op}", values)  # values: a dict'
        case Face.HOROVOD:
            reduced = f"hvd.grouped_allreduce([values[k] for k in keys], op=hvd.{_HOROVOD_OPS[op]})"
            return "keys = sorted(values)  # values: a dict", f"values = dict(zip(keys, {reduced}))"
        case Face.TORCH:
            reduction = f"dist.ReduceOp.{_TORCH_OPS[op]}"
            return (
                "for key in sorted(values):  # values: a dict",
                f"    dist.all_reduce(values[key], op={reduction})  # in place",
            )


def pairing_in_words(face: Face) -> str:
    """Return how several values of a replica are paired with those of other replicas."""
    match face:
        case Face.CONTEXT:
            return (
                "Give all values to one all_reduce, as a dict: its keys pair the values. Or let "
                "every replica call the collectives in one order, such as that of the sorted keys. "
                "With name=, another order is an error."
            )
        case Face.HOROVOD:
            return (
                "Give all values to one grouped_allreduce, in one order on every replica, such as "
                "that of the sorted keys. With name=, another order is an error."
            )
        case Face.TORCH:
            return (
                "Let every replica call the collectives in one order, such as that of the sorted "
                "keys."
            )


def reduction_in_words(face: Face, op: str) -> str:
    """Return the call that reduces `value` over all replicas, for a sentence."""
    match face:
        case Face.CONTEXT:
            return f"context.all_reduce('{op}', value)"
        case Face.HOROVOD | Face.TORCH:
            (*_, line) = reducing(face, op, "value")
            return line.removeprefix("value = ").removesuffix("  # in place")


def weighted_mean_in_words(face: Face) -> str:
    """Return what to call for a mean that is weighted with the number of examples, as a clause."""
    if face is Face.CONTEXT:
        return (
            "context.all_reduce('MEAN', value, weight=examples) with the replica's number of "
            "examples (varsim only)"
        )
    return "reduce value * examples and the replica's number of examples by sums, and divide them"


def count_in(face: Face) -> str:
    """Return the expression of the number of replicas."""
    match face:
        case Face.CONTEXT:
            return "num_replicas_in_sync"
        case Face.HOROVOD:
            return "hvd.size()"
        case Face.TORCH:
            return "dist.get_world_size()"


def own_part(face: Face) -> tuple[str, ...]:
    """Return lines that give each replica its part of a batch, and its random numbers."""
    match face:
        case Face.CONTEXT:
            first: tuple[str, ...] = (CONTEXT, "me = context.replica_id_in_sync_group")
            count = f"context.{count_in(face)}"
        case Face.HOROVOD:
            first, count = ("me = hvd.rank()",), count_in(face)
        case Face.TORCH:
            first, count = ("me = dist.get_rank()",), count_in(face)
    return (
        *first,
        f"part = np.array_split(batch, {count})[me]",
        "rng = np.random.default_rng([seed, me])",
    )


def mean_of_rows(face: Face) -> tuple[str, ...]:
    """Return lines of a replica that compute a mean over the rows of all replicas."""
    lines = (
        *reducing(face, "SUM", "np.sum(values, axis=0)", "total"),
        *reducing(face, "SUM", "np.array(float(len(values)))", "rows"),
        "mean = total / rows",
    )
    return tuple(dict.fromkeys(lines))
