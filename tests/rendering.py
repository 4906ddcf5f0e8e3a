"""The renderer of charts: it starts threads of its own, once in a process, and keeps them."""

from __future__ import annotations

import pytest

from varsim.charts import rendering


@pytest.fixture(scope="session")
def renderer() -> None:
    """Start the renderer before a test, so that its threads and sockets are no leak of the test."""
    mark = {"mark": "point", "data": {"values": [{}]}}
    rendering.svg(mark)
