"""Hosts reduce large contributions among themselves, and every replica gets the same bits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest

from tests.waiting import MS, wait_for
from varsim.exchange import chain_coordinator, chain_fetches
from varsim.exchange.between_hosts import HostMessage, HostPlace
from varsim.exchange.chain_coordinator import ChainCoordinator
from varsim.exchange.chain_exchange import Chain
from varsim.exchange.chain_host import ChainHostEnd
from varsim.exchange.chain_orders import Home, packed
from varsim.exchange.chain_worker import CHAIN_FROM_BYTES, ChainWorker
from varsim.exchange.exchange import Handover
from varsim.protocol.buffers import Frame
from varsim.protocol.messages import Commit, Component, Contribution
from varsim.spec import Operation, VariableAggregation
from varsim.sync import reduce
from varsim.sync.actions import Reduce
from varsim.sync.coordinator_events import OperandsLost, ReductionDone

Array = np.ndarray[Any, Any]
SUM, MEAN, FIRST = (a for a in VariableAggregation if a is not VariableAggregation.NONE)
ASSIGN, ADD, SUB = Operation.ASSIGN, Operation.ASSIGN_ADD, Operation.ASSIGN_SUB
SIZE = 3 * CHAIN_FROM_BYTES // 8
"""The number of float64 elements of a value that the hosts reduce."""


class Hosts:
    """The coordinator, hosts and workers of a cluster, in this process.

    Args:
        shares: How many replicas each host has.
        connect: Whether the hosts can reach each other.
    """

    def __init__(self, shares: Sequence[int], *, connect: bool = True) -> None:
        self.replicas, first = [], 0
        for share in shares:
            self.replicas.append(range(first, first + share))
            first += share
        self.coordinator = ChainCoordinator(self.replicas, 0.0)
        self.coordinator.attach_hosts(self)
        self.lost: list[int] = []
        self._connects = connect
        self.said: list[Any] = []  # what the hosts were told, by the names of the messages
        self.fetched = 0
        with ExitStack() as stack:
            stack.callback(self.coordinator.close)
            self.ends: list[ChainHostEnd] = []
            self.workers: list[ChainWorker] = []
            for host, replicas in enumerate(self.replicas):
                settings = self.coordinator.settings
                place = HostPlace(
                    host, len(shares), replicas, first, "tcp://127.0.0.1:*", 20.0, settings
                )
                end = ChainHostEnd(place)
                stack.callback(end.close)
                self.ends.append(end)
                (descriptor,) = end.handover.descriptors
                for replica_id in replicas:
                    own = Handover((os.dup(descriptor),), end.handover.settings)
                    worker = Chain().join(own, replica_id, first)
                    stack.callback(worker._arena.close)
                    stack.callback(worker._leases.cancel)
                    self.workers.append(worker)
            self.close = stack.pop_all().close
        if connect:
            wait_for(self._is_connected, 5_000 * MS, what="the links between the hosts")

    def _is_connected(self) -> bool:
        self.hear(0.0)
        return not self.coordinator.problem

    # what the coordinator's end calls

    def send(self, host: int, message: HostMessage) -> None:
        self.said.append(message.value[0])
        if host not in self.lost and (message.value[0] != "Connect" or self._connects):
            arrived = HostMessage(msgpack.unpackb(msgpack.packb(message.value)), message.part)
            self._take(host, self.ends[host].take(arrived))

    def _take(self, host: int, answers: Sequence[HostMessage]) -> None:
        for one in answers:
            self.coordinator.take(host, one._replace(part=bytes(one.part)))

    def name(self, host: int) -> str:
        return "abc"[host]

    def lose(self, host: int, why: str) -> None:
        raise AssertionError(f"host {host} {why}")

    def hear(self, timeout_s: float) -> None:
        del timeout_s
        for host, end in enumerate(self.ends):
            if host not in self.lost:
                self._take(host, end.serve())

    # what the tests call

    def contributed(self, values: Sequence[Array]) -> list[Array]:
        """Send a contribution of each worker; return the values that the coordinator has."""
        arrived: list[Array] = []
        for replica_id, value in enumerate(values):
            message = Contribution(call_id=1, position=0, layout_id=0, buckets=(value,))
            frames = self.workers[replica_id].encode([message])
            (got,) = self.coordinator.decode(replica_id, copied(frames))
            assert isinstance(got, Contribution)
            arrived += got.buckets
        return arrived

    def ended(self, request: Reduce) -> ReductionDone | OperandsLost:
        """Return the end of a reduction."""
        value = self.coordinator.reduce(request, 0.0)
        if value is not None:
            return ReductionDone(request.token, value)

        def end() -> list[ReductionDone | OperandsLost]:
            self.hear(0.0)
            if self.coordinator.deadline_s == 0.0:
                self.coordinator.look(0.0)
            return self.coordinator.finished()

        (done,) = wait_for(end, 5_000 * MS, what="the end of a reduction")
        return done

    def merged(
        self,
        values: Sequence[Array],
        aggregation: VariableAggregation = SUM,
        operation: Operation = ASSIGN,
        mirror: Array | None = None,
    ) -> Array:
        """Contribute and reduce values."""
        request = Reduce(7, self.contributed(values), aggregation, operation, mirror, ())
        done = self.ended(request)
        assert isinstance(done, ReductionDone)
        return done.value

    def committed(self, value: Array) -> list[Array]:
        """Send all workers a commit; return the values that they have got."""
        numbers = np.zeros(1, np.int64)
        commit = Commit(
            call_id=1, settled=1, variable_ids=numbers, versions=numbers, operation=ASSIGN,
            value=value,
        )  # fmt: skip
        shown = []
        for replica_id, worker in enumerate(self.workers):
            frames = copied(self.coordinator.encode(replica_id, [commit]))
            assert all(len(one) < CHAIN_FROM_BYTES for one in frames), "sent by reference"
            ((got,), _) = worker.decode(frames)
            assert isinstance(got, Commit)
            shown.append(got.value)
        self.coordinator.end_round()
        return shown

    def noted(self) -> None:
        """Tell the coordinator which blocks the workers have released."""
        for replica_id, worker in enumerate(self.workers):
            frames = worker.encode([])
            assert [] == self.coordinator.decode(replica_id, copied(frames))
            worker.decode(copied(self.coordinator.encode(replica_id, [])))
        self.coordinator.end_round()


def copied(frames: Sequence[Frame]) -> list[bytes]:
    return [bytes(one) for one in frames]


@pytest.fixture(params=[(2, 2), (1, 2, 1)], ids=str)
def hosts(request: pytest.FixtureRequest) -> Iterator[Hosts]:
    made = Hosts(request.param)
    yield made
    made.close()


@pytest.fixture
def two() -> Iterator[Hosts]:
    made = Hosts((2, 2))
    yield made
    made.close()


def values_of(dtype: Any = np.float64, size: int = SIZE) -> list[Array]:
    chance = np.random.default_rng(5)
    return [(chance.normal(0, 99, size)).astype(dtype) for _ in range(4)]


def test_the_result_has_the_bits_of_the_left_fold(hosts: Hosts) -> None:
    values = values_of(np.float32, 2 * SIZE)
    mirror = values_of(np.float32, 2 * SIZE)[3] * 7
    for aggregation, operation in product((SUM, MEAN, FIRST), (ASSIGN, ADD, SUB)):
        expected = reduce.merge(values, aggregation, operation, mirror)
        got = hosts.merged(values, aggregation, operation, mirror)
        assert (expected.tobytes(), expected.shape) == (got.tobytes(), got.shape)
        for shown in hosts.committed(got):
            assert expected.tobytes() == shown.tobytes()
        again = reduce.merge(values, aggregation, operation, expected)
        assert again.tobytes() == hosts.merged(values, aggregation, operation, got).tobytes()
    assert "Fetch" not in hosts.said


def test_a_result_keeps_its_shape(two: Hosts) -> None:
    values = [one.reshape(-1, 3) for one in values_of()]
    assert values[0].shape == two.merged(values).shape


def test_hosts_use_the_same_memory_for_each_step(two: Hosts) -> None:
    held = []
    value: Array | None = None
    shown: list[Array] = []
    for _ in range(8):
        value = two.merged(values_of(), MEAN, ADD, value if value is not None else values_of()[0])
        shown = two.committed(value)
        two.noted()
        held.append([end._memory._held_bytes for end in two.ends])
    assert shown
    assert held[3] == held[-1]


@pytest.mark.parametrize("dtype", [np.int32, np.complex64, np.float16], ids=str)
def test_other_dtypes(two: Hosts, dtype: Any) -> None:
    values = values_of(dtype, 4 * SIZE)
    expected = reduce.merge(values, SUM, ADD, values[0])
    assert expected.tobytes() == two.merged(values, SUM, ADD, values[0]).tobytes()


def test_small_values_and_other_messages_are_sent_by_value(two: Hosts) -> None:
    small = values_of(size=CHAIN_FROM_BYTES // 8 - 1)
    assert reduce.merge(small, SUM, ASSIGN, None).tobytes() == two.merged(small).tobytes()
    large = Component(request_id=1, variable_id=1, version=1, value=values_of()[0])
    frames = copied(two.workers[0].encode([large]))
    (got,) = two.coordinator.decode(0, frames)
    assert isinstance(got, Component)
    assert values_of()[0].tobytes() == got.value.tobytes()
    assert "ReduceOnHosts" not in two.said


def test_the_state_can_obtain_contributions(two: Hosts) -> None:
    values = values_of()
    arrived = two.contributed(values)
    obtained = two.coordinator.obtain(arrived)
    assert obtained is not None
    assert [one.tobytes() for one in values] == [one.tobytes() for one in obtained]


def test_a_part_of_a_contribution_is_computed_by_the_coordinator(two: Hosts) -> None:
    values = values_of()
    parts = [one[8:99] for one in two.contributed(values)]
    expected = reduce.merge([one[8:99] for one in values], SUM, ASSIGN, None)
    for _ in range(2):
        done = two.ended(Reduce(7, parts, SUM, ASSIGN, None, ()))
        assert isinstance(done, ReductionDone)
        assert expected.tobytes() == done.value.tobytes()
    assert 4 == two.said.count("Fetch"), "the bytes are fetched once"


def test_without_room_on_a_host_the_coordinator_computes_the_value(two: Hosts) -> None:
    two.ends[1]._memory.fill()
    values = values_of()
    expected = reduce.merge(values, SUM, ASSIGN, None).tobytes()
    assert expected == two.merged(values).tobytes()
    assert {"ReduceOnHosts", "Cancel", "Fetch"} <= set(two.said)


def test_without_room_for_a_contribution_the_others_are_fetched(two: Hosts) -> None:
    two.workers[2].fill()
    values = values_of()
    expected = reduce.merge(values, SUM, ASSIGN, None).tobytes()
    assert expected == two.merged(values).tobytes()
    assert 3 == two.said.count("Fetch")


def test_a_replica_can_contribute_what_it_has_got(two: Hosts) -> None:
    shown = two.committed(two.merged(values_of()))
    expected = reduce.merge(shown, SUM, ASSIGN, None).tobytes()
    assert expected == two.merged(shown).tobytes()


def test_a_lost_host_ends_the_reduction(two: Hosts) -> None:
    arrived = two.contributed(values_of())
    two.lost.append(1)
    assert two.coordinator.reduce(Reduce(7, arrived, SUM, ASSIGN, None, ()), 0.0) is None
    two.hear(0.0)
    assert [] == two.coordinator.finished()
    two.coordinator.lose_host(1)
    two.coordinator.look(0.0)
    assert [OperandsLost(7)] == two.coordinator.finished()
    assert isinstance(two.ended(Reduce(8, arrived, SUM, ASSIGN, None, ())), OperandsLost)


def part(token: int, start: int) -> HostMessage:
    return HostMessage(packed(Home(token, start)), bytes(8))


def test_a_reduction_whose_result_comes_home_slowly_goes_on(two: Hosts) -> None:
    request = Reduce(7, two.contributed(values_of()), SUM, ASSIGN, None, ())
    assert two.coordinator.reduce(request, 0.0) is None
    for second in range(1, 40):
        two.coordinator.take(0, part(two.coordinator._watch.token, 8 * second))
        two.coordinator.look(float(second))
    assert "Cancel" not in two.said
    for second in range(40, 50):
        two.coordinator.look(float(second))
    assert "Cancel" in two.said


def test_an_old_value_is_sent_once_in_parts_that_are_answered(two: Hosts) -> None:
    *values, mirror = (value.repeat(2) for value in [*values_of(), values_of()[0] * 7])
    expected = reduce.merge(values, SUM, ADD, mirror)
    got = two.merged(values, SUM, ADD, mirror)
    assert expected.tobytes() == got.tobytes()
    assert 2 == two.said.count("Before")
    assert 2 == two.coordinator._watch._progress[1], "before the first chunk"
    two.committed(got)
    expected = reduce.merge(values, SUM, ADD, expected)
    assert expected.tobytes() == two.merged(values, SUM, ADD, got).tobytes()
    assert 2 == two.said.count("Before")


def test_only_hosts_that_send_nothing_are_lost(two: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = two.contributed(values_of())
    blamed: list[str] = []
    heard = iter(range(4))
    times = iter(range(0, 10_000, 20))

    def hear(timeout_s: float) -> None:
        del timeout_s
        if next(heard, None) is not None:
            two.coordinator.take(1, part(0, 0))  # of a reduction that has ended

    def lose(host: int, why: str) -> None:
        blamed.append(f"{host} {why} {next(heard, None)}")
        two.coordinator.lose_host(host)

    monkeypatch.setattr(two, "hear", hear)
    monkeypatch.setattr(two, "lose", lose)
    clock = SimpleNamespace(monotonic=lambda: float(next(times)))
    monkeypatch.setattr(chain_fetches, "time", clock)
    two.lost.append(1)  # host 0 sends its values at once
    assert two.coordinator.obtain(arrived) is None
    assert ["1 has sent no values for 30 s None"] == blamed


def test_a_host_that_is_not_asked_any_more_frees_its_result(two: Hosts) -> None:
    values = values_of()
    expected = reduce.merge(values, SUM, ASSIGN, None).tobytes()
    for token in range(4):
        request = Reduce(token, two.contributed(values), SUM, ASSIGN, None, ())
        assert two.coordinator.reduce(request, 0.0) is None
        two.hear(0.0)
    assert expected == two.merged(values).tobytes()
    assert all(end._memory._held_bytes < 3 * values[0].nbytes for end in two.ends)


def test_hosts_without_a_link_warn_and_leave_it_to_the_coordinator(two: Hosts) -> None:
    values = values_of()
    expected = reduce.merge(values, SUM, ASSIGN, None).tobytes()
    two.ends[1]._lose_links("the host before it: no connection for 20 s")
    with pytest.warns(
        UserWarning, match="host b has lost its link to the host before it.*takes longer"
    ):
        assert expected == two.merged(values).tobytes()
    assert expected == two.merged(values).tobytes()


def test_hosts_that_do_not_reach_each_other_leave_it_to_the_coordinator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(chain_coordinator, "UNLINKED_S", 0.01)
    hosts = Hosts((1, 1), connect=False)
    try:
        values = values_of()[:2]
        expected = reduce.merge(values, SUM, ASSIGN, None).tobytes()
        with pytest.warns(UserWarning, match="host b has no connection to host a after 0.01 s"):
            assert expected == hosts.merged(values).tobytes()
        assert expected == hosts.merged(values).tobytes(), "a second warning would be an error"
        assert "ReduceOnHosts" not in hosts.said
    finally:
        hosts.close()
