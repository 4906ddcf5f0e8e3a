"""The pages of `varsim explain`: every number and every error is what a cluster gives."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import varsim as tf
from docs import generate, mode_pages
from varsim.distribute.policies import parse_synchronization
from varsim.errors import MismatchError, OperationError, VariableError, VarsimError
from varsim.report.explain import EVERY_AGGREGATION, SHOWN, Page, overview, page
from varsim.report.explain_blocks import Item
from varsim.report.explain_layout import of_overview, of_page
from varsim.report.explain_rows import SparseExample
from varsim.report.explain_text import print_blocks
from varsim.report.explain_troubles import Trouble
from varsim.report.explain_words import DIFFERENCES
from varsim.report.explain_worked import START, WRITTEN, Way, Worked
from varsim.spec import (
    Context,
    Operation,
    Synchronization,
    VariableAggregation,
    VariableSynchronization,
)
from varsim.testing import simulated_cluster
from varsim.texts.policies import text_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *((one, other) for one in SHOWN for other in EVERY_AGGREGATION),
    *(
        (parse_synchronization(one), VariableAggregation.MEAN)
        for one in ("local_sgd:1", "local_sgd:8")
    ),
]
WITH_EXAMPLES = [
    *PAGES,
    *((parse_synchronization("central"), one) for one in EVERY_AGGREGATION),
    *(
        (parse_synchronization(f"bounded_staleness:{bound}"), one)
        for bound in (0, 3)
        for one in (VariableAggregation.SUM, VariableAggregation.MEAN)
    ),
    (parse_synchronization("compressed:local_sgd:8:one_bit"), VariableAggregation.MEAN),
    *(
        (parse_synchronization("compressed:on_write:top_k:0.01"), one)
        for one in (VariableAggregation.SUM, VariableAggregation.MEAN)
    ),
]
REPLICAS = [
    pytest.param(1, marks=pytest.mark.thorough),
    pytest.param(2, marks=pytest.mark.thorough),
    3,
    pytest.param(6, marks=pytest.mark.thorough),
]


def about(
    synchronization: Synchronization, aggregation: VariableAggregation, replicas: int = 2
) -> Page:
    return page(synchronization, [aggregation], replicas)


def text(subject: Page) -> str:
    file = io.StringIO()
    print_blocks(of_page(subject), file)
    return file.getvalue()


def one_line(subject: Page) -> str:
    return " ".join(text(subject).split())


def named(name: str, aggregation: str, replicas: int = 2) -> Page:
    return about(VariableSynchronization[name], VariableAggregation[aggregation], replicas)


# ---------------------------------------------------------------- on a cluster


@contextlib.contextmanager
def cluster(replicas: int) -> Iterator[Any]:
    """Provide a simulated cluster on which AUTO stays AUTO, without warnings."""
    with simulated_cluster(), warnings.catch_warnings():
        warnings.simplefilter("ignore", tf.VarsimWarning)
        devices = [f"cpu:{i}" for i in range(replicas)]
        strategy = tf.distribute.MirroredStrategy(devices, auto="adaptive")
        yield strategy
        strategy.close()


def made(strategy: Any, subject: Page, initial_value: Any = START) -> Any:
    with strategy.scope():
        return tf.Variable(
            initial_value,
            name="v",
            synchronization=subject.synchronization,
            aggregation=subject.aggregations[0],
        )


def in_replicas(strategy: Any, v: Any, operation: Operation) -> list[Any]:
    def step() -> Any:
        if operation is Operation.READ:
            return v.read_value()
        mine = tf.distribute.get_replica_context().replica_id_in_sync_group + 1
        return getattr(v, operation.value)(float(mine), read_value=False)

    return list(strategy.experimental_local_results(strategy.run(step)))


def in_update(strategy: Any, v: Any, operation: Operation) -> list[Any]:
    def step(component: Any, mine: Any) -> Any:
        if operation is Operation.READ:
            return component.read_value()
        getattr(component, operation.value)(float(mine), read_value=False)
        return None

    each = [float(i + 1) for i in range(strategy.num_replicas_in_sync)]
    args = (WRITTEN if has_one_copy(v) else tf.distribute.PerReplica(each),)
    return list(strategy.extended.update(v, step, args=args, group=False))


def from_outside(strategy: Any, v: Any, operation: Operation, way: Way) -> Any:
    if operation is Operation.READ:
        return v.read_value()
    value: Any = WRITTEN
    if way is Way.EACH:
        each = [np.float32(i + 1) for i in range(strategy.num_replicas_in_sync)]
        value = tf.distribute.PerReplica(each)
    read_value = {} if way is Way.PLAINLY else {"read_value": way is not Way.UNREAD}
    getattr(v, operation.value)(value, **read_value)
    return None


def has_one_copy(v: Any) -> bool:
    return not isinstance(v, tf.distribute.DistributedValues)


def done(strategy: Any, v: Any, example: Worked) -> None:
    """Run the program of an example, and check that a read returns its value."""
    operation, reads = example.operation, example.operation is Operation.READ
    if example.context is Context.CROSS_REPLICA:
        value = from_outside(strategy, v, operation, example.way)
        assert not reads or value == example.outside
        return
    inside = in_replicas if example.context is Context.REPLICA else in_update
    values = inside(strategy, v, operation)
    readers = len(values) if has_one_copy(v) else 1
    assert not reads or list(example.components) * readers == values


def messages(strategy: Any) -> int:
    return sum(one.messages for one in strategy.statistics())


def outcome(strategy: Any, subject: Page, example: Worked) -> tuple[Any, ...]:
    """Return the result of an example's program on a cluster."""
    v = made(strategy, subject)
    if example.operation is Operation.READ:
        with contextlib.suppress(OperationError):  # a variable with one copy and no aggregation
            in_replicas(strategy, v, Operation.ASSIGN_ADD)
    before, refused, outside = messages(strategy), None, None
    try:
        done(strategy, v, example)
    except VarsimError as error:
        refused = error
    after = messages(strategy)
    try:
        outside = None if refused else v.read_value()
    except VarsimError:
        outside = None
    end = messages(strategy)
    components = tuple(one.numpy() for one in strategy.experimental_local_results(v))
    if refused is not None:
        assert Path(__file__).name in refused.location
        refused.location = ""  # an example has no location
    return str(refused), components, outside, after - before, end - after


def told(example: Worked) -> tuple[Any, ...]:
    return (
        str(example.refused),
        example.components,
        example.outside,
        example.messages,
        example.read_messages,
    )


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize(("synchronization", "aggregation"), WITH_EXAMPLES)
def test_every_example_of_a_page_has_the_results_of_a_cluster(
    synchronization, aggregation, replicas
):
    """Values and texts of refusals are equal. Numbers of messages equal those of the statistics."""
    subject = about(synchronization, aggregation, replicas)
    examples = [example for section in subject.sections for example in section.examples]

    with cluster(replicas) as strategy:
        for example in examples:
            assert told(example) == outcome(strategy, subject, example), example
    assert 12 <= len(examples)


def sparse_outcome(strategy: Any, subject: Page, example: SparseExample) -> tuple[Any, ...]:
    """Return the result of a sparse write on a cluster."""
    v = made(strategy, subject, np.full(2, START, np.float32))

    def write(indices: list[int], value: float) -> None:
        rows = tf.IndexedSlices(np.full(2, value, np.float32), indices)
        getattr(v, example.operation.value)(rows)

    def step() -> None:
        mine = tf.distribute.get_replica_context().replica_id_in_sync_group
        write([0, mine % 2], mine + 1)

    refused = None
    try:
        strategy.run(step) if example.context is Context.REPLICA else write([0, 0], WRITTEN)
    except VarsimError as error:
        error.location = ""  # an example has no location
        refused = error
    account = next(one for one in strategy.statistics() if one.variable_id == v.spec.variable_id)
    with contextlib.suppress(VarsimError):
        v.read_value()  # this exchanges deferred writes
    components = [one.numpy().tolist() for one in strategy.experimental_local_results(v)]
    return str(refused), components, account.messages, account.size_bytes


@pytest.mark.parametrize("replicas", REPLICAS)
@pytest.mark.parametrize(("synchronization", "aggregation"), WITH_EXAMPLES)
def test_every_sparse_example_has_the_results_of_a_cluster(synchronization, aggregation, replicas):
    """Values, texts of refusals, messages and bytes are equal."""
    subject = about(synchronization, aggregation, replicas)

    with cluster(replicas) as strategy:
        for example in subject.sparse_examples:
            components = [one.tolist() for one in example.components]
            expected = str(example.refused), components, example.messages, example.size_bytes
            assert expected == sparse_outcome(strategy, subject, example), example
    assert 8 == len(subject.sparse_examples)


def test_the_page_shows_the_bytes_of_a_sparse_write():
    said = one_line(named("ON_WRITE", "SUM"))

    assert "scatter_add all 14 12 4 144" in said  # 2 rows from each replica, and 4 to each
    assert (
        "v.scatter_add(tf.IndexedSlices(changes, indices)): every component gets the rows" in said
    )


def warned_by(subject: Page) -> list[str]:
    """Return the warnings that a cluster gives when a variable is created and assigned."""
    with simulated_cluster(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        devices = [f"cpu:{i}" for i in range(subject.num_replicas)]
        strategy = tf.distribute.MirroredStrategy(devices, auto="adaptive")
        v = made(strategy, subject)
        in_replicas(strategy, v, Operation.ASSIGN)
        strategy.close()
    said = [" ".join(str(one.message).split()) for one in caught]
    warning = text_of(subject.synchronization).warning  # the text has the variable's name before it
    return [warning if warning and text == f"variable 'v': {warning}" else text for text in said]


@pytest.mark.parametrize("replicas", [1, 2])
@pytest.mark.parametrize(("synchronization", "aggregation"), PAGES)
def test_every_warning_equals_that_of_a_cluster(synchronization, aggregation, replicas):
    subject = about(synchronization, aggregation, replicas)
    about_integers = "of an integer that is not a multiple of the number of replicas"
    expected = [one.text for one in subject.warnings if one.when != about_integers]

    assert expected == warned_by(subject)


def test_the_page_names_the_lost_remainder_of_an_integer():
    subject = named("ON_READ", "SUM", replicas=2)
    (warning,) = (one for one in subject.warnings if "integer" in one.when)

    with cluster(2) as strategy:
        v = made(strategy, subject, 0)
        warnings.simplefilter("always")
        with pytest.warns(tf.VarsimWarning, match="loses its remainder"):
            v.assign(7)
        parts, total = [int(one.numpy()) for one in v.values], int(v.numpy())

    assert ([3, 3], 6) == (parts, total)
    assert "assign(7) in cross-replica context to an int32 variable" in warning.text
    assert "gives each of 2 components 3, and a read then returns 6:" in warning.text


# ---------------------------------------------------------------- errors


def raised(act: Any) -> tuple[str, str]:
    """Return the class of the error, and its first sentence."""
    with pytest.raises(VariableError) as caught:
        act()
    return type(caught.value).__name__, caught.value.problem


def find(subject: Page, when: str) -> Trouble:
    (trouble,) = (one for one in subject.errors if one.when == when)
    return trouble


@pytest.mark.parametrize(("synchronization", "aggregation"), PAGES)
def test_errors_for_bools_equal_those_of_a_cluster(synchronization, aggregation):
    """The errors are those of writes in replica context, and of the cross-replica read."""
    subject = about(synchronization, aggregation)
    claimed = [one for one in subject.errors if one.when.startswith("of dtype bool")]

    with cluster(2) as strategy:
        if aggregation is VariableAggregation.MEAN:
            kind, said = raised(lambda: made(strategy, subject, 1))
            trouble = find(subject, "created with an integer or bool dtype")
            assert (kind, True) == (trouble.kind, said in trouble.text)
            assert [] == claimed
            return
        v = made(strategy, subject, False)
        for trouble in claimed:
            for operation in trouble.operations:
                kind, _ = raised(lambda: bool_operation(strategy, v, operation))  # noqa: B023
                assert trouble.kind == kind


def bool_operation(strategy: Any, v: Any, operation: Operation) -> Any:
    if operation is Operation.READ:
        return v.read_value()
    return strategy.run(lambda: getattr(v, operation.value)(True, read_value=False))


@pytest.mark.parametrize("aggregation", ["SUM", "MEAN", "ONLY_FIRST_REPLICA"])
def test_the_mismatch_has_the_text_of_the_cluster(aggregation):
    subject = named("ON_WRITE", aggregation)
    trouble = find(subject, "when replicas do different things")

    with cluster(2) as strategy:
        v = made(strategy, subject)

        def differently() -> None:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            (v.assign if first else v.assign_add)(1.0)

        with pytest.raises(MismatchError) as caught:
            strategy.run(differently)

    said = str(caught.value).partition("\n  - ")[0].splitlines()
    ways = "; ".join(map(str, caught.value.fixes))
    expected = f"{said[0].removesuffix(':')}. {said[-1].strip()} Possible fixes: {ways}."
    assert expected == trouble.text


def test_strict_refuses_synchronization_none_with_the_text_of_its_page():
    subject = named("NONE", "SUM")
    trouble = find(subject, "created with strict=True")

    with simulated_cluster():
        strategy = tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"], strict=True)
        kind, said = raised(lambda: made(strategy, subject))
        strategy.close()

    assert (trouble.kind, True) == (kind, said in trouble.text)


# ---------------------------------------------------------------- beside the examples


@pytest.mark.parametrize(("synchronization", "aggregation"), PAGES)
def test_the_first_read_equals_that_of_a_cluster(synchronization, aggregation):
    """With ON_READ and SUM on N replicas, the first read is N times the initial value."""
    subject = about(synchronization, aggregation, replicas=3)

    with cluster(3) as strategy:
        v = made(strategy, subject)
        try:
            read = v.read_value()
        except VariableError:
            read = None
    assert subject.fresh == (read,)


def test_the_page_of_on_read_sum_has_the_first_read():
    assert "Before any write, a cross-replica read returns 30." in one_line(
        named("ON_READ", "SUM", replicas=3)
    )


@pytest.mark.parametrize(("operation", "expected"), [("assign_add", 4 * 3), ("assign", 3)])
def test_an_add_exchanges_deferred_writes_and_an_assign_drops_them(operation, expected):

    subject = named("AUTO", "SUM", replicas=3)

    with cluster(3) as strategy:
        v = made(strategy, subject)
        in_replicas(strategy, v, Operation.ASSIGN_ADD)
        getattr(v, operation)(WRITTEN)
        assert expected == messages(strategy)
    assert (
        "exchanged before the write. An assign of one value drops the deferred writes instead."
        in one_line(subject)
    )


def test_a_per_replica_value_is_refused_as_the_page_says():
    subject = named("ON_READ", "MEAN")

    with cluster(2) as strategy:
        v = made(strategy, subject)
        with pytest.raises(TypeError, match=r"assign in strategy\.run"):
            v.assign(tf.distribute.PerReplica([1.0, 2.0]))
    assert "A per-replica value is refused" in one_line(subject)


# ---------------------------------------------------------------- the texts of pages


def test_a_page_shows_components_results_refusals_and_differences():
    said = one_line(named("ON_READ", "SUM"))

    assert said.startswith("ON_READ + SUM ON_READ: each replica has its own value; a cross")
    assert "assign_add 11 12 23 0 4" in said
    assert "assign_add refused" in said
    assert "v.assign(v.read_value() + 6.0): then reads 26.0;" in said
    assert "v.assign_add(6.0) inside strategy.run: then reads 32.0;" in said
    assert "assign with SUM" not in said  # the page has only one aggregation
    assert "TensorFlow does the same, except for D7 (see below)." in said
    assert "D7: TensorFlow converts a Python number to float32" in said


def test_an_effect_that_several_operations_have_is_printed_once():
    said = one_line(named("ON_WRITE", "MEAN"))

    assert 1 == said.count("assign, assign_add and assign_sub: The write is a collective")
    for where in ("replica context", "cross-replica context"):
        assert 1 == said.count(f", scatter_min, scatter_max and scatter_update in {where}: ")


def test_the_page_of_auto_says_when_auto_becomes_on_write():
    said = one_line(named("AUTO", "SUM", replicas=3))

    assert "A variable created with AUTO becomes ON_WRITE" in said
    assert "(in YAML auto: adaptive, or varsim run --auto adaptive)" in said
    assert "assign_add 16 16 16" not in said
    assert "assign_add all 16 16 0 9" in said  # the read sends 3 messages for each replica


@pytest.mark.parametrize(
    "replicas",
    [
        pytest.param(1, marks=pytest.mark.thorough),
        2,
        pytest.param(4, marks=pytest.mark.thorough),
        64,
    ],
)
@pytest.mark.parametrize("synchronization", SHOWN)
def test_a_page_fits_in_80_columns_and_nothing_is_cut(synchronization, replicas):
    """Pages with all aggregations side by side fit, too."""
    said = text(page(synchronization, EVERY_AGGREGATION, replicas))

    assert [] == [line for line in said.splitlines() if len(line) > 80]
    assert [] == [line for line in said.splitlines() if re.search(r"\w…", line)]
    assert [] == re.findall(r"assign_add,$", said, re.MULTILINE)


@pytest.mark.parametrize("replicas", [1, 2, 64])
def test_the_overview_is_one_screen(replicas):
    file = io.StringIO()
    print_blocks(of_overview(overview(replicas)), file)
    lines = file.getvalue().splitlines()

    assert 22 >= len(lines)  # a terminal of 24 lines also shows a hint
    assert 80 >= max(map(len, lines))
    assert [] == [line for line in lines if "ONLY_FIRST_R…" in line]


def test_the_differences_on_pages_are_in_the_document_of_the_semantics():
    text = (ROOT / "docs" / "semantics.md").read_text("utf-8")
    headings = re.findall(r"^### (D\d+): (.*)$", text, re.MULTILINE)

    assert {(key, one.title) for key, one in DIFFERENCES.items()} <= set(headings)


def test_every_difference_from_tensorflow_is_on_a_page():
    pages = [about(one, other) for one, other in PAGES]

    assert set(DIFFERENCES) == {key for one in pages for key in one.differences}


def test_a_page_explains_every_difference_that_it_names():
    for one, other in PAGES:
        subject = about(one, other)
        blocks = list(of_page(subject))
        named_ones = set(re.findall(r"\bD\d+\b", " ".join(map(repr, blocks))))
        told_ones = {one.difference for one in blocks if isinstance(one, Item)} - {""}
        assert named_ones <= told_ones, (one, other)


# ---------------------------------------------------------------- docs/modes


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Make `docs.generate` write into a temporary folder, and return the folder of the pages."""
    folder = tmp_path / "docs" / "modes"
    folder.parent.mkdir()
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    for module in (generate, mode_pages):
        monkeypatch.setattr(module, "FOLDER", folder)
    return folder


@pytest.mark.thorough
def test_stale_missing_and_superfluous_pages_are_found_and_corrected(elsewhere, capsys):
    generate.write_mode_pages()
    assert [] == generate.stale()

    (elsewhere / "auto.md").unlink()
    (elsewhere / "none_sum.md").write_text("something else")
    (elsewhere / "sometimes.md").touch()
    names = ["auto.md", "none_sum.md", "sometimes.md"]
    assert [f"docs/modes/{name}" for name in names] == generate.stale()

    generate.write_mode_pages()
    assert [] == generate.stale()
    assert "removed docs/modes/sometimes.md" in capsys.readouterr().out


def test_each_mode_has_a_page():
    pages = sorted(path.name for path in mode_pages.mode_pages())

    assert 3 * 4 + 1 + 1 + 1 + 1 + 1 + 1 == len(pages)
    assert {"README.md", "auto.md", "on_write_mean.md", "none_only_first_replica.md"} < set(pages)


@pytest.mark.parametrize(
    ("name", "aggregations", "said"),
    [
        ("central", EVERY_AGGREGATION[:1], "the variable is new: replicas cannot write it."),
        ("central", EVERY_AGGREGATION, "with NONE, this write is refused, and a new variable"),
        ("on_write", EVERY_AGGREGATION[:1], "replica i has added i + 1 before the read."),
    ],
)
def test_the_caption_of_a_read_says_whether_the_replicas_have_added(
    name: str, aggregations: tuple[VariableAggregation, ...], said: str
):
    texts = str([*of_page(page(parse_synchronization(name), aggregations, 2))])
    assert 3 == texts.count(said)
