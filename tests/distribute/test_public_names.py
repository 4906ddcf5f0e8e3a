"""Every public name of TensorFlow 2.21 about variables works, or its error says what to use."""

from __future__ import annotations

import re
from collections import Counter
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from varsim.errors import MissingName, VarsimError
from varsim.texts import missing_names

NAMES = [
    line
    for line in Path(__file__).with_name("tensorflow_names.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]

REFUSES = re.compile(r".*\.count_up_to|<.*>\.(gather_nd|sparse_read)")
"""Methods that exist and refuse every call, as in TensorFlow. They are not counted as working."""


@pytest.fixture
def roots(strategy) -> dict[str, Any]:
    """Return an object for each prefix of the names, the longest prefix first."""
    with strategy.scope():
        mirrored = tf.Variable(1.0)
        on_read = tf.Variable(
            1.0,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )
    return {
        "tf.distribute.MirroredStrategy().extended.": strategy.extended,
        "tf.distribute.ReplicaContext.": tf.distribute.get_replica_context(),
        "tf.distribute.Strategy.": strategy,
        "tf.IndexedSlices.": tf.IndexedSlices([1.0], [0]),
        "tf.Variable.": tf.Variable(1.0),
        "<mirrored variable>.": mirrored,
        "<sync-on-read variable>.": on_read,
        "tf.": tf,
    }


def outcome(name: str, roots: dict[str, Any]) -> str:
    """Use a name, and return the outcome."""
    start = next(root for root in roots if name.startswith(root))
    try:
        found = reduce(getattr, name.removeprefix(start).split("."), roots[start])
        if REFUSES.fullmatch(name):
            found([0])
    except (VarsimError, RuntimeError) as error:
        return "explains" if " " in str(error) else "says nothing"
    except AttributeError:
        return "says nothing"
    return "works"


def test_every_name_works_or_has_an_explanation(roots):
    outcomes = {name: outcome(name, roots) for name in NAMES}
    print("names of TensorFlow 2.21:", dict(Counter(outcomes.values())))

    assert {"works", "explains"} == set(outcomes.values()), outcomes


def test_the_error_for_a_missing_name_says_what_to_use():
    v: Any = tf.Variable(1.0)

    assert not hasattr(v, "handle")
    assert not hasattr(tf.distribute, "TPUStrategy")
    assert not hasattr(tf, "keras")
    with pytest.raises(AttributeError, match=r"varsim has no tf.Variable.handle: .* v.read_value"):
        v.handle  # noqa: B018
    with pytest.raises(MissingName, match=r"no tf\.Variable\.to_proto") as raised:
        v.to_proto()
    assert ("tf.Variable", "to_proto") == (raised.value.owner, raised.value.name)
    with pytest.raises(MissingName, match=r"tf.LocalSDG \(did you mean tf.LocalSGD\?\): it has"):
        getattr(tf, "LocalSDG")  # noqa: B009
    with pytest.raises(MissingName, match=r"\(did you mean tf.distribute.MirroredStrategy\?\)"):
        getattr(tf.distribute, "MirorredStrategy")  # noqa: B009
    for owner, name, home in [
        (tf.distribute, "CentralStorageStrategy", "experimental"),
        (tf.distribute, "ClusterCoordinator", "coordinator"),
        (tf.distribute.experimental, "MirroredStrategy", ""),
    ]:
        said = ".".join(filter(None, ["tf.distribute", home, name]))
        with pytest.raises(MissingName, match=rf"\(did you mean {said}\?\)"):
            getattr(owner, name)
    with pytest.raises(MissingName, match=r"no tf.distribute.experimental.coordinator.Pool"):
        getattr(tf.distribute.experimental.coordinator, "Pool")  # noqa: B009
    with pytest.raises(AttributeError, match=r"tf.distribute.MirroredStrategy\(devices\)"):
        getattr(tf.distribute, "Server")  # noqa: B009


def test_the_error_for_a_per_replica_value_has_a_remedy(strategy):
    with strategy.scope():
        v = tf.Variable(1.0, aggregation=tf.VariableAggregation.SUM)
    each = tf.distribute.PerReplica([1.0, 2.0])

    for value in (each, strategy.extended.reduce_to("SUM", each, v)):
        for name in ("numpy", "shape", "dtype", "name", "device"):
            assert not hasattr(value, name)
            with pytest.raises(MissingName, match=r"one value for each replica; use x\.values"):
                getattr(value, name)
    assert (1.0, (), "Variable:0") == (float(v.numpy()), v.shape, v.name)
    with pytest.raises(MissingName, match=r"before strategy\.experimental_distribute_dataset"):
        strategy.experimental_distribute_dataset([np.ones(2)]).map  # noqa: B018
    with pytest.raises(MissingName, match=r"the rows are in slices\.values"):
        getattr(tf.IndexedSlices([1.0], [0]), "numpy")  # noqa: B009


def test_the_earlier_name_of_run_works(strategy):
    assert 3 == strategy.experimental_run_v2(lambda x, y: x + y, args=(1,), kwargs={"y": 2})


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("reduce_sum", r"np.sum\(x, axis\)"),
        ("GradientTape", "PyTorch or JAX"),
        ("data", "experimental_distribute_dataset"),
        ("keras", "no layers and no models"),
        ("nn", "NumPy, PyTorch or JAX"),
        ("math", "np.exp"),
        ("random", "np.random.default_rng"),
        ("name_that_tensorflow_never_had", "use NumPy"),
    ],
)
def test_errors_for_common_names_of_tensorflow_say_what_to_use(name, instead):
    with pytest.raises(AttributeError, match=f"varsim has no tf.{name}: .*{instead}"):
        getattr(tf, name)


def test_a_name_that_works_has_no_explanation(roots):
    """The tables list only names that varsim does not have."""
    owners = {
        "tf": tf,
        "tf.distribute": tf.distribute,
        "tf.distribute.experimental": tf.distribute.experimental,
        "tf.distribute.Strategy": roots["tf.distribute.Strategy."],
        "tf.Variable": roots["tf.Variable."],
    }

    for owner, held in owners.items():
        for name in missing_names.names_missing_from(owner):
            assert not hasattr(held, name), (owner, name)
