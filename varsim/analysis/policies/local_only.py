"""NONE promises that components stay on their replicas."""

from __future__ import annotations

from typing import Final

from varsim.analysis.synchronization_promise import SynchronizationPromise

PROMISE: Final = SynchronizationPromise(manual=True)
