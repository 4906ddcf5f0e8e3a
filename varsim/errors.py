"""Define the exceptions that varsim raises.

VarsimError
├── VariableError                 an operation on a variable is refused; no component has changed
│   ├── SynchronizationError      (ValueError)    the synchronization is not supported here
│   ├── AggregationError          (ValueError)    the dtype or the read forbids the aggregation
│   ├── OperationError            (ValueError)    the policy table refuses this operation here
│   ├── DisagreementError         (ValueError)    workers give different values to one operation
│   ├── ShapeError                (ValueError)    a value has another shape than its variable
│   │   └── PartError             (IndexError)    … or the variable has no such part
│   ├── DtypeError                (ValueError)    an array has another dtype than its variable
│   └── ValueTypeError            (TypeError)     a variable cannot hold the value
│       └── NoValueError          (ValueError)    … because the value is None
├── DistributedValueError         (ValueError)    a per-replica value is not allowed here
│   └── PerReplicaError           (TypeError)     … because one value for all replicas is needed
├── SizeError                     (ValueError)    a value is too large or too deep to be sent
├── UnsupportedError              (NotImplementedError)  TensorFlow also refuses this operation
│   └── UnsupportedOperation      (VariableError) … on a variable
├── MissingName                   (AttributeError)       varsim does not have this TensorFlow name
├── MissingDtype                  (AttributeError)       the package of this dtype is not installed
├── ContextError                  (RuntimeError)  wrong context, or two strategies mixed
│   ├── ReplicaIndexError         (IndexError)    … or no such replica or component
│   └── CreationError                             replicas of one call create different variables
├── MismatchError                 (RuntimeError)  replicas did different operations
│   └── ValueMismatchError        (ValueError)    … or values of different shape or dtype
├── DeadlockError                 (RuntimeError)  replicas wait for each other, without an end
├── CallTimeout                   (TimeoutError)  a replica made no progress for too long
├── StillRunning                  (RuntimeError)  a replica still runs a call that has failed
├── WorkerLost                    (RuntimeError)  a worker process ended, and is needed
├── ServerLost                    (ConnectionError)  a parameter server ended, with its variables
├── ClosureCancelled              (RuntimeError)  another closure failed before this one began
├── ReplicaError                  (RuntimeError)  cause of an exception of a replica
├── InjectedFault                 (RuntimeError)  a fault of the experiment, raised on a replica
├── StartError                    (RuntimeError)  the workers did not start
├── ProtocolError                 (RuntimeError)  a message that the protocol does not allow
├── CheckpointError               (ValueError)    a checkpoint cannot be written or restored
│   └── UnmatchedCheckpoint       (AssertionError) … or does not match the program's objects
└── ConfigError                   (ValueError)    an experiment or a command line is wrong
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Self

from varsim.error_bases import MAX_FIXES as MAX_FIXES  # noqa: PLC0414  # public names
from varsim.error_bases import EndsIncarnation
from varsim.error_bases import Fix as Fix  # noqa: PLC0414
from varsim.error_bases import VarsimError as VarsimError  # noqa: PLC0414
from varsim.texts.deadlocks import Deadlock
from varsim.texts.facts import Fact
from varsim.texts.losses import Loss
from varsim.texts.missing_names import instead_of
from varsim.texts.replicas import Group
from varsim.texts.stalls import StallFailure


class VarsimWarning(UserWarning):
    """The program is legal, but it probably does not do what its author expects."""


class VariableError(VarsimError):
    """An operation on a variable was refused.

    Attributes:
        variable: The variable's name; a key of `UNNAMED` if the error is not about a variable.
        problem: A sentence about the problem; see also `fact`.
        remedy: A sentence that says how to solve the problem; shown if there are no fixes.
    """

    def __init__(self, variable: str, problem: Fact | str, remedy: str = "") -> None:
        super().__init__(variable, problem, remedy)
        self.variable = variable
        self.problem = str(problem)
        self.remedy = remedy

    def __str__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        remedy = f"\n  {self.remedy}" if self.remedy and not self.fixes else ""
        subject = UNNAMED.get(self.variable, f"variable {self.variable!r}")
        return self._with_fixes(f"{subject}{at}: {self.problem}{remedy}")


UNNAMED: Final = {
    "(value)": "the value",
    "(batch)": "the batch",
    "(dtype)": "the dtype",
    "(slices)": "tf.IndexedSlices",
}
"""The subjects of errors that are not about a variable, by the `variable` of the error."""


class SynchronizationError(VariableError, ValueError):
    """The requested synchronization is not supported here."""


class AggregationError(VariableError, ValueError):
    """A variable's aggregation is not possible for its dtype, or for the requested read."""


class OperationError(VariableError, ValueError):
    """The policy table refuses this operation in this context."""


class DisagreementError(VariableError, ValueError):
    """The workers give different values to one cross-replica operation (difference D11)."""


class ShapeError(VariableError, ValueError):
    """A value and its variable have different shapes; TensorFlow does not broadcast values."""


class PartError(ShapeError, IndexError):
    """The variable has no part with this index."""


class DtypeError(VariableError, ValueError):
    """An array and its variable have different dtypes; TensorFlow does not cast tensors."""


class ValueTypeError(VariableError, TypeError):
    """The variable's dtype cannot hold the value."""


class NoValueError(ValueTypeError, ValueError):
    """None is used where a value is needed."""


class DistributedValueError(VarsimError, ValueError):
    """A per-replica value is not allowed here, or has the wrong number of components."""


class PerReplicaError(DistributedValueError, TypeError):
    """A per-replica value is used where one value for all replicas is needed."""


class SizeError(VarsimError, ValueError):
    """A value cannot be sent to another process, because it is too large or nested too deeply.

    Nothing was sent, and no variable has changed. The text says the size and the limit.
    """


class UnsupportedError(VarsimError, NotImplementedError):
    """An operation that TensorFlow and varsim refuse for every value of this kind."""


class UnsupportedOperation(VariableError, UnsupportedError):
    """An operation that TensorFlow and varsim refuse for a distributed variable."""


class MissingName(VarsimError, AttributeError):
    """varsim does not have a name of TensorFlow; the text says what to use instead.

    Attributes:
        owner: The module or class that has the name in TensorFlow, such as "tf.distribute".
        name: The name in this module or class.

    Args:
        near: The proposal of a name of this module or class; see `varsim.nearest.misspelt`.
    """

    def __init__(self, owner: str, name: str, near: str = "") -> None:
        super().__init__(owner, name, near)
        self.owner, self.name = owner, name

    def __str__(self) -> str:
        owner, name, near = self.args
        return f"varsim has no {owner}.{name}{near}: {instead_of(owner, name)}"


class MissingDtype(VarsimError, AttributeError):
    """A dtype needs the package `ml_dtypes`, which is not installed.

    The error is an AttributeError, so that `hasattr(tf, "bfloat16")` is False without the package.

    Attributes:
        name: The name of the dtype.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"dtype {self.name} needs the package ml_dtypes, which is not installed here: "
            "pip install ml_dtypes, or install varsim-distribute[ml_dtypes]"
        )


class ContextError(VarsimError, RuntimeError):
    """An operation was used in the wrong context, or two strategies were mixed."""


class ReplicaIndexError(ContextError, IndexError):
    """There is no such replica, or the variable does not have the requested component."""


class CreationError(ContextError):
    """The replicas of one call create different variables."""


class DroppedVariable(ContextError):
    """A replica uses a variable that the program has dropped."""


class MismatchError(VarsimError, RuntimeError):
    """The replicas of one call did different things where all must do the same.

    The text says which replicas wait and where, which replicas did not arrive, and why the variable
    makes replicas wait. Earlier operations of all replicas keep their effect.

    Attributes:
        groups: All replicas of the call, grouped by what they did; the smallest group first.
    """

    groups: tuple[Group, ...] = ()

    def by_groups(self, groups: Iterable[Group]) -> Self:
        """Add what each replica did, and return the same error."""
        self.groups = tuple(groups)
        return self


class ValueMismatchError(MismatchError, ValueError):
    """The replicas of one call gave values of different shape, dtype or structure."""


class DeadlockError(VarsimError, RuntimeError):
    """Replicas of one call wait for each other, or for a replica that has ended.

    The text says which replica waits where, for which replica, and since which line a lock is held.
    The call fails on all replicas. Earlier operations of all replicas keep their effect.
    """

    @property
    def replica_ids(self) -> tuple[int, ...]:
        """Return the replicas that can never continue; each waits for the next one."""
        return self.fact.replica_ids if isinstance(self.fact, Deadlock) else ()


class CallTimeout(EndsIncarnation, TimeoutError):
    """A replica made no progress for too long, so varsim has ended its process.

    The text contains the last operation, the process and the Python stack of the replica. Later
    operations that need the process raise WorkerLost.
    """

    definite = False

    @property
    def replica_ids(self) -> tuple[int, ...]:
        """Return the replicas whose processes were ended."""
        return self.fact.replica_ids if isinstance(self.fact, StallFailure) else ()


class StillRunning(VarsimError, RuntimeError):
    """A replica that is needed still runs the function of a call that has failed.

    Attributes:
        replica_ids: The replicas that still run such a function. The text contains the function,
            the start time and the location of each of them.
    """

    def __init__(self, problem: Fact | str, replica_ids: tuple[int, ...]) -> None:
        super().__init__(problem, replica_ids)
        self.problem = problem
        self.replica_ids = replica_ids

    def __str__(self) -> str:
        return str(self.problem)


class WorkerLost(EndsIncarnation, RuntimeError):
    """A worker process has ended, and the operation needs it.

    The strategy's `on_worker_lost` decides what happens then; see `recovery`. If it is "fail",
    reads still work as long as the components that they need are known, or belong to other
    replicas.

    Attributes:
        replica_id: The replica whose worker was lost first. If several workers were lost at the
            same time, it is the lowest of their replica ids.
        reason: The worker's exit code, or the name of the signal that ended the worker.
        stderr_tail: The last lines of the worker's stderr.
        log_path: The file with all output of the worker.
        replica_ids: All replicas whose workers were lost.
    """

    definite = False

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        first = loss.workers[0]
        self.replica_id = first.replica_id
        self.reason = first.reason
        self.stderr_tail = first.stderr_tail
        self.log_path = first.log_path
        self.replica_ids = tuple(worker.replica_id for worker in loss.workers)


class ServerLost(VarsimError, ConnectionError):
    """The process of a parameter server has ended, and the values of its variables are lost."""

    definite = False


class ClosureCancelled(VarsimError, RuntimeError):
    """A scheduled closure is not run, because another one has failed, or no worker is left."""


class LinkLost(VarsimError, ConnectionError):
    """A worker had no connection to the coordinator for `loss_s` seconds, and ends."""

    definite = False

    def __init__(self, loss_s: float) -> None:
        super().__init__(loss_s)
        self.loss_s = loss_s

    def __str__(self) -> str:
        return (
            f"no connection to the coordinator for {self.loss_s:g} s; link_loss_s changes the limit"
        )


class ReplicaError(VarsimError, RuntimeError):
    """A replica's function raised an exception; the text has the replica's traceback.

    A ReplicaError is the cause of the exception that the program sees. If the program's process
    cannot raise the exception itself, the program sees the ReplicaError instead.
    """

    definite = False

    def __init__(self, replica_id: int, traceback: str) -> None:
        super().__init__(replica_id, traceback)
        self.replica_id = replica_id
        self.traceback = traceback

    def __str__(self) -> str:
        return f"raised by replica {self.replica_id}:\n{self.traceback}"


class CallAborted(BaseException):
    """Ends the function of a replica whose call has failed elsewhere. varsim catches this error.

    The class is not an Exception, so `except Exception` in a program does not catch it.
    """


class InjectedFault(VarsimError, RuntimeError):
    """A fault of the experiment, which is raised on a replica."""

    definite = False


class StartError(VarsimError, RuntimeError):
    """The workers of a cluster did not start."""


class ProtocolError(VarsimError, RuntimeError):
    """A peer sent a message that the protocol does not allow. The program has made no mistake."""


class CheckpointError(VarsimError, ValueError):
    """A checkpoint cannot be written, read or restored; no variable has changed."""


class UnmatchedCheckpoint(CheckpointError, AssertionError):
    """The objects of a program and the values of a checkpoint do not match completely."""


class MetricError(VarsimError, TypeError):
    """A program logs a value that is not a number, or a metric with a reserved name."""


class ConfigError(VarsimError, ValueError):
    """An experiment file or a command line is wrong; the text says where, and what to do."""


class FileError(ConfigError):
    """A file of a run cannot be used: it was damaged or changed, or another program wrote it.

    Attributes:
        path: The file.
        problem: What is wrong, and where in the file.
        remedy: What the user can do.
    """

    def __init__(self, path: object, problem: str, remedy: str) -> None:
        super().__init__(path, problem, remedy)
        self.path = str(path)
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}\n  {self.remedy}"


class HistoryError(FileError):
    """The history of a run cannot be used."""


class TraceError(FileError):
    """The trace of a process cannot be used."""
