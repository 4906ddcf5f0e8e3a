"""A coordinator with its replicas, for tests that decide when messages arrive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tests.sync.build import ASSIGN, NOTHING, array, arrive, call, fetch
from tests.sync.program import ReplicaProgram, sent
from varsim.protocol.messages import Commit, Contribution, Message
from varsim.spec import Operation, VariableSpec
from varsim.sync.actions import CoordinatorAction, Finish, ProgramDone, Reduce, RunMerge, Send
from varsim.sync.coordinator_events import MergeFunctionReturns, ProgramCreate, ReductionDone
from varsim.sync.coordinator_state import CoordinatorState


class StateCluster:
    """A coordinator and replicas, with variables whose value is zero; calls run one by one.

    Messages of the coordinator arrive immediately. Both states are validated after every event.
    """

    def __init__(self, *specs: VariableSpec, num_replicas: int = 2) -> None:
        self.coordinator = CoordinatorState(num_replicas)
        self.registry = self.coordinator.registry
        self.replicas = [ReplicaProgram(i, num_replicas) for i in range(num_replicas)]
        self.specs = {spec.variable_id: spec for spec in specs}
        self.sent: list[tuple[int, Message]] = []  # messages that `told` has not returned yet
        self.left: list[Message] = []  # messages that `contributions` has not returned yet
        self.finish: Finish | None = None
        self.fetched: tuple[Any, ...] = ()
        self._call_id = 0
        self._merge: RunMerge | None = None
        for spec in specs:
            shape = tuple(1 if size is None else size for size in spec.shape)
            self.perform(self.coordinator.handle(ProgramCreate(spec, np.zeros(shape, spec.dtype))))
        self.sent.clear()

    def perform(self, actions: Sequence[CoordinatorAction]) -> None:
        """Perform the coordinator's actions."""
        self.coordinator.validate()
        for action in actions:
            match action:
                case Send(to=to, message=message):
                    self.sent.append((to, message))
                    for answer in self.replicas[to].handle(message):
                        if isinstance(answer, Send):
                            self._arrive(to, answer.message, 0.0)
                    self.replicas[to].validate()
                case Finish():
                    self.finish = action
                case Reduce(token=token):
                    done = ReductionDone(token, action.computed())
                    self.perform(self.coordinator.handle(done))
                case RunMerge():
                    self._merge = action
                case ProgramDone(values=values):
                    self.fetched = values
                case _:
                    pass

    def _arrive(self, replica_id: int, message: Message, now_s: float) -> None:
        self.left.append(message)
        self.perform(arrive(self.coordinator, replica_id, message, now_s))

    # ------------------------------------------------------------ calls

    def start(self) -> None:
        """Start a call, without giving the coordinator's messages to the replicas."""
        call(self.coordinator)
        self._call_id = self.coordinator.calls_begun
        self.finish = None
        for state in self.replicas:
            state.begin(self._call_id)

    def end(self) -> None:
        """Let all replicas return. If a merge_call runs, its function returns first."""
        if self._merge is not None:
            merge, self._merge = self._merge, None
            results = [NOTHING] * len(self.replicas)
            event = MergeFunctionReturns(merge.call_id, merge.position, results)
            self.perform(self.coordinator.handle(event))
        for replica_id, state in enumerate(self.replicas):
            for message in sent(state.end()):
                self._arrive(replica_id, message, 0.0)

    def write(
        self, variable_id: int, *values: Any, operation: Operation = ASSIGN, by: int | None = None
    ) -> None:
        """Let each replica write its value, or let one replica write."""
        states = self.replicas if by is None else [self.replicas[by]]
        for state, value in zip(states, values, strict=True):
            dtype = str(self.specs[variable_id].dtype)
            state.write(variable_id, operation, array(value, dtype))

    def leave(self, *replica_ids: int, now_s: float = 0.0) -> None:
        """Send and deliver the outboxes of these replicas, by default of all."""
        for replica_id in replica_ids or range(len(self.replicas)):
            for message in sent(self.replicas[replica_id].flush()):
                self._arrive(replica_id, message, now_s)
            self.replicas[replica_id].validate()

    def enter(self) -> None:
        """Let all replicas arrive at a merge_call, whose function can then run."""
        for replica_id, state in enumerate(self.replicas):
            for message in sent(state.enter()):
                self._arrive(replica_id, message, 0.0)

    # ------------------------------------------------------------ results

    def read(self, variable_id: int) -> list[Any]:
        """Return the value that each replica reads."""
        return [state.read(variable_id).tolist() for state in self.replicas]

    def look(self, variable_id: int, replica_ids: Iterable[int] | None = None) -> list[Any]:
        """Return the components that the program reads, after a fetch of unknown components."""
        asked = list(range(len(self.replicas)) if replica_ids is None else replica_ids)
        self.perform(fetch(self.coordinator, asked, variable_id))
        return [value.tolist() for value in self.fetched]

    def arrive(self, replica_id: int, *messages: Message) -> None:
        """Deliver messages of a replica."""
        for message in messages:
            self._arrive(replica_id, message, 0.0)

    def told(self, kind: type[Message], to: int = 0) -> list[Any]:
        """Return the messages of a kind sent to a replica since the last call of this method."""
        found = [message for receiver, message in self.sent if receiver == to]
        self.sent.clear()
        return [message for message in found if isinstance(message, kind)]

    def contributions(self) -> list[Contribution]:
        """Return the messages that replicas have sent since the last call of this method."""
        found = [message for message in self.left if isinstance(message, Contribution)]
        self.left.clear()
        return found


def commits(cluster: StateCluster, to: int = 0) -> list[list[int]]:
    """Return the variables of each commit to a replica since the last call of `told`."""
    return [commit.variable_ids.tolist() for commit in cluster.told(Commit, to)]
