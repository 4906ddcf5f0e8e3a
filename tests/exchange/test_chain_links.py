"""Hosts of a chain reduce over real links, which are encrypted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import pytest

from tests.waiting import MS, wait_for
from varsim.errors import ProtocolError, StartError
from varsim.exchange.chain import Chunk, ChunkKind, Taken, chain_plan
from varsim.exchange.chain_links import ChainLinks, packed, unpacked
from varsim.spec import Operation, ReduceOp, VariableAggregation
from varsim.sync import reduce

Hosts = list[ChainLinks]


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    """Return three hosts, each linked to the next one."""
    with ExitStack() as stack:
        made: Hosts = []
        for number in range(3):
            one = ChainLinks(number, 3, "tcp://127.0.0.1:*", 20.0, window=2)
            stack.callback(one.close)
            if made:
                one.connect(made[-1].address)
            made.append(one)
        yield made


def serve(hosts: Hosts, token: int) -> bool:
    for one in hosts:
        one.serve()
    return all(one.filled == token for one in hosts)


def test_hosts_reduce_over_links_again_and_again(hosts: Hosts) -> None:
    """The first reduction begins before the connections are made."""
    chance = np.random.default_rng(1)
    dtype = np.dtype(np.float32)
    for token, counts in enumerate(([2, 1, 2], [1, 0, 0]), 1):
        values = [chance.normal(0, 99, (500, 7)).astype(dtype) for _ in range(sum(counts))]
        mirror = chance.normal(0, 99, (500, 7)).astype(dtype)
        plan = chain_plan(counts, 3500, dtype, ReduceOp.MEAN, Operation.ASSIGN_ADD, 999)
        outs = [np.empty_like(mirror) for _ in hosts]
        own = np.cumsum([0, *counts])
        for number in (1, 0, 2):
            part = values[own[number] : own[number + 1]]
            hosts[number].begin(token, plan, part, mirror, outs[number])
        wait_for(lambda n=token: serve(hosts, n), 10_000 * MS)  # type: ignore[misc]
        aggregation = VariableAggregation.MEAN
        expected = reduce.merge(values, aggregation, Operation.ASSIGN_ADD, mirror)
        assert {expected.tobytes()} == {out.tobytes() for out in outs}


def test_a_host_does_not_wait_for_its_neighbour() -> None:
    """The result for the first host is kept until there is a connection."""
    with ExitStack() as stack:
        first, second = (ChainLinks(number, 2, "tcp://127.0.0.1:*", 20.0) for number in (0, 1))
        for one in (first, second):
            stack.callback(one.close)
        second.connect(first.address)
        plan = chain_plan([0, 1], 3, np.dtype(np.float32), ReduceOp.SUM)
        value = np.ones(3, np.float32)
        outs = [np.zeros_like(value) for _ in range(2)]
        second.begin(1, plan, [value], None, outs[1])
        assert 1 == second.filled
        first.begin(1, plan, [], None, outs[0])
        wait_for(lambda: serve([first, second], 1), 10_000 * MS)
        assert value.tolist() == outs[0].tolist()


def test_an_endpoint_that_cannot_be_bound_is_an_error() -> None:
    with pytest.raises(StartError, match=r"cannot listen at tcp://nowhere:1 for the next host"):
        ChainLinks(0, 2, "tcp://nowhere:1", 20.0)


@pytest.mark.parametrize(
    "message",
    [Taken(2**40, 3), Chunk(7, ChunkKind.RESULT, 2, b"abc"), Chunk(7, ChunkKind.PREFIX, 0, b"")],
)
def test_messages_arrive_unchanged(message: Chunk | Taken) -> None:
    assert message == unpacked(packed(message))


@pytest.mark.parametrize(
    "frames",
    [[], [b""], [b"x" * 17], [b"\0" * 17, b""], [b"\1" + b"\0" * 16], [b"\3" + b"\0" * 16, b"abc"]],
)
def test_malformed_messages_are_protocol_errors(frames: list[bytes]) -> None:
    with pytest.raises(ProtocolError, match="not a message of a chain"):
        unpacked(frames)
