"""A chain of hosts continues after a cut, with the same value."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import numpy as np
import pytest

from tests.hosts.lab import Lab
from tests.waiting import MS, wait_for
from varsim.exchange.chain import chain_plan
from varsim.exchange.chain_links import ChainLinks
from varsim.spec import ReduceOp
from varsim.sync import reduce

pytestmark = [pytest.mark.hosts, pytest.mark.slow]

LOSS_S = 20.0


def test_a_reduction_continues_after_a_cut_in_its_middle(make_lab: Callable[..., Lab]) -> None:
    lab = make_lab(2, mtu=9000)
    lab.switch.shape(bit_per_s=10**8, loss=0.01)
    chance = np.random.default_rng(1)
    dtype = np.dtype(np.float32)
    values = [chance.normal(0, 99, 2**18).astype(dtype) for _ in range(4)]
    plan = chain_plan([2, 2], 2**18, dtype, ReduceOp.MEAN, chunk_bytes=2**15)
    with lab.inside(lab.hosts[0]):
        first = ChainLinks(0, 2, f"tcp://{lab.hosts[0].address}:*", LOSS_S)
    with closing(first):
        with lab.inside(lab.hosts[1]):
            second = ChainLinks(1, 2, "", LOSS_S)
            second.connect(first.address)
        with closing(second):
            hosts = (first, second)
            outs = [np.empty_like(values[0]) for _ in hosts]
            first.begin(1, plan, values[:2], None, outs[0])
            second.begin(1, plan, values[2:], None, outs[1])

            def served(chunks: int) -> bool:
                for one in hosts:
                    one.serve()
                return min(one.handled for one in hosts) >= chunks

            wait_for(lambda: served(10), 10_000 * MS, what="the first chunks")
            assert 0 == first.filled
            lab.switch.partition([0])
            link = second._below
            assert link is not None
            wait_for(
                lambda: served(0) and not link.is_connected, 10_000 * MS, what="the end of TCP"
            )
            assert not served(2 * plan.chunks)
            lab.switch.heal()
            wait_for(lambda: served(2 * plan.chunks), 20_000 * MS, what="the result after the cut")
    expected = reduce.reduce(values, ReduceOp.MEAN).tobytes()
    assert [expected, expected] == [out.tobytes() for out in outs]
