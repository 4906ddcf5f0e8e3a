"""ON_READ promises that a cross-replica read combines the components."""

from __future__ import annotations

from typing import Final

from varsim.analysis.synchronization_promise import SynchronizationPromise

PROMISE: Final = SynchronizationPromise(gathered=True, manual=True)
