"""Replays the cases of MultiWorkerMirroredStrategy: every worker runs the whole program.

Workers also import this module, so it must not import pytest.
"""

from __future__ import annotations

import json
import os
from typing import Any

import varsim as tf
from tests.golden.operations import Operations
from tests.golden.programs import PythonProgram
from tests.golden.recorded import Case, CaseOutcome
from varsim.distribute.cluster_resolver import config_of


def on_workers(case: Case, workers: Any) -> CaseOutcome:
    """Run a case in every worker of a strategy, as `varsim exec --spmd` does."""
    record = dict(case.record)
    before = os.environ.get("TF_CONFIG")
    try:
        results = workers.run(_on_worker, args=(json.dumps(record),))
    finally:  # simulated workers share this process, and end in any order
        if before is None:
            os.environ.pop("TF_CONFIG", None)
        else:
            os.environ["TF_CONFIG"] = before
    return CaseOutcome(workers=workers.experimental_local_results(results))


def _on_worker(record: str) -> CaseOutcome:
    case = Case(json.loads(record))
    context = tf.distribute.get_replica_context()
    rank, count = context.replica_id_in_sync_group, context.num_replicas_in_sync
    os.environ["TF_CONFIG"] = config_of(rank, count)  # programs read it in their first lines
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    case = Case({**case.record, "worker": rank})
    if case.is_python:
        return PythonProgram(case, {"s": strategy}).replay()
    return Operations(case, strategy).replay()
