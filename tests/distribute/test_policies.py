"""Policies that TensorFlow does not have are found by name, or defined by the program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import varsim as tf
from varsim.distribute.policies import know, parse_synchronization, policy_named
from varsim.errors import AggregationError, ConfigError
from varsim.spec import (
    CustomSynchronization,
    VariableAggregation,
    VariableSynchronization,
    synchronization_named,
)
from varsim.sync.policies import custom, on_read
from varsim.sync.policies.custom import CustomPolicy
from varsim.testing import simulated_cluster

MEAN, SUM = VariableAggregation.MEAN, VariableAggregation.SUM


@dataclass(frozen=True)
class OnReadMean(CustomPolicy):
    """ON_READ that accepts only MEAN. The parameter of the policy has no effect."""

    keyword: ClassVar[str] = "on_read_mean"
    aggregations: ClassVar[dict[VariableAggregation, VariableAggregation]] = {
        VariableAggregation.NONE: MEAN,
        MEAN: MEAN,
    }
    number: int = 1

    @property
    def rows(self):
        return on_read.POLICY.rows


def test_a_name_is_a_member_or_the_name_of_a_policy():
    assert synchronization_named("ON_READ") is VariableSynchronization.ON_READ
    assert CustomSynchronization("on_read_mean:3") == synchronization_named("on_read_mean:3")


@pytest.mark.parametrize("name", ["", "on read", "8", "a:", "a:1,2", "A"])
def test_other_texts_are_not_names(name):
    with pytest.raises(ValueError, match="invalid name"):
        synchronization_named(name)


def test_a_policy_that_is_not_installed_is_an_error():
    for look_up in (
        policy_named,
        parse_synchronization,
        lambda name: know(CustomSynchronization(name)),
    ):
        with pytest.raises(ConfigError, match=r"invalid synchronization 'acme'"):
            look_up("acme:3")


def test_a_programs_own_policy_decides_what_its_variables_do():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=OnReadMean(3))
        strategy.run(
            lambda: v.assign(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)
        )

        assert "on_read_mean:3" == v.synchronization.name
        assert MEAN is v.aggregation
        assert 1.5 == float(v.read_value())


def test_an_unsuitable_aggregation_is_refused_with_the_suitable_ones():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope(), pytest.raises(AggregationError, match="it needs MEAN") as caught:
            tf.Variable(0.0, name="v", synchronization=OnReadMean(), aggregation=SUM)

    changes = [fix.change for fix in caught.value.fixes]
    assert "aggregation=MEAN" in changes
    assert "synchronization=ON_READ" in changes


def test_a_policy_of_the_program_is_sent_with_the_spec_and_is_then_known(monkeypatch):
    synchronization = tf.Variable(0.0, synchronization=OnReadMean(5)).synchronization
    monkeypatch.setattr(custom, "_KNOWN", {})  # as in another process

    know(synchronization)

    assert OnReadMean(5) == custom.known(synchronization)


def test_another_package_provides_a_policy_and_is_named_in_the_spec(tmp_path, monkeypatch):
    folder = tmp_path / "acme_policies-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policies\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[varsim.policies]\non_read_mean = {__name__}:OnReadMean\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    synchronization = parse_synchronization("on_read_mean:7")

    assert CustomSynchronization("on_read_mean:7") == synchronization
    assert ("acme-policies", b"") == (synchronization.package, synchronization.definition)


@pytest.mark.slow
def test_workers_learn_a_programs_own_policy():
    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    try:
        with strategy.scope():
            v = tf.Variable(0.0, synchronization=OnReadMean(4))
        strategy.run(
            lambda: v.assign(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)
        )
        assert 1.5 == float(v.read_value())
    finally:
        strategy.close()


@pytest.mark.slow
def test_a_replica_creates_variables_with_policies_that_its_program_has_not_used():
    """The replica sends the policies to the program, and the program sends them to all replicas."""

    def step():
        policies = tf.LocalSGD(2), OnReadMean(9)
        made = [tf.Variable(0.0, synchronization=one) for one in policies]
        for _ in range(2):
            for v in made:
                v.assign_add(1.0 + tf.distribute.get_replica_context().replica_id_in_sync_group)
        return tuple(made)

    strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
    try:
        averaged, own = strategy.run(step)
        assert [3.0, 3.0] == [float(one.read_value()) for one in averaged.values]
        assert ("on_read_mean:9", 3.0) == (own.synchronization.name, float(own.read_value()))
    finally:
        strategy.close()
