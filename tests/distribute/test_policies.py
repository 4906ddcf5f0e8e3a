"""Custom synchronizations: varsim finds their policies by name, or the program defines them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.distribute.policies import (
    BUILT_IN,
    POLICIES,
    know,
    parse_synchronization,
    policy_named,
    synchronization_of,
)
from varsim.errors import AggregationError, ConfigError, PerReplicaError, UnsupportedError
from varsim.spec import (
    CustomSynchronization,
    Operation,
    Rows,
    VariableAggregation,
    VariableSynchronization,
    synchronization_named,
)
from varsim.sync.policies import custom, on_read
from varsim.sync.policies.cells import NO_ROWS, Broadcast, Cell, Local, Refuse
from varsim.sync.policies.custom import CustomPolicy, form_of, how_to_write, problem_of
from varsim.sync.policies.policy import on_every_write, rows
from varsim.testing import simulated_cluster
from varsim.texts.modes import FORMS, TENSORFLOW

MEAN, SUM = VariableAggregation.MEAN, VariableAggregation.SUM


@dataclass(frozen=True)
class OnReadMean(CustomPolicy):
    """A policy like ON_READ that accepts only MEAN. Its parameter has no effect."""

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
def test_a_text_that_is_not_a_name_is_refused(name):
    with pytest.raises(ValueError, match="invalid name"):
        synchronization_named(name)


def test_a_policy_that_is_not_installed_is_an_error():
    for look_up in (
        policy_named,
        parse_synchronization,
        lambda name: know(CustomSynchronization(name)),
    ):
        with pytest.raises(ConfigError, match="'acme:3' is not a synchronization"):
            look_up("acme:3")


def test_a_process_without_the_package_of_a_policy_names_the_package():
    with pytest.raises(ConfigError, match="not installed in this process: install acme-policies 2"):
        know(CustomSynchronization("acme:3", "acme-policies 2.1"))


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


# ---------------------------------------------------------------- sparse writes


@dataclass(frozen=True, slots=True)
class Doubled(Cell):
    """A local write of twice the given value; the value can also be rows."""

    writes_itself: ClassVar[bool] = True

    def write(self, replica, variable, operation, operand, location):
        if isinstance(operand, Rows):
            doubled = Rows(operand.indices, operand.values * 2)
        else:
            doubled = operand * 2
        replica.write_locally(variable, operation, doubled)
        return ()

    def for_rows(self, operation, aggregation):
        return self if operation is Operation.SCATTER_ADD else Refuse(NO_ROWS)


@dataclass(frozen=True)
class InTable(CustomPolicy):
    """A policy whose cell for writes on replicas is an attribute of the class."""

    keyword: ClassVar[str] = "in_table"
    cell: ClassVar[Cell] = Local()

    @property
    def rows(self):
        return rows(
            replica={Operation.READ: Local(), **on_every_write(self.cell)},
            cross_replica={Operation.READ: on_read.Gather(), **on_every_write(Broadcast())},
        )


@dataclass(frozen=True)
class InDoubledTable(InTable):
    """The policy above, with a cell that varsim does not have."""

    keyword: ClassVar[str] = "in_doubled_table"
    cell: ClassVar[Cell] = Doubled()


@pytest.fixture
def table_of():
    """Provide a function that makes a variable of three rows under two replicas."""
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])

        def make(policy):
            with strategy.scope():
                return tf.Variable([0.0, 0.0, 0.0], synchronization=policy, aggregation=MEAN)

        yield make


def components(variable):
    return [one.numpy().tolist() for one in variable.values]


def test_sparse_writes_do_what_the_cell_of_assign_add_does(table_of):
    v = table_of(InTable())

    def step():
        v.scatter_update(tf.IndexedSlices([1.0 + replica_id()], [replica_id()]))

    v.strategy.run(step)
    v.scatter_add(tf.IndexedSlices([5.0, 5.0], [2, 2]))

    assert [[1.0, 0.0, 10.0], [0.0, 2.0, 10.0]] == components(v)


def test_a_programs_cell_decides_about_sparse_writes(table_of):
    v = table_of(InDoubledTable())

    def step(method):
        getattr(v, method)(tf.IndexedSlices([1.0 + replica_id()], [replica_id()]))

    v.strategy.run(step, args=("scatter_add",))

    assert [[2.0, 0.0, 0.0], [0.0, 4.0, 0.0]] == components(v)
    with pytest.raises(UnsupportedError, match="cannot be changed by a sparse write"):
        v.strategy.run(step, args=("scatter_sub",))


def test_rows_of_each_replica_are_refused_where_one_value_is_needed(table_of):
    v = table_of(InTable())
    each = tf.distribute.PerReplica([tf.IndexedSlices([1.0], [i]) for i in range(2)])

    with pytest.raises(PerReplicaError, match="assign in"):
        v.scatter_add(each)

    assert [[0.0] * 3] * 2 == components(v)


# ---------------------------------------------------------------- settings


def test_the_error_for_an_unsuitable_aggregation_names_the_suitable_ones():
    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"])
        with strategy.scope(), pytest.raises(AggregationError, match="it needs MEAN") as caught:
            tf.Variable(0.0, name="v", synchronization=OnReadMean(), aggregation=SUM)

    changes = [fix.change for fix in caught.value.fixes]
    assert "aggregation=MEAN" in changes
    assert "synchronization=ON_READ" in changes


def test_a_policy_of_the_program_is_sent_with_the_spec(monkeypatch):
    synchronization = tf.Variable(0.0, synchronization=OnReadMean(5)).synchronization
    monkeypatch.setattr(custom, "_KNOWN", {})  # in another process, no policy is known

    know(synchronization)

    assert OnReadMean(5) == custom.known(synchronization)


def test_a_programs_own_policy_has_the_file_of_its_class():
    synchronization = synchronization_of(OnReadMean(5))

    assert synchronization.definition
    assert "tests/distribute/test_policies.py" == synchronization.source


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
    assert ("acme-policies 1.0", b"") == (synchronization.source, synchronization.definition)


@pytest.mark.slow
def test_workers_get_a_programs_own_policy():
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
def test_a_replica_creates_variables_with_unused_policies():
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


# ---------------------------------------------------------------- names


def test_the_names_for_help_and_errors_are_those_of_the_policies():
    assert TENSORFLOW == tuple(one.name.lower() for one in tf.VariableSynchronization)
    assert FORMS == {keyword: form_of(POLICIES.load(keyword)) for keyword in BUILT_IN}
    assert all(":" not in FORMS[one] or policy_named(POLICIES.load(one).example) for one in FORMS)


@dataclass(frozen=True)
class Named(CustomPolicy):
    """A policy with two parameters, one of which has a default."""

    keyword: ClassVar[str] = "named"
    first: int
    second: int = 4

    @property
    def rows(self):
        return on_read.POLICY.rows


@pytest.mark.parametrize(
    ("parameters", "problem"),
    [
        ([], "FIRST is missing"),
        (["", "2"], "FIRST is missing"),
        (["1", "x"], "SECOND is 'x', which is not an integer"),
        (["1", "2", "3"], "3 parameters instead of 2"),
    ],
)
def test_parameters_have_the_names_of_the_fields(parameters, problem):
    with pytest.raises((TypeError, ValueError)) as raised:
        Named.parse(parameters)

    assert problem == problem_of(Named, parameters, raised.value)
    assert "Write named:FIRST:SECOND" == how_to_write(Named)
