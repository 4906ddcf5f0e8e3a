"""What to do about the failure of a run, by the class and the text of its error."""

from __future__ import annotations

from typing import Final, NamedTuple


class FailureRemedy(NamedTuple):
    """What to do about a failed run."""

    text: str
    paste: tuple[str, ...] = ()  # lines of a program that do what the text says


def remedy_of(kind: str, text: str) -> FailureRemedy:
    """Return what to do about an error.

    Args:
        kind: The error's class, with or without its module.
        text: The error's text.
    """
    error = kind.rpartition(".")[2]
    found = next(
        (
            one
            for name, said, one in _REMEDIES
            if name == error and all(part in text for part in said)
        ),
        _NONE,
    )
    return found._replace(text=f"{found.text} {DETAILS}".strip())


DETAILS: Final = "`failure` in summary.json has the details."
"""Where a command prints findings, this names the file with the whole text and the traceback."""

_NONE: Final = FailureRemedy("The text of the error says what is wrong, and where.")
"""The remedy of other errors: their text says what to do, or they are the program's own."""

_SAME_PATH: Final = FailureRemedy(
    "Let all replicas do the same operations in the same order. If a condition depends on the data "
    "of one replica, such as whether a gradient is finite, combine it first, so that all replicas "
    "decide alike. If a file or a setting is missing on one replica, let the program read it, and "
    "give it to strategy.run in `args`.",
    (
        "context = tf.distribute.get_replica_context()",
        'all_agree = context.all_reduce("SUM", int(condition)) == context.num_replicas_in_sync',
    ),
)
_EVERYBODY: Final = FailureRemedy(
    "Move the operation out of the code that only some replicas run. If only one replica is to "
    "report something, return the value from the function instead, and use it after strategy.run.",
    ("value = strategy.experimental_local_results(strategy.run(step))[0]  # replica 0's",),
)
_ALL_WRITE: Final = FailureRemedy(
    "Move the write out of the code that only some replicas run, so that all replicas write. If "
    "only replica 0's value is to count, create the variable with aggregation=ONLY_FIRST_REPLICA: "
    "then all replicas write, and replica 0's value is used."
)
_STUCK: Final = FailureRemedy(
    "Look at the first line: the replica waits or computes there, and the others wait for it. If "
    "it only needs more time, raise stall_fail_s or VARSIM_CALL_TIMEOUT_S."
)
_GO_ON: Final = (
    "`--on-worker-lost restart` (in a file, on_worker_lost: restart) lets a run go on with new "
    "workers, and checkpoints keep values that only one worker has (docs/faults.md)."
)
_LOST: Final = FailureRemedy(f"Look for the reason in what the worker printed last. {_GO_ON}")
_MEMORY: Final = FailureRemedy(
    "If nobody killed the worker, the system did so because memory ran out: use fewer workers on "
    f"one host, or smaller batches. {_GO_ON}"
)
_REMEDIES: Final = (
    ("MismatchError", ("will not arrive", "a write to it"), _ALL_WRITE),
    ("MismatchError", ("will not arrive",), _EVERYBODY),
    ("MismatchError", ("did different things",), _SAME_PATH),
    ("CallTimeout", (), _STUCK),
    ("WorkerLost", ("killed by SIGKILL",), _MEMORY),
    ("WorkerLost", (), _LOST),
)
"""Classes of errors, parts of their texts, and what to do. The first that fits counts."""
