"""Create shared fixtures again after a test that failed or left a call running.

Tests of a module or of a folder share a cluster, because starting one for each test is slow. A test
that fails in the middle may leave replicas that wait, and every later test would wait for these
replicas. So this plugin finishes the shared fixtures that such a test has used, and all fixtures
that depend on them. The next test gets new fixtures.

A strategy with the scope "session" is the one of a folder. It is closed after the last test of the
folder, because the leak check takes longer as long as other processes run.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from typing import Any

import pytest

import varsim as tf

_failed = pytest.StashKey[bool]()
_of_folder: set[Any] = set()
"""The fixtures that tests of the current folder share."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Store whether a test has failed."""
    report = yield
    if report.failed:
        item.stash[_failed] = True
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: Any, nextitem: Any) -> Generator[None, None, None]:
    """Finish the shared fixtures of a test that failed, or that left a cluster stuck."""
    try:
        return (yield)
    finally:
        shared = list(_shared(item))
        if has_failed(item) or any(_is_stuck(value) for _, value in shared):
            for fixture, _ in shared:
                fixture.finish(item._request)
        if nextitem is None or nextitem.path.parent != item.path.parent:
            for fixture in list(_of_folder):
                fixture.finish(item._request)
            _of_folder.clear()


def has_failed(item: pytest.Item) -> bool:
    """Return whether a test has failed, in its set-up or in the test itself."""
    return item.stash.get(_failed, False)


def _shared(item: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the shared fixtures that a test has used, with their values."""
    for fixture in list(item._request._fixture_defs.values()):
        if fixture.cached_result is None:
            continue
        value = fixture.cached_result[0]
        if fixture.scope == "session" and isinstance(value, tf.distribute.MirroredStrategy):
            _of_folder.add(fixture)
            yield fixture, value
        elif fixture.scope == "module":
            yield fixture, value


def _is_stuck(value: object) -> bool:
    """Return whether a value is or contains a cluster that is not ready for the next test.

    Replicas may still run an abandoned call, or a worker may have ended.
    """
    if isinstance(value, Mapping):
        return any(_is_stuck(member) for member in value.values())
    if not isinstance(value, tf.distribute.MirroredStrategy) or not value.has_workers:
        return False
    everyone = range(value.num_replicas_in_sync)
    state = value.coordinator.state
    return bool(state.registry.losses) or bool(state.stragglers.given_up(everyone))
