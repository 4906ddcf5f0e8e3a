"""The committed JSON Schema equals the schema of the code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from locks.installed import why_documents_may_differ
from varsim.experiments.config import Experiment, schema

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.skipif(bool(why_documents_may_differ()), reason=why_documents_may_differ())
def test_the_committed_schema_is_current():
    """`varsim schema > configs/experiment.schema.json` writes it."""
    committed = json.loads((CONFIGS / "experiment.schema.json").read_text("utf-8"))

    assert schema() == committed


def test_every_key_is_described():
    described = schema()["properties"]

    assert Experiment.model_fields.keys() == described.keys()
    assert all(one.get("description") for one in described.values())
    assert "digits" in described["workload"]["anyOf"][0]["enum"]
    assert not schema()["additionalProperties"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_ready_made_experiment_names_the_schema(path: Path):
    first = path.read_text("utf-8").splitlines()[0]

    assert "# yaml-language-server: $schema=experiment.schema.json" == first
