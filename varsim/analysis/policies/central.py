"""Central storage promises one copy, which every write changes."""

from __future__ import annotations

from typing import Final

from varsim.analysis.synchronization_promise import SynchronizationPromise

PROMISE: Final = SynchronizationPromise(mirrored=True, one_copy=True)
