"""Format messages for golden scenarios and for the tests of the states."""

from __future__ import annotations

from collections.abc import Sequence

from tests.scenarios.script import show, show_rows
from varsim.protocol.buckets import arrange, unpack
from varsim.protocol.messages import (
    Combine,
    Commit,
    Component,
    ComponentCommit,
    Contribution,
    Create,
    Define,
    Delta,
    DeltaReply,
    Fetch,
    Forget,
    HostCall,
    HostResult,
    Layout,
    MergeCall,
    Merged,
    Message,
    PullDeltas,
    Raised,
    Reduced,
    Scatter,
    ScatterCommit,
    Start,
    SyncRequest,
    Waiting,
    Write,
    WriteCounts,
)
from varsim.spec import VariableSpec


class MessageFormat:
    """Formats each message as a line.

    `hear` must get all messages, because some messages refer to earlier ones.
    """

    def __init__(self) -> None:
        self.specs: dict[int, VariableSpec] = {}  # all variables, including dropped ones
        self._layouts: dict[tuple[int, int], tuple[Write, ...]] = {}

    def hear(self, sender: int, message: Message) -> None:
        """Store the parts of a message to which later messages refer."""
        if isinstance(message, Create):
            self.specs[message.spec.variable_id] = message.spec
        elif isinstance(message, Layout):
            self._layouts[sender, message.layout_id] = message.writes

    def tell(self, sender: int, message: Message) -> str:
        """Return a message as one line."""
        parts = self._parts(sender, message)
        return " ".join([message.name, *(part for part in parts if part)])

    def _name(self, variable_id: int) -> str:
        return self.specs[variable_id].name

    def _contribution(self, writes: Sequence[Write], contribution: Contribution) -> str:
        values = unpack(writes, arrange(writes, self.specs), contribution.buckets)
        return ", ".join(
            f"{self._name(write.variable_id)} {write.operation.value} "
            + (show(value) if value.shape == write.shape else "(not sent)")
            for write, value in zip(writes, values, strict=True)
        )

    def _delta(self, delta: Delta) -> list[str]:
        words = [self._name(delta.variable_id), f"#{delta.count}"]
        for part in delta.parts:
            match part.operand:
                case (indices, values):
                    shown = f"{show(values)} @ {indices.tolist()}"
                case (value,):
                    shown = show(value)
                case _:
                    shown = "(not sent)"
            words += [part.operation.value, shown]
        return words

    def _parts(self, sender: int, message: Message) -> list[str]:
        match message:
            case Create(spec=spec, value=value):
                return [spec.name, show(value)]
            case Commit(variable_ids=ids, versions=versions, operation=operation, value=value):
                pairs = zip(ids.tolist(), versions.tolist(), strict=True)
                written = ", ".join(f"{self._name(i)} v{version}" for i, version in pairs)
                return [written, operation.value, show(value)]
            case ComponentCommit(variable_id=i, version=version, value=value):
                return [self._name(i), f"v{version}", show(value)]
            case ScatterCommit(variable_id=i, version=version, operation=operation, rows=rows):
                return [self._name(i), f"v{version}", operation.value, show_rows(rows)]
            case Scatter(write=write, rows=rows):
                return [self._name(write.variable_id), write.operation.value, show_rows(rows)]
            case Contribution(layout_id=layout_id):
                return [self._contribution(self._layouts[sender, layout_id], message)]
            case PullDeltas(variable_id=i, count=count):
                return [self._name(i), f"#{count}"]
            case SyncRequest(delta=delta) | DeltaReply(delta=delta):
                return self._delta(delta)
            case WriteCounts(variable_ids=ids, counts=counts):
                pairs = zip(ids.tolist(), counts.tolist(), strict=True)
                return [", ".join(f"{self._name(i)} #{count}" for i, count in pairs)]
            case Component(variable_id=i, value=value):
                return [self._name(i), show(value)]
            case Fetch(variable_id=i) | Waiting(variable_id=i):
                return [self._name(i)]
            case Forget(variable_ids=ids, function_ids=functions):
                return [*(self._name(i) for i in ids), *functions]
            case Define(function_id=function_id) | Start(function_id=function_id):
                return [function_id]
            case Combine(how=how, leaves=leaves, weight=weight, label=label):
                weighs = "" if weight is None else f"weight={weight:g}"
                said = [how.kind.value, *how.arguments(), weighs]
                return [*filter(None, said), *map(show, leaves), _named(label)]
            case MergeCall(arguments=payload, label=label):
                return [show(payload.tree), _named(label)]
            case Reduced(leaves=leaves):
                return [*map(show, leaves)]
            case Merged(result=payload) | HostResult(result=payload) | HostCall(request=payload):
                return [show(payload.tree)]
            case Raised(exception=payload):
                return [show(payload.tree)]
            case _:  # Abort, Returned and other messages without details
                return []


def _named(label: str | None) -> str:
    return "" if label is None else f"name={label}"
