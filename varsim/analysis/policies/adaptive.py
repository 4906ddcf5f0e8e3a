"""Adaptive AUTO promises the values of ON_WRITE, exchanged later."""

from __future__ import annotations

from typing import Final

from varsim.analysis.synchronization_promise import SynchronizationPromise

PROMISE: Final = SynchronizationPromise(mirrored=True, late=True)
