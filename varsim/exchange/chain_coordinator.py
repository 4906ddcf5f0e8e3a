"""The coordinator's end of the exchange "chain"."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from itertools import count
from typing import Final

import numpy as np

from varsim.errors import ProtocolError
from varsim.exchange.between_hosts import HostLinks, HostMessage
from varsim.exchange.broadcast import BroadcastCodec
from varsim.exchange.chain import ChainPlan, can_chain, chain_plan, window_of
from varsim.exchange.chain_fetches import Fetches, Place, write_part
from varsim.exchange.chain_orders import (
    HOME_BYTES,
    Ask,
    Before,
    Cancel,
    Connect,
    Filled,
    Home,
    Linked,
    Listens,
    Order,
    Progress,
    ReduceOnHosts,
    Refused,
    Release,
    packed,
    unpacked,
)
from varsim.exchange.chain_watch import ChainWatch, Reduced, Tell, WatchAction
from varsim.exchange.chain_watch import Order as Told
from varsim.exchange.chain_worker import chain_from_bytes
from varsim.exchange.exchange import ExchangeChannel, Handover
from varsim.location import warn
from varsim.protocol.buffers import Frame, SharedReference, code_of
from varsim.protocol.limits import Buffer
from varsim.protocol.messages import Message
from varsim.spec import Array, Operation, ReduceOp, VariableAggregation
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import OperandsLost, ReductionDone
from varsim.tracing.host_traffic import PROGRAM_END, Moved
from varsim.transport.elsewhere import Elsewhere
from varsim.transport.reliable import LOOK_S

HOME_HOST: Final = 0
"""The host that sends results to the coordinator. Often the program runs on it, too."""

_OPS: Final = {
    VariableAggregation.SUM: ReduceOp.SUM,
    VariableAggregation.MEAN: ReduceOp.MEAN,
    VariableAggregation.ONLY_FIRST_REPLICA: ReduceOp.SUM,  # of one value
}

UNLINKED_S: Final = 2.0
"""How long the first large value waits for hosts that do not reach each other yet."""


class _Running:
    """One reduction that the hosts compute."""

    def __init__(
        self,
        token: int,
        request: Reduce,
        values: Sequence[Array],
        plan: ChainPlan,
        places: Sequence[Place],
        mirror: Array | None,
    ) -> None:
        self.token = token  # for the hosts
        self.request = request
        self.values = values  # as long as they exist, their workers do not reuse their memory
        self.plan = plan
        self.places = places
        self.mirror = mirror
        self.base: Array = np.empty(plan.size * values[0].itemsize, np.uint8)
        self.home_bytes = 0  # how many bytes of the result have come home
        self.results: dict[int, SharedReference] = {}  # host → where it has the result


class ChainCoordinator:
    """The coordinator's end.

    Args:
        hosts: The replicas of each host.
        round_trip_s: The longest time of a message to a host and its answer.
    """

    handover = Handover()  # each host makes that of its workers

    def __init__(self, hosts: Sequence[range], round_trip_s: float) -> None:
        self._from_bytes = chain_from_bytes(round_trip_s)
        self.settings = json.dumps(
            {"from_bytes": self._from_bytes, "window": window_of(round_trip_s)}
        )
        num_replicas = hosts[-1].stop
        self._host_of = [host for host, replicas in enumerate(hosts) for _ in replicas]
        self._memories = [Elsewhere() for _ in hosts]
        self._codecs = [BroadcastCodec(num_replicas, memory) for memory in self._memories]
        self._watch = ChainWatch(len(hosts))
        self._links: HostLinks | None = None
        self._tokens = count(1)  # of reductions and fetches
        self._fetches = Fetches(self._tokens)
        self._linked: set[int] = set()  # hosts with a connection to the one before
        self._broken = ""  # why the hosts reduce nothing any more
        self._has_warned = False  # whether the program was told so
        self._has_awaited = False  # whether a value has waited for the links between hosts
        self._now_s = 0.0
        self._running: _Running | None = None
        self._failed: Reduce | None = None  # a reduction that the hosts did not compute
        self._finished: list[ReductionDone | OperandsLost] = []
        self.shared_bytes = 0
        self.direct: dict[tuple[int, int], Moved] = {}

    def attach(self, channel: ExchangeChannel) -> None:
        """Do nothing: this exchange sends workers no messages of its own."""

    def attach_hosts(self, links: HostLinks) -> None:
        """Set the links to the hosts' ends."""
        self._links = links

    def _send(self, host: int, order: Order, part: Frame = b"") -> None:
        assert self._links is not None, "links are attached before the first message"
        self._links.send(host, HostMessage(packed(order), part))

    # ------------------------------------------------------------ envelopes

    def encode(self, replica_id: int, messages: Sequence[Message]) -> list[Frame]:
        """Return the frames of an envelope to a worker."""
        codec = self._codecs[self._host_of[replica_id]]
        frames = codec.encode(replica_id, messages)
        self.shared_bytes = codec.shared_bytes
        if self.shared_bytes:
            host = self._host_of[replica_id]
            self._count(host, host, 1, self.shared_bytes)
        return frames

    def decode(self, replica_id: int, frames: Sequence[Buffer]) -> list[Message]:
        """Return the messages of a worker's envelope."""
        return self._codecs[self._host_of[replica_id]].decode(replica_id, frames)

    def end_round(self) -> None:
        """Drop the frames of the last envelopes, and free memory of the hosts."""
        for host, codec in enumerate(self._codecs):
            codec.end_round()
            memory = self._memories[host]
            if memory.unused:
                self._send(host, Release(tuple(memory.unused)))
                memory.unused.clear()

    def lose(self, replica_id: int) -> None:
        """End the leases of a dead worker. Its contributions are in the memory of its host."""
        self._codecs[self._host_of[replica_id]].lose(replica_id)

    # ------------------------------------------------------------ reductions

    def reduce(self, request: Reduce, now_s: float) -> Array | None:
        """Return the value; None if the hosts compute it."""
        self._now_s, self._failed = now_s, None
        self._drop()
        values = request.operands
        if request.aggregation is VariableAggregation.ONLY_FIRST_REPLICA:
            values = values[:1]
        places = [self._place(value) for value in values]
        if not any(places):
            return request.computed()
        running = self._prepared(request, values, places)
        if running is None:
            self._failed = request  # `look` waits for the values
            return None
        self._running = running
        self._do(self._watch.begin(running.token, now_s))
        return None

    def _place(self, value: Array) -> Place | None:
        """Return where a contribution is; None if its bytes are here."""
        for host, memory in enumerate(self._memories):
            reference = memory.reference_of(value)
            if reference is not None:
                return None if memory.is_here(reference) else Place(host, reference)
        return None

    def _prepared(
        self, request: Reduce, values: Sequence[Array], places: Sequence[Place | None]
    ) -> _Running | None:
        """Return a reduction that the hosts can compute; None if they cannot."""
        away = [one for one in places if one is not None]
        op, first = _OPS[request.aggregation], values[0]
        hosts = [one.host for one in away]
        if (
            self.problem
            or len(away) < len(values)
            or hosts != sorted(hosts)
            or first.nbytes < self._from_bytes
            or not can_chain(first.dtype, op)
        ):
            return None
        counts = [hosts.count(host) for host in range(len(self._memories))]
        mirror = None if request.operation is Operation.ASSIGN else request.mirror
        operation = Operation.ASSIGN if mirror is None else request.operation
        plan = chain_plan(counts, first.size, first.dtype, op, operation)
        return _Running(next(self._tokens), request, values, plan, away, mirror)

    @property
    def problem(self) -> str:
        """Return why the hosts cannot reduce values now; "" if they can."""
        if self._unlinked:
            return "not all hosts have a connection to the one before"
        return self._broken

    def _do(self, actions: Sequence[WatchAction]) -> None:
        for action in actions:
            if isinstance(action, Tell):
                self._tell(action)
            elif isinstance(action, Reduced):
                self._end_if_complete()
            else:
                self._failed = self._drop() or self._failed  # `look` computes it

    def _tell(self, action: Tell) -> None:
        if action.order is Told.BEGIN:
            self._begin_on(action.host, action.token)
        else:
            asks = action.order is Told.ASK
            self._send(action.host, Ask(action.token) if asks else Cancel(action.token))

    def _begin_on(self, host: int, token: int) -> None:
        """Give a host the order to begin the reduction."""
        running = self._running
        assert running is not None, "the watch begins what was prepared"
        plan, mirror = running.plan, running.mirror
        at: SharedReference | None = None  # where the root has the old value
        if mirror is not None and host == plan.root:
            at = self._memories[host].reference_of(mirror)
            if at is None:
                content = np.ascontiguousarray(mirror).reshape(-1).view(np.uint8)
                for start in range(0, content.nbytes, HOME_BYTES):
                    part = content[start : start + HOME_BYTES].data
                    self._send(host, Before(token, start, content.nbytes), part)
        order = ReduceOnHosts(
            token=token,
            counts=plan.counts,
            size=plan.size,
            chunk=plan.chunk,
            op=plan.op,
            operation=plan.operation,
            dtype_code=code_of(running.values[0].dtype),
            values=tuple(one.reference for one in running.places if one.host == host),
            mirror=at,
            comes_home=host == HOME_HOST,
        )
        self._send(host, order)

    def _end_if_complete(self) -> None:
        """End the reduction if all hosts have the result, and it has come home."""
        running = self._running
        if running is None or self._watch.is_running or running.home_bytes < running.base.nbytes:
            return
        self._running = None
        self._count_chunks(running)
        for host, reference in running.results.items():
            self._memories[host].place(running.base, reference, running.token)
        first = running.values[0]
        value = running.base.view(first.dtype).reshape(first.shape)
        self._finished.append(ReductionDone(running.request.token, value))

    def _count_chunks(self, running: _Running) -> None:
        """Count what the hosts of a reduction have moved."""
        plan, size_bytes = running.plan, running.base.nbytes
        for host, _ in running.places:
            self._count(host, host, 1, size_bytes)
        for host in range(len(self._memories) - 1):
            if host >= plan.first:  # up: prefixes before the root, then the result
                self._count(host, host + 1, plan.chunks, size_bytes)
            if host < plan.root:
                self._count(host + 1, host, plan.chunks, size_bytes)
        self._count(HOME_HOST, PROGRAM_END, -(-size_bytes // HOME_BYTES), size_bytes)

    def _count(self, sender: int, receiver: int, messages: int, size_bytes: int) -> None:
        before = self.direct.get((sender, receiver), Moved(0, 0))
        self.direct[sender, receiver] = Moved(
            before.messages + messages, before.size_bytes + size_bytes
        )

    def _drop(self) -> Reduce | None:
        """End the running reduction on the hosts, without a result; return its request."""
        running, self._running = self._running, None
        if running is None:
            return None
        self._watch.forget()
        for host in range(len(self._memories)):
            self._send(host, Cancel(running.token))
        return running.request

    # ------------------------------------------------------------ messages of hosts

    def take(self, host: int, message: HostMessage) -> None:
        """Handle a message of a host's end.

        Raises:
            ProtocolError: The message is malformed.
        """
        order = unpacked(message.value)
        self._fetches.heard += 1
        match order:
            case Home(token=token, start=start):
                self._take_part(host, token, start, message.part)
            case Filled(token=token, reference=reference):
                if self._running is not None and token == self._running.token:
                    self._running.results[host] = reference
                    self._do(self._watch.filled(host, token, self._now_s))
            case Progress(token=token, chunks=chunks):
                self._watch.progress(host, token, chunks, self._now_s)
            case Refused(token=token, reason=reason):
                if not token:
                    self._broken = self._broken or f"host {self._name(host)} {reason}"
                refused = token or self._watch.token
                self._do(self._watch.refuse(host, refused, reason))
            case Listens(address=address):
                if address:
                    self._send(host + 1, Connect(address))
            case Linked():
                self._linked.add(host)
            case _:
                raise ProtocolError(f"a host sent {type(order).__name__}")

    def _take_part(self, host: int, token: int, start: int, part: Buffer) -> None:
        """Store a part of a value."""
        running = self._running
        if running is not None and token == running.token:
            write_part(running.base, start, part)
            running.home_bytes += len(part)
            self._end_if_complete()
        elif self._fetches.take(token, start, part):
            self._count(host, PROGRAM_END, 1, len(part))

    def lose_host(self, host: int) -> None:
        """Record that a host is lost, with all its values."""
        self._fetches.lost.add(host)
        self._do(self._watch.lose(host))
        if host == HOME_HOST and self._running is not None:  # its parts do not come any more
            self._failed = self._drop()

    def _name(self, host: int) -> str:
        assert self._links is not None, "links are attached before the first message"
        return self._links.name(host)

    # ------------------------------------------------------------ the coordinator's own way

    @property
    def deadline_s(self) -> float | None:
        """Return when to call `look`; None if nothing is due."""
        if self._failed is not None or self._finished:
            return 0.0
        return self._watch.deadline_s

    def look(self, now_s: float) -> None:
        """Ask the hosts how far they are, or compute what they did not compute."""
        self._now_s = now_s
        running = self._running
        if running is not None:  # a report of a host comes after the parts that it has sent before
            self._watch.progress(PROGRAM_END, running.token, running.home_bytes, now_s)
        self._do(self._watch.look(now_s))
        request, self._failed = self._failed, None
        if request is None:
            return
        self._await_links()
        if self._broken and not self._has_warned:
            self._has_warned = True
            warn(
                f"{self._broken}, so the hosts no longer reduce values. All large values go "
                "through this machine, which takes longer."
            )
        if self._fetch(request.operands):
            self._finished.append(ReductionDone(request.token, request.computed()))
        else:
            self._finished.append(OperandsLost(request.token))

    def _await_links(self) -> None:
        """Before the first value that could not be reduced: wait until hosts reach each other.

        A warning says so if they do not. Usual hosts connect while their workers start.
        """
        if self._has_awaited or self._broken:
            return
        self._has_awaited = True
        assert self._links is not None, "links are attached before the first message"
        until_s = time.monotonic() + UNLINKED_S
        while unlinked := self._unlinked:
            if time.monotonic() >= until_s or self._fetches.lost:
                host = unlinked[0]
                warn(
                    f"host {self._name(host)} has no connection to host {self._name(host - 1)} "
                    f"after {UNLINKED_S:g} s, so all large values go through this machine, which "
                    "takes longer. Can these hosts connect to each other, or does a firewall close "
                    "their ports?"
                )
                return
            self._links.hear(LOOK_S)

    @property
    def _unlinked(self) -> list[int]:
        return [host for host in range(1, len(self._memories)) if host not in self._linked]

    def finished(self) -> list[ReductionDone | OperandsLost]:
        """Return the reductions that have ended since the last call."""
        finished, self._finished = self._finished, []
        return finished

    def obtain(self, values: Sequence[Array]) -> Sequence[Array] | None:
        """Return contributions with their bytes; None if they were on a host that is lost."""
        return values if self._fetch(values) else None

    def _fetch(self, values: Sequence[Array]) -> bool:
        """Get the bytes of contributions; return False if they were on a host that is lost."""
        wanted: dict[Place, Array] = {}
        for value in values:
            place = self._place(value)
            if place is not None:  # the whole block, because other values can be in it
                block, size_bytes, _ = place.reference
                whole = Place(place.host, SharedReference(block, size_bytes, 0))
                wanted[whole] = self._memories[place.host].base_of(value)
        assert self._links is not None, "links are attached before the first message"
        if not self._fetches.fetch(wanted, self._links):
            return False
        for host, reference in wanted:
            self._memories[host].here.add(reference.block)
        return True

    def fill(self) -> bool:
        """Return False: the coordinator has no shared memory."""
        return False

    def close(self) -> None:
        """Forget all values."""
        for codec in self._codecs:
            codec.close()
