"""Fixtures: clusters of real workers behind varsim's public interface."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.waiting import MS

SOON_S = 1_000 * MS
"""Time limit for an error to reach the program, if the error can be detected immediately."""

Strategy = tf.distribute.MirroredStrategy


def cluster(num_replicas: int = 2, **options: Any) -> Strategy:
    """Return a strategy with running workers."""
    strategy = Strategy([f"cpu:{i}" for i in range(num_replicas)], **options)
    strategy.start()
    return strategy


@pytest.fixture(scope="session")
def strategy() -> Iterator[Strategy]:
    """Provide three workers that tests of all files share, so a test must leave them usable."""
    with cluster(3) as started:
        # The first large frame makes pyzmq start a thread, which runs until the process ends.
        started.run(np.size, args=(np.zeros(2**18),))
        yield started


@pytest.fixture
def mortal() -> Iterator[Strategy]:
    """Provide two workers that one test may kill."""
    with cluster(2) as started:
        yield started


@contextmanager
def soon() -> Iterator[None]:
    """Fail if the block takes longer than `SOON_S`."""
    started_s = time.monotonic()
    yield
    took_s = time.monotonic() - started_s
    assert took_s < SOON_S, f"took {took_s:.3g} s"


def location_of(function: Callable[..., Any], text: str) -> str:
    """Return the location, as in errors, of the first line of a function that contains `text`."""
    lines, first = inspect.getsourcelines(function)
    line = first + next(i for i, line in enumerate(lines) if text in line)
    return f"{os.path.relpath(inspect.getfile(function))}:{line}"


def root() -> Path:
    """Return the folder of the project."""
    return Path(__file__).parents[2]


def environment() -> dict[str, str]:
    """Return the environment of a separate program that imports varsim and these tests."""
    path = os.pathsep.join((str(root()), os.environ.get("PYTHONPATH", "")))
    return os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def run_python(*arguments: str, cwd: Path | None = None) -> str:
    """Return the output of a separate program."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment(),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=20_000 * MS,
    )
    assert 0 == done.returncode, done.stderr
    return done.stdout
