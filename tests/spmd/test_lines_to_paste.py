"""Lines that findings give to paste do what they say in the face of varsim for which they are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import varsim.horovod as hvd
import varsim.torch_distributed as dist
from tests.spmd.conftest import Ranks
from varsim.analysis.findings.comparison import Relation
from varsim.analysis.findings.mean_messages import lines_of_right, mean_of_means
from varsim.texts.faces import Face

VALUES = np.array([2.0, 8.0, 4.0])
EXAMPLES = np.array([1, 2, 5])
WEIGHTS = (0.125, 0.25, 0.625)


def pasted(face: Face, relation: Relation, weights: Any) -> Any:
    """Return the dtype and the value that one rank gets."""
    hvd.init()
    dist.init_process_group("gloo")
    rank = hvd.rank()
    names = {"np": np, "hvd": hvd, "dist": dist, "value": VALUES[rank], "examples": EXAMPLES[rank]}
    exec("\n".join(lines_of_right(relation, weights, "float32", face)), names)
    return str(np.asarray(names["value"]).dtype), round(float(names["value"]), 4)


@pytest.mark.parametrize("face", [Face.HOROVOD, Face.TORCH])
@pytest.mark.parametrize(
    ("relation", "weights", "expected"),
    [
        (Relation.LARGEST, None, 8.0),
        (Relation.GEOMETRIC, None, 4.0),
        (Relation.QUADRATIC, WEIGHTS, np.sqrt(np.average(VALUES**2, weights=EXAMPLES))),
        (Relation.HARMONIC, None, 3 / np.sum(1 / VALUES)),
        (Relation.ROOT_OF_SUM, None, np.sqrt(np.sum(VALUES**2))),
        (Relation.OTHER, WEIGHTS, np.average(VALUES, weights=EXAMPLES)),
    ],
)
def test_the_lines_give_the_single_devices_value(
    ranks: Ranks, face: Face, relation: Relation, weights: Any, expected: float
):
    assert [("float32", round(float(expected), 4))] * 3 == ranks(
        lambda: pasted(face, relation, weights)
    )


@pytest.mark.parametrize("relation", [Relation.LARGEST, Relation.OTHER])
def test_texts_name_functions_of_the_face(relation: Relation):
    said = {face: " ".join(mean_of_means("v", relation, WEIGHTS, face)) for face in Face}

    assert "context.all_reduce(" in said[Face.CONTEXT]
    assert not any("context" in said[face] for face in (Face.HOROVOD, Face.TORCH))
