"""Variables of bfloat16 and float8 have TensorFlow's values, and need the package `ml_dtypes`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.distribute.programs import components, create_variable
from tests.dtypes import HAS_ML_DTYPES
from varsim import extension_dtypes
from varsim.errors import MissingDtype
from varsim.testing import simulated_cluster

RECORDED = json.loads((Path(__file__).parent / "bfloat16/answers.json").read_text("utf-8"))
ROWS = (0, 2, 0)
SHAPE = (4, 2)
NAMES = tuple(extension_dtypes.EXTENSION_SIZES)
needs_the_package = pytest.mark.skipif(not HAS_ML_DTYPES, reason="needs ml_dtypes")


def replica_id() -> int:
    return tf.distribute.get_replica_context().replica_id_in_sync_group


def numbers(bits: list[int]) -> np.ndarray:
    return np.array(bits, np.uint16).view(tf.bfloat16)


def bits(value: Any) -> list[int]:
    return np.asarray(value).reshape(-1).view(np.uint16).tolist()


@pytest.fixture(params=[2, 3])
def cluster(request):
    with simulated_cluster():
        yield tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(request.param)])


def cases_of(kind: str, strategy: tf.distribute.Strategy) -> list[dict[str, Any]]:
    return [one for one in RECORDED[kind] if one["replicas"] == strategy.num_replicas_in_sync]


# ---------------------------------------------------------------- comparison with TensorFlow


@needs_the_package
def test_writes_in_bfloat16_equal_those_of_tensorflow_bit_for_bit(cluster):
    """Each sum is a left fold that rounds to bfloat16 at every step."""
    differ = []
    for case in cases_of("writes", cluster):
        v = create_variable(
            cluster,
            numbers(case["start"]).reshape(SHAPE),
            case["synchronization"],
            case["aggregation"],
        )
        values = [numbers(one) for one in case["values"]]

        def write(v=v, values=values, name=case["operation"]):
            value = values[replica_id()].reshape(-1, SHAPE[1])
            sparse = name.startswith("scatter")
            getattr(v, name)(tf.IndexedSlices(value, ROWS) if sparse else value)

        cluster.run(write)
        if bits(v.numpy()) != case["read"]:
            differ.append(case)

    assert [] == differ
    assert 30 == len(cases_of("writes", cluster))


@needs_the_package
def test_reductions_in_bfloat16_equal_those_of_tensorflow_bit_for_bit(cluster):
    """A sum along an axis within one replica's value is computed in float32, and rounded once."""
    for case in cases_of("reductions", cluster):
        values = tf.distribute.PerReplica([numbers(one) for one in case["values"]])
        reduced = cluster.reduce(case["operation"], values, axis=case["axis"])

        assert (case["read"], tf.bfloat16) == (bits(reduced), reduced.dtype)


@needs_the_package
@pytest.mark.parametrize("name", NAMES)
def test_every_extension_dtype_is_written_and_reduced(strategy, name):
    dtype = getattr(tf, name)
    v = create_variable(strategy, np.ones(3, dtype), "ON_WRITE", "MEAN")
    total = create_variable(strategy, tf.zeros(3, name), "ON_READ", "SUM")

    def step():
        share = tf.cast([1.0, 2.0, 4.0], dtype) * dtype.type(replica_id() + 1)
        v.assign_add(share)
        total.assign_add(share)
        v.scatter_sub(tf.IndexedSlices(tf.ones(2, dtype), [0, 0]))
        return tf.distribute.get_replica_context().all_reduce("SUM", share)

    summed = strategy.run(step)
    assert ([3.0, 6.0, 12.0], dtype) == (summed.values[0].tolist(), summed.values[0].dtype)
    assert [[0.5, 4.0, 7.0]] * 2 == components(v)
    assert ([3.0, 6.0, 12.0], dtype) == (total.numpy().tolist(), total.numpy().dtype)
    assert [3.0, 6.0, 12.0] == strategy.reduce("MEAN", summed, axis=None).tolist()


@needs_the_package
@pytest.mark.parametrize(("name", "full"), [*zip(NAMES, ("inf", "nan", "inf"), strict=True)])
def test_a_number_beyond_the_range_is_infinite_or_nan(name, full):
    assert full == str(float(tf.Variable(1e39, dtype=name).numpy()))
    assert full == str(float(tf.Variable(2**200, dtype=name).numpy()))


@needs_the_package
@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_converted_to_the_dtype_of_the_variable(name):
    dtype = getattr(tf, name)
    v = tf.Variable([1, 2.5], dtype=dtype)

    assert [dtype] * 4 == [(v + 1.0).dtype, (0.5 * v).dtype, (v - 1).dtype, (v / v).dtype]
    assert [3.0, 3.0] == v.assign([3, np.float64(3.0)]).numpy().tolist()
    assert 4.0 == v.assign_add([1, 1]).numpy()[0]
    with pytest.raises(ValueError, match=rf"astype\('{name}'\)"):
        v.assign(np.ones(2, np.float32))
    with pytest.raises(TypeError, match=r"cannot hold \[True"):
        v.assign([True, False])


@needs_the_package
def test_the_error_for_an_impossible_dtype_names_the_possible_dtypes():
    import ml_dtypes

    with pytest.raises(TypeError, match=r"only bfloat16, float8_e4m3fn, float8_e5m2 are"):
        tf.Variable(np.ones(2, ml_dtypes.int4))
    with pytest.raises(TypeError, match="cannot hold dtype int4"):
        tf.Variable(1, dtype=ml_dtypes.int4)


@needs_the_package
def test_a_moving_average_has_the_dtype_of_its_variable(strategy):
    v = create_variable(strategy, tf.ones(2, tf.bfloat16), "ON_WRITE", "MEAN")
    average = tf.train.ExponentialMovingAverage(0.5)
    average.apply([v])
    v.assign(tf.cast([3.0, 5.0], tf.bfloat16))
    average.apply([v])

    assert ([2.0, 3.0], tf.bfloat16) == (
        average.average(v).numpy().tolist(),
        average.average(v).dtype,
    )


# ---------------------------------------------------------------- without ml_dtypes


@pytest.fixture
def without_the_package(monkeypatch):
    """Make `import ml_dtypes` fail, as if the package were not installed."""
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    extension_dtypes._extension.cache_clear()
    yield
    extension_dtypes._extension.cache_clear()


@pytest.mark.parametrize("name", NAMES)
def test_the_error_without_the_package_names_the_extra(without_the_package, name):
    sentence = rf"dtype {name} needs the package ml_dtypes, .*varsim-distribute\[ml_dtypes\]$"

    assert not hasattr(tf, name)
    for use in (
        lambda: getattr(tf, name),
        lambda: tf.Variable(1.0, dtype=name),
        lambda: tf.zeros(2, name),
        lambda: tf.cast(1.0, name),
    ):
        with pytest.raises(MissingDtype, match=sentence):
            use()


@needs_the_package
def test_the_package_is_imported_only_for_its_dtypes():
    program = (
        "import sys, numpy as np, varsim as tf\n"
        "v = tf.Variable(np.ones(2, np.float32)); v.assign_add(tf.ones(2)); (v + 1.0).tolist()\n"
        "assert 'ml_dtypes' not in sys.modules\n"
        "tf.bfloat16\n"
        "assert 'ml_dtypes' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
