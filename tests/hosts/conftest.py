"""Labs for tests. Where hosts are not possible, these tests are skipped, or fail if they must run.

`make test-hosts` sets VARSIM_TEST_HOSTS=required, so that these tests fail without namespaces.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.hosts.engine_lab import EngineLab, why_no_engines
from tests.hosts.lab import Lab
from tests.hosts.namespaces import why_impossible
from tests.hosts.ray_cluster import RayCluster, ray_cluster, require_ray
from tests.waiting import MS, wait_for

LEAVE_S = 10_000 * MS
"""The time in which all processes on the hosts end after a run."""


@pytest.fixture(scope="session")
def hosts_are_possible() -> None:
    """Skip a test that needs hosts, or fail it, if hosts cannot be made here."""
    _need_no_reason(why_impossible())


@pytest.fixture(scope="session")
def engines_are_possible(hosts_are_possible: None) -> None:
    """Skip a test that needs ssh and mpirun, or fail it, if they are not installed."""
    _need_no_reason(why_no_engines())


@pytest.fixture(scope="session")
def ray_is_possible(hosts_are_possible: None) -> None:
    """Skip a test that needs Ray, or fail it, if Ray is not installed."""
    require_ray()


@pytest.fixture(scope="session")
def cluster(ray_is_possible: None) -> Iterator[RayCluster]:
    """Share a Ray cluster on three hosts between tests, for it takes seconds to start."""
    with Lab(3) as lab, ray_cluster(lab) as made:
        yield made


@pytest.fixture(scope="module")
def doomed_cluster(ray_is_possible: None) -> Iterator[RayCluster]:
    """Return a Ray cluster on three hosts for one test of a module, which kills a node."""
    with Lab(3) as lab, ray_cluster(lab) as made:
        yield made


def _need_no_reason(why: str) -> None:
    if why and os.environ.get("VARSIM_TEST_HOSTS") == "required":
        pytest.fail(f"test hosts are required: {why}", pytrace=False)
    if why:
        pytest.skip(f"no test hosts: {why}")


@pytest.fixture
def make_lab(hosts_are_possible: None) -> Iterator[Callable[..., Lab]]:
    """Return a function with the arguments of `Lab`. The labs end with the test."""
    with ExitStack() as labs:
        yield lambda *args, **options: labs.enter_context(Lab(*args, **options))


@pytest.fixture(scope="module")
def shared_lab(hosts_are_possible: None) -> Iterator[Lab]:
    """Make one lab of three hosts for the tests of a module."""
    with Lab(3) as lab:
        yield lab


@pytest.fixture
def lab(shared_lab: Lab) -> Lab:
    """Return the module's lab, with wires that deliver every packet at once."""
    _deliver_at_once(shared_lab)
    return shared_lab


def _deliver_at_once(lab: Lab) -> None:
    lab.switch.shape(delay_s=0.0, jitter_s=0.0, bit_per_s=None, loss=0.0, is_cut=False)


@pytest.fixture(scope="module")
def shared_engines(engines_are_possible: None) -> Iterator[EngineLab]:
    """Make one lab of three hosts with ssh and mpirun for the tests of a module."""
    with EngineLab(3) as engines:
        yield engines


@pytest.fixture
def engines(shared_engines: EngineLab) -> Iterator[EngineLab]:
    """Return the module's lab; fail a test that leaves processes or files of varsim on the hosts.

    A killed mpirun can leave a folder of its own, which the lab removes at its end.
    """
    yield shared_engines
    _deliver_at_once(shared_engines.lab)
    wait_for(
        lambda: not shared_engines.processes(),
        LEAVE_S,
        what=lambda: str(shared_engines.processes()),
    )
    assert [] == shared_engines.files("varsim-*")
