"""`tf.train.Checkpoint`: the values saved and restored, and the warnings and errors."""

from __future__ import annotations

import gc
import sys
from typing import Any

import numpy as np
import pytest

import varsim as tf
from tests.replica_context import replica_id
from varsim.errors import CheckpointError, ContextError, UnmatchedCheckpoint

SYNC, AGGREGATION = tf.VariableSynchronization, tf.VariableAggregation


def mirrored(count: int) -> Any:
    return tf.distribute.MirroredStrategy([f"cpu:{i}" for i in range(count)])


def four_kinds(strategy: Any) -> dict[str, Any]:
    """Return four kinds of variables after a step; components of ON_READ variables may differ."""
    on_read = SYNC.ON_READ
    with strategy.scope():
        made = {
            "weight": tf.Variable(0.0, name="weight", aggregation=AGGREGATION.MEAN),
            "seen": tf.Variable(
                0, name="seen", synchronization=on_read, aggregation=AGGREGATION.SUM
            ),
            "moving": tf.Variable(
                0.0, name="moving", synchronization=on_read, aggregation=AGGREGATION.MEAN
            ),
            "state": tf.Variable([0.0, 0.0], name="state", synchronization=on_read),
        }
    train(strategy, made)
    return made


def line_here() -> int:
    """Return the number of the line that calls this function."""
    return sys._getframe(1).f_lineno


def train(strategy: Any, made: dict[str, Any]) -> None:
    def step() -> None:
        me = replica_id()
        made["weight"].assign_add(np.float32(me + 1))
        made["seen"].assign_add(me + 3)
        made["moving"].assign_add(np.float32(me * 2.0))
        made["state"].assign_add(np.array([me, 0.5], np.float32))

    strategy.run(step)


def components(variable: Any) -> list[Any]:
    return [part.numpy().tolist() for part in variable.values]


def state_of(made: dict[str, Any]) -> dict[str, list[Any]]:
    return {name: components(variable) for name, variable in made.items()}


# ---------------------------------------------------------------- values


def test_exact_saves_and_restores_every_component_of_all_four_kinds(strategy, tmp_path):
    made = four_kinds(strategy)
    before = state_of(made)
    checkpoint = tf.train.Checkpoint(**made)
    path = checkpoint.save(tmp_path / "c", exact=True)
    train(strategy, made)
    assert before != state_of(made)

    checkpoint.restore(path).assert_consumed()

    assert before == state_of(made)
    assert [3, 4] == before["seen"]


def test_a_variable_without_an_aggregation_can_only_be_saved_with_exact(strategy, tmp_path):
    made = four_kinds(strategy)

    with pytest.raises(ValueError, match=r"'state' cannot be saved.*(.|\n)*exact=True"):
        tf.train.Checkpoint(**made).write(tmp_path / "c")
    assert [] == list(tmp_path.iterdir())


def test_a_lost_remainder_of_a_sum_causes_a_warning(strategy, tmp_path):
    seen = four_kinds(strategy)["seen"]
    checkpoint = tf.train.Checkpoint(seen=seen)
    path = checkpoint.save(tmp_path / "c")

    with pytest.warns(tf.VarsimWarning, match="sum 7.*each of the 2 replicas.*3.*reads 6"):
        checkpoint.restore(path)

    assert [3, 3] == components(seen)


def test_another_number_of_replicas_causes_a_warning(simulated, tmp_path):
    path = tf.train.Checkpoint(**four_kinds(mirrored(3))).write(tmp_path / "c", exact=True)
    made = four_kinds(mirrored(2))

    with pytest.warns(tf.VarsimWarning) as told:
        tf.train.Checkpoint(**made).read(path).assert_consumed()

    assert [2.0, 2.0] == components(made["weight"])  # the mean of 1, 2, 3
    assert [6, 6] == components(made["seen"])
    assert [2.0, 2.0] == components(made["moving"])
    assert [[0.0, 0.5], [1.0, 0.5]] == components(made["state"])
    (text,) = {str(one.message) for one in told}
    assert "saved with 3 replicas, and is restored with 2 replicas" in text
    assert "seen: the sum 12 is divided over 2" in text
    assert "state: replicas 0 to 1 get their own components" in text
    assert "the components of replicas 2 to 2 are dropped" in text


def test_a_sum_of_integers_with_exact_keeps_its_remainder(simulated, tmp_path):
    path = tf.train.Checkpoint(seen=four_kinds(mirrored(3))["seen"]).write(
        tmp_path / "c", exact=True
    )
    strategy = mirrored(5)
    seen = four_kinds(strategy)["seen"]

    with pytest.warns(tf.VarsimWarning, match="replica 0 gets the remainder"):
        tf.train.Checkpoint(seen=seen).read(path)

    assert [4, 2, 2, 2, 2] == components(seen)
    assert 12 == seen.numpy()


def test_an_initial_value_of_a_sum_causes_a_warning(strategy):
    with pytest.warns(tf.VarsimWarning, match=r"'seen': each of the 2.* 36, .*reads 72 at first"):
        strategy_variable(strategy, 36, "seen")
    with strategy.scope():  # no warning: a MEAN does not add up the initial values
        tf.Variable(36.0, synchronization=SYNC.ON_READ, aggregation=AGGREGATION.MEAN)


def strategy_variable(strategy: Any, value: Any, name: str) -> Any:
    with strategy.scope():
        return tf.Variable(
            value, name=name, synchronization=SYNC.ON_READ, aggregation=AGGREGATION.SUM
        )


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "complex128", "bool", "uint16"])
def test_values_of_every_dtype_are_saved_and_restored(strategy, tmp_path, dtype):
    pytest.importorskip("ml_dtypes")
    with strategy.scope():
        v = tf.Variable(tf.cast([[0, 1, 1], [1, 0, 1]], getattr(tf, dtype, dtype)))
        empty = tf.Variable(tf.zeros((0, 2), getattr(tf, dtype, dtype)))
    before = v.numpy()
    path = tf.train.Checkpoint(v=v, empty=empty).write(tmp_path / "c")
    v.assign(tf.cast(np.zeros((2, 3)), before.dtype))

    tf.train.Checkpoint(v=v, empty=empty).read(path).assert_consumed()

    assert before.tobytes() == v.numpy().tobytes()


def test_a_restore_is_a_write_of_the_program(simulated, tmp_path):
    """The judge of the record finds no fault, and the record has the restored values."""
    from varsim.analysis.outcome import Outcome, overall
    from varsim.analysis.verdict import judge
    from varsim.tracing.history import open_history
    from varsim.tracing.merge import merge
    from varsim.tracing.trace import TraceOptions

    traces = tmp_path / "trace"
    traces.mkdir()
    with tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], trace=TraceOptions(traces)) as strategy:
        made = four_kinds(strategy)
        path = strategy.save(tmp_path / "all")
        train(strategy, made)
        line = line_here() + 1
        strategy.restore(path)
        assert [3, 4] == components(made["seen"])

    merge(traces, tmp_path / "history.db")
    with open_history(tmp_path / "history.db") as history:
        verdicts = judge(history)
        restored = [
            event
            for event in history.events()
            if event.kind == "write" and event.location.endswith(f":{line}")
        ]
    assert Outcome.VALID is overall(verdicts)
    ids = [variable.spec.variable_id for variable in made.values()]
    assert {*ids} == {event.variable for event in restored}
    assert [0, 1] == [event.replica for event in restored if event.variable == ids[1]]


# ---------------------------------------------------------------- the graph of objects


class Layer:
    def __init__(self, strategy: Any) -> None:
        with strategy.scope():
            self.kernel = tf.Variable([1.0, 2.0])
            self.parts = [tf.Variable(3.0), {"bias": tf.Variable(4.0)}]
        self.rng = np.random.default_rng(0)
        self.itself = self


def values_of(layer: Layer) -> list[Any]:
    first: Any
    second: Any
    first, second = layer.parts
    return [layer.kernel.numpy().tolist(), float(first.numpy()), float(second["bias"].numpy())]


def test_attributes_lists_and_dicts_are_followed_by_name(strategy, tmp_path):
    from safetensors.numpy import load_file

    layer = Layer(strategy)
    path = tf.train.Checkpoint(layer=layer).write(tmp_path / "c")
    other = Layer(strategy)
    other.kernel.assign([0.0, 0.0])
    other.parts[1]["bias"].assign(0.0)

    tf.train.Checkpoint(layer=other).read(path).assert_consumed()

    assert values_of(layer) == values_of(other)
    assert {
        "layer/kernel/.ATTRIBUTES/VARIABLE_VALUE",
        "layer/parts/0/.ATTRIBUTES/VARIABLE_VALUE",
        "layer/parts/1/bias/.ATTRIBUTES/VARIABLE_VALUE",
    } == set(load_file(f"{path}.safetensors"))


def test_a_variable_created_later_is_restored_when_it_becomes_an_attribute(strategy, tmp_path):
    layer = Layer(strategy)
    layer.kernel.assign([7.0, 8.0])
    path = tf.train.Checkpoint(a=layer, b=layer).write(tmp_path / "c")
    checkpoint = tf.train.Checkpoint()
    status = checkpoint.read(path)
    later = Layer(strategy)

    checkpoint.a = later

    assert [7.0, 8.0] == later.kernel.numpy().tolist()
    status.assert_consumed()  # b is the same object as a


def test_the_status_restores_variables_that_are_created_later(strategy, tmp_path):
    class Model:
        pass

    model: Any = Model()
    with strategy.scope():
        saved = tf.Variable(5.0)
    path = tf.train.Checkpoint(model={"w": saved}).write(tmp_path / "c")
    status = tf.train.Checkpoint(model=model).read(path)
    with strategy.scope():
        model.w = tf.Variable(0.0)

    status.assert_consumed()

    assert 5.0 == model.w.numpy()


def test_a_checkpoint_refuses_objects_that_cannot_contain_variables(strategy):
    with pytest.raises(ValueError, match=r"Checkpoint\(step=5\).*int.*use tf.Variable\(5\)"):
        tf.train.Checkpoint(step=5)
    with pytest.raises(CheckpointError, match="under the key 3: use strings"):
        tf.train.Checkpoint(v={3: tf.Variable(1.0)}).write("never")
    with pytest.raises(CheckpointError, match="nothing to save"):
        tf.train.Checkpoint(v={}).write("never")


# ---------------------------------------------------------------- values that do not match


def test_a_value_without_a_variable_is_reported(strategy, tmp_path):
    path = tf.train.Checkpoint(a=tf.Variable(1.0), b=tf.Variable(2.0)).write(tmp_path / "c")
    checkpoint = tf.train.Checkpoint(a=tf.Variable(0.0))

    status = checkpoint.read(path)

    with pytest.raises(AssertionError, match="no object of the program has taken 'b'"):
        status.assert_consumed()
    status.assert_existing_objects_matched()  # accepts that 'b' is not used
    other = tf.train.Checkpoint(a=tf.Variable(0.0))
    other.read(path)
    objects = [other]
    del other
    with pytest.warns(tf.VarsimWarning, match="only in part: no object.*'b'.*expect_partial"):
        objects.clear()
    other = tf.train.Checkpoint(a=tf.Variable(0.0))
    other.read(path).expect_partial()
    del other


def test_a_variable_without_a_value_is_reported(tmp_path):
    path = tf.train.Checkpoint(a=tf.Variable(1.0)).write(tmp_path / "c")
    checkpoint = tf.train.Checkpoint(a=tf.Variable(0.0), new=tf.Variable(0.0))

    with pytest.warns(tf.VarsimWarning, match="no value for 'new'"):
        status = checkpoint.read(path)

    with pytest.raises(UnmatchedCheckpoint, match="no value for 'new'"):
        status.assert_existing_objects_matched()
    status.assert_nontrivial_match()


def test_nothing_is_changed_if_one_variable_does_not_fit(strategy, tmp_path):
    path = tf.train.Checkpoint(a=tf.Variable(1.0), b=tf.Variable([1.0])).write(tmp_path / "c")
    a = tf.Variable(0.0)

    with pytest.raises(ValueError, match=r"'b' cannot be restored.*\(1,\).*shape \(2,\)"):
        tf.train.Checkpoint(a=a, b=tf.Variable([0.0, 0.0])).read(path)
    with pytest.raises(ValueError, match=r"dtype float32, and variable .* dtype int32"):
        tf.train.Checkpoint(a=a, b=tf.Variable([0])).read(path)
    assert 0.0 == a.numpy()


def test_all_variables_of_a_strategy_are_matched_by_name(strategy, tmp_path):
    made = four_kinds(strategy)
    before = state_of(made)
    path = strategy.save(tmp_path / "all")
    train(strategy, made)

    strategy.restore(path)
    assert before == state_of(made)

    extra = strategy_variable(strategy, 0, "seen")
    with pytest.raises(UnmatchedCheckpoint, match="no value for 'seen_1'"):
        strategy.restore(path)
    del made["moving"], extra
    gc.collect()
    with pytest.raises(UnmatchedCheckpoint, match="has taken 'moving'"):
        strategy.restore(path)


# ---------------------------------------------------------------- replica context


def test_replicas_cannot_save_or_restore(strategy, tmp_path):
    checkpoint = tf.train.Checkpoint(**four_kinds(strategy))
    path = checkpoint.write(tmp_path / "c", exact=True)
    keeper = tf.train.CheckpointManager(checkpoint, tmp_path, 2)

    def only_first() -> None:
        if replica_id() == 0:
            checkpoint.save(tmp_path / "c")

    with pytest.raises(ContextError, match=r"on replica 0 of 2.*same file.*\n  Call it outside"):
        strategy.run(lambda: checkpoint.save(tmp_path / "c"))
    with pytest.raises(RuntimeError, match="alone, the others do not take part"):
        strategy.run(only_first)
    with pytest.raises(RuntimeError, match="needs cross-replica context"):
        strategy.run(lambda: checkpoint.restore(path))
    with pytest.raises(RuntimeError, match="needs cross-replica context"):
        strategy.run(keeper.save)
    with pytest.raises(RuntimeError, match="needs cross-replica context"):
        strategy.run(lambda: strategy.save(path))
    assert ["c.safetensors"] == [file.name for file in tmp_path.iterdir()]


# ---------------------------------------------------------------- series


def test_the_counter_numbers_the_files_and_is_restored(tmp_path):
    v = tf.Variable(1.0)
    checkpoint = tf.train.Checkpoint(v=v)
    assert f"{tmp_path}/c-1" == checkpoint.save(tmp_path / "c")
    path = checkpoint.save(tmp_path / "c")
    again = tf.train.Checkpoint(v=v)

    again.restore(path).assert_consumed()

    assert 2 == again.save_counter.numpy()
    assert f"{tmp_path}/c-3" == again.save(tmp_path / "c") == tf.train.latest_checkpoint(tmp_path)
    assert again.restore(None) is not None


def test_older_checkpoints_are_deleted(tmp_path):
    v = tf.Variable(1.0)
    keeper = tf.train.CheckpointManager(tf.train.Checkpoint(v=v), tmp_path, max_to_keep=2)
    for value in range(4):
        v.assign(value)
        keeper.save()

    assert [f"{tmp_path}/ckpt-3", f"{tmp_path}/ckpt-4"] == keeper.checkpoints
    files = {file.name for file in tmp_path.iterdir()}
    assert {"checkpoint", "ckpt-3.safetensors", "ckpt-4.safetensors"} == files
    later = tf.train.CheckpointManager(tf.train.Checkpoint(v=v), tmp_path, max_to_keep=1)
    v.assign(-1.0)
    assert f"{tmp_path}/ckpt-4" == later.restore_or_initialize()
    assert 3.0 == v.numpy()
    assert f"{tmp_path}/ckpt-5" == later.save()
    assert [f"{tmp_path}/ckpt-5"] == later.checkpoints


def test_a_manager_saves_at_its_interval_or_calls_the_initializer(tmp_path):
    step, called = tf.Variable(0), []
    keeper = tf.train.CheckpointManager(
        tf.train.Checkpoint(step=step),
        tmp_path,
        None,
        step_counter=step,
        checkpoint_interval=2,
        init_fn=lambda: called.append(True),
    )
    assert keeper.restore_or_initialize() is None
    assert [True] == called
    saved = []
    for _ in range(5):
        saved.append(keeper.save() is not None)
        step.assign_add(1)

    assert [True, False, True, False, True] == saved
    with pytest.raises(ValueError, match="max_to_keep=0"):
        tf.train.CheckpointManager(tf.train.Checkpoint(step=step), tmp_path, 0)
    with pytest.raises(ValueError, match="needs step_counter"):
        tf.train.CheckpointManager(
            tf.train.Checkpoint(step=step), tmp_path, 1, checkpoint_interval=2
        )


# ---------------------------------------------------------------- damaged files


@pytest.fixture
def two_saves(tmp_path):
    """Save 1.0 as c-1 and 2.0 as c-2; provide the variable, the checkpoint and the file of c-2."""
    v = tf.Variable([1.0] * 50)
    checkpoint = tf.train.Checkpoint(v=v)
    checkpoint.save(tmp_path / "c")
    v.assign([2.0] * 50)
    checkpoint.save(tmp_path / "c")
    return v, checkpoint, tmp_path / "c-2.safetensors"


@pytest.mark.parametrize("how", ["torn", "altered", "empty", "name", "gone"])
def test_the_previous_checkpoint_replaces_a_damaged_one(two_saves, tmp_path, how):
    v, checkpoint, file = two_saves
    contents = bytearray(file.read_bytes())
    match how:
        case "torn":
            del contents[-10:]
        case "altered":
            contents[-10] ^= 1
        case "empty":
            contents.clear()
        case "name":
            at = contents.index(b"Variable")
            contents[at : at + 3] = b"var"
    file.write_bytes(contents)
    if how == "gone":
        file.unlink()

    with pytest.warns(tf.VarsimWarning, match=r"c-2.*; the checkpoint before it is used: .*c-1"):
        path = tf.train.latest_checkpoint(tmp_path)
    checkpoint.restore(path)

    assert 1.0 == v.numpy()[0]
    with pytest.raises(CheckpointError, match="no checkpoint" if how == "gone" else "is damaged"):
        checkpoint.restore(tmp_path / "c-2")


def test_names_of_files_replace_a_damaged_list_of_checkpoints(two_saves, tmp_path):
    (tmp_path / "checkpoint").write_bytes(b"\xff\x00")
    assert f"{tmp_path}/c-2" == tf.train.latest_checkpoint(tmp_path)

    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "../../etc/c-9"\n')
    assert f"{tmp_path}/c-2" == tf.train.latest_checkpoint(tmp_path)

    (tmp_path / "checkpoint").unlink()
    assert tf.train.latest_checkpoint(tmp_path) is None


def test_a_file_that_is_not_a_checkpoint_is_refused(tmp_path):
    from safetensors.numpy import save_file

    v = tf.Variable([1.0])
    checkpoint = tf.train.Checkpoint(v=v)
    other = tmp_path / "other.safetensors"
    save_file({"v": np.zeros(1, np.float32)}, other)
    with pytest.raises(CheckpointError, match="not a checkpoint of varsim: it has no description"):
        checkpoint.read(other)
    other.write_bytes((2**40).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="is damaged: it is not complete"):
        checkpoint.read(other)
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=r"folder.*cannot be read: Is a directory"):
        checkpoint.read(tmp_path / "folder")
    with pytest.raises(CheckpointError, match=r"there is no checkpoint .*none.*the folder has"):
        checkpoint.read(tmp_path / "none")
    with pytest.raises(CheckpointError, match=r"cannot be written: (File exists|Not a directory)"):
        checkpoint.write(other / "c")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(version=9), "of version 9"),
        (lambda d: d.update(nodes=[]), "no objects"),
        (lambda d: d.update(variables={}), "variables is not of type list"),
        (lambda d: d["nodes"][0]["children"].update(v=7), "child that does not exist"),
        (lambda d: d["nodes"][1].update(variable=True), "not of type int"),
        (lambda d: d["variables"][0].update(replicas=10**9, kept="each"), "1000000000 replicas"),
        (lambda d: d["variables"][0].update(dtype="object"), "no variable can have dtype"),
        (lambda d: d["variables"][0].update(dtype="int32"), "described as int32"),
        (lambda d: d["variables"][0].update(key="w"), "is missing"),
        (lambda d: d["variables"][0].update(aggregation="x"), "no aggregation 'x'"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path, change, said):
    from varsim.distribute.checkpoints import archive

    checkpoint = tf.train.Checkpoint(v=tf.Variable([1.0]))
    path = checkpoint.write(tmp_path / "c")
    found = archive.read(path)
    change(found.document)
    _write_unchecked(path, found)

    with pytest.raises(CheckpointError, match=said):
        checkpoint.read(path)


def _write_unchecked(path: str, found: Any) -> None:
    """Write a file whose description is wrong and whose hash is right."""
    from varsim.distribute.checkpoints import archive

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "VERSION", found.document["version"])
        archive.write(path, found)
