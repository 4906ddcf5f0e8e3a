"""ON_WRITE promises that all components hold one value after every write."""

from __future__ import annotations

from typing import Final

from varsim.analysis.synchronization_promise import SynchronizationPromise

PROMISE: Final = SynchronizationPromise(mirrored=True)
