"""The current replica's number, for functions that replicas run.

Workers also import this module, so it must not import pytest.
"""

from __future__ import annotations

import varsim as tf


def replica_id() -> int:
    """Return the number of the current replica."""
    return int(tf.distribute.get_replica_context().replica_id_in_sync_group)
