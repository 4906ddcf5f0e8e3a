"""Provide the results of scheduled functions."""

from __future__ import annotations

from typing import Any

from varsim.errors import ClosureCancelled, ContextError, ReplicaError
from varsim.shells.closures import Outcome
from varsim.shells.parameter_cluster import ParameterCluster


class ClosureError(ReplicaError):
    """A scheduled function raised an exception on a worker; the text has its traceback.

    Like a `ReplicaError`, it is the cause of the exception that the program sees.
    """

    def __str__(self) -> str:
        return f"raised by worker {self.replica_id}:\n{self.traceback}"


class RemoteValue:
    """The result of a scheduled function, which a worker computes or has computed.

    Source: `tf.distribute.coordinator.RemoteValue`.
    """

    def __init__(self, cluster: ParameterCluster, outcome: Outcome) -> None:
        self._cluster = cluster
        self._outcome = outcome

    def fetch(self) -> Any:
        """Wait until the function has returned, and return its result.

        Raises:
            Exception: The function raised this exception.
            ClosureCancelled: The function was not run, because another one has failed before.
            ServerLost: A parameter server has ended.
        """
        if not self._outcome.is_known:
            self._cluster.await_end(self._outcome)
        return result_of(self._cluster, self._outcome)

    def get(self) -> Any:
        """Do what `fetch` does. In TensorFlow, the result is a tensor."""
        return self.fetch()

    def __reduce__(self) -> Any:
        """Refuse to send this object to another process.

        Raises:
            ContextError: Always.
        """
        raise ContextError(
            "a RemoteValue stays in the program's process: give its value, value.fetch()"
        )

    def __repr__(self) -> str:
        return f"<RemoteValue of {self._outcome.what}>"


def result_of(cluster: ParameterCluster, outcome: Outcome) -> Any:
    """Return the result of a closure that has ended, or raise its exception."""
    codec = cluster.link.codec
    if outcome.cancelled is not None:
        cluster.require_servers()
        became = "did not end" if outcome.was_sent else "was not run"
        raise ClosureCancelled(f"{outcome.what} {became}: {outcome.cancelled}")
    if outcome.raised is None:
        assert outcome.result is not None, "the closure has ended"
        return codec.unpack(outcome.result)
    worker, raised = outcome.raised
    cause = ClosureError(worker, raised.traceback)
    if raised.exception.tree is None:
        raise cause
    try:
        error = codec.unpack_exception(raised.exception)
    except Exception as reason:  # the text of a user's exception can raise any exception
        note = f"\n(the exception itself cannot be raised here: {reason})"
        raise ClosureError(worker, raised.traceback + note) from None
    raise error from cause
