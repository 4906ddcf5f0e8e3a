"""The pytest plugin of varsim: fixtures with a cluster, whose record is judged after the test.

pytest imports this module in every session, so it imports the rest of varsim only where a test uses
it. docs/testing.md describes the plugin.
"""

from __future__ import annotations

import sysconfig
from collections.abc import Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from varsim.distribute.mirrored import MirroredStrategy
    from varsim.experiments.recorded_cluster import RecordedCluster

_MARKER: Final = "varsim"
_OURS: Final = Path(__file__).parent
_INSTALLED: Final = tuple(Path(one) for one in set(sysconfig.get_paths().values()))
_CLUSTER: Final = pytest.StashKey["RecordedCluster"]()


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "varsim(workers=2, mode=None, fail_on=(), simulated=False, …): settings of the fixtures "
        "varsim_cluster and varsim_strategy: keys of an experiment, the findings with which the "
        "test fails, and whether the replicas run in this process (docs/testing.md)",
    )


@pytest.fixture
def varsim_cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RecordedCluster]:
    """Return a cluster with a record; the markers `varsim` of the test have its settings."""
    from varsim.errors import ConfigError
    from varsim.experiments.recorded_cluster import RecordedCluster

    settings: dict[str, Any] = {}
    for marker in request.node.iter_markers(_MARKER):  # the closest one first
        if marker.args:
            said = "@pytest.mark.varsim takes only settings with names, as in workers=3"
            pytest.fail(said, pytrace=False)
        settings = {**marker.kwargs, **settings}
    cluster, problem = None, ""
    try:
        cluster = RecordedCluster(tmp_path_factory.mktemp("varsim"), **settings)
    except (ConfigError, ValueError) as error:
        problem = f"@pytest.mark.varsim: {error}"
    if cluster is None:  # outside of `except`, so that pytest shows one error
        pytest.fail(problem, False)
    request.node.stash[_CLUSTER] = cluster
    yield cluster
    cluster.finish()


@pytest.fixture
def varsim_strategy(varsim_cluster: RecordedCluster) -> MirroredStrategy:
    """Return the strategy of the cluster."""
    return varsim_cluster.strategy


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Judge the record after the test; hide the frames of varsim in the traceback of a failure."""
    __tracebackhide__ = True
    try:
        result = yield
    except BaseException as error:  # the failures of pytest itself are no Exceptions
        if _CLUSTER in item.stash:
            error.__traceback__ = _without_ours(error.__traceback__)
        raise
    if _CLUSTER in item.stash:
        _judge(item.stash[_CLUSTER])
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the last events of the cluster to the report of a failure.

    They end the workers, so they are left out if a debugger is going to be opened.
    """
    report = yield
    debugged = item.config.getoption("usepdb", False)
    if call.when == "call" and report.failed and not debugged and _CLUSTER in item.stash:
        story = item.stash[_CLUSTER].story()
        if story:
            report.sections.append(("varsim: what the replicas did last", story))
    return report


def _judge(cluster: RecordedCluster) -> None:
    """Fail if a finding of the test's marker is in the record."""
    if not cluster.fail_on:
        return
    from varsim.errors import ConfigError
    from varsim.testing.asserts import assert_valid

    problem = ""
    try:
        assert_valid(cluster, fail_on=sorted(cluster.fail_on))
    except (AssertionError, ConfigError) as error:
        problem = str(error)
    if problem:  # outside of `except`, so that pytest shows one error
        pytest.fail(problem, pytrace=False)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of varsim, and of the libraries that varsim calls."""
    kept, hides = [], False
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        hides = _OURS in path.parents or (hides and not _is_of_program(path))
        if not hides:
            kept.append(traceback)
        traceback = traceback.tb_next
    chain: TracebackType | None = None
    for one in reversed(kept):
        chain = TracebackType(chain, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return chain


def _is_of_program(path: Path) -> bool:
    """Return whether a file is neither of Python nor of an installed package."""
    return path.is_file() and not any(one in path.parents for one in _INSTALLED)
