"""Advice saves messages without changing reads, or corrects mistakes; a replay proves this."""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

from varsim.cli.main import main
from varsim.experiments.config import Experiment
from varsim.experiments.runner import run_experiment
from varsim.report.summary import RunStatus, Summary
from varsim.spec import VariableAggregation, VariableSynchronization
from varsim.testing import simulated_cluster
from varsim.tracing.history import open_history, open_oracle
from varsim.whatif.advice import Advice, _rules, advise
from varsim.whatif.compare import Replays, WhatIf
from varsim.whatif.deferring import least_exchanges
from varsim.whatif.lines import experiment_keys
from varsim.whatif.recorded import Settings

CORPUS = Path(__file__).parents[1] / "corpus"
JOB = """
import varsim as tf
{settings}
def run(job: tf.Job):
    strategy = job.strategy
    with strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
        seen = tf.Variable(0.0, name="seen", aggregation=tf.VariableAggregation.SUM)
        rarely = tf.Variable(0.0, name="rarely", aggregation=tf.VariableAggregation.MEAN)

    def step(number):
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        weight.assign_sub(0.1 * (weight.read_value() - me))
        seen.assign_add(2.0)
        rarely.assign_add(0.5 * me)
        return float(rarely.read_value()) if number % 10 == 9 else 0.0

    for number in range(job.steps or 20):
        strategy.run(step, args=(number,))
        job.progress(number + 1, job.steps or 20)
    return {{"seen": float(seen.read_value())}}
"""


def run(tmp_path: Path, text: str = JOB, **keys: Any) -> Summary:
    program = tmp_path / "program.py"
    program.write_text(text.format(settings=""), "utf-8")
    with simulated_cluster():
        return run_experiment(
            Experiment(workload=str(program), workers=3, out=str(tmp_path / "runs"), **keys)
        )


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Run `JOB` one time, and return its summary. Tests only read the run's folder."""
    return run(tmp_path_factory.mktemp("plain"))


def advice(folder: str) -> dict[str, Advice]:
    with open_history(Path(folder)) as history, open_oracle(Path(folder)) as oracle:
        advised = advise(Replays(history, oracle))
    assert () == advised.doubts
    assert "" == advised.together.failure
    assert not (advised.differs and any(one.mends for one in advised.advice))
    return {one.effect.name: one for one in advised.advice}


def test_each_variable_gets_cheaper_settings_only_if_reads_stay_equal(plain: Summary):
    found = advice(plain.directory)

    assert found["weight"].keeps
    assert "would be cheaper, but would change" in found["weight"].proof
    assert "ON_READ" == found["seen"].effect.after.synchronization.name
    assert found["seen"].effect.harmless
    assert "read by the program 1×" in found["seen"].proof
    assert found["seen"].saves.startswith("95% of the messages (120 → 6)")
    assert "AUTO" == found["rarely"].effect.after.synchronization.name  # ON_READ would change reads
    assert (0, 0) == (found["rarely"].effect.changed, found["rarely"].effect.unknown)
    assert not any(one.mends for one in found.values())


@pytest.mark.parametrize(
    ("name", "variable", "settings", "says"),
    [
        ("bias_is_not_reduced", "bias", "", "no setting is known to remove: divergence"),
        ("everybody_computes_the_rate", "rate", "ON_READ ONLY_FIRST_REPLICA", "same value"),
    ],
)
def test_advice_says_what_the_finding_says(
    tmp_path: Path, name: str, variable: str, settings: str, says: str
):
    program = CORPUS / "planted" / f"{name}.py"
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload=str(program), workers=2, out=str(tmp_path / "runs"))
        )
    one = advice(ran.directory)[variable]

    after = one.effect.after
    assert one.keeps is (not settings)
    assert settings in {"", f"{after.synchronization.name} {after.aggregation.name}"}
    assert says in one.proof


@pytest.mark.parametrize(
    ("name", "variable", "settings", "has_others"),
    [
        ("accuracy_of_3_57_on_4_gpus", "accuracy", ("ON_READ", "MEAN"), True),
        ("loss_is_divided_by_the_gpus", "loss", ("ON_READ", "SUM"), False),
        ("copies_diverge", "offset", ("ON_WRITE", "MEAN"), True),
    ],
)
def test_advice_for_a_variable_with_wrong_settings_corrects_its_value(
    tmp_path: Path, name: str, variable: str, settings: tuple[str, str], has_others: bool
):
    """If other aggregations also remove the finding, the advice names these aggregations."""
    program = CORPUS / "planted" / f"{name}.py"
    with simulated_cluster():
        oracle = "ORACLE = True" in program.read_text("utf-8")
        ran = run_experiment(
            Experiment(workload=str(program), workers=4, oracle=oracle, out=str(tmp_path))
        )
    one = advice(ran.directory)[variable]

    assert one.mends
    assert one.effect.changed
    others = VariableAggregation.__members__.keys() - {"NONE", settings[1]}
    assert any(f"{settings[0]} with {other}" in one.proof for other in others) is has_others
    assert bool(one.costs) is (one.effect.cost_after.messages >= one.effect.cost_before.messages)
    assert bool(one.saves) is not bool(one.costs)
    after = one.effect.after
    assert settings[1] == after.aggregation.name
    shown = CliRunner().invoke(main, ["advise", ran.directory]).output
    assert "would give another value" in shown


def test_advice_that_mends_nothing_says_that_values_differ_from_a_single_device(tmp_path: Path):
    """A setting cannot give a sum the rest that its division into whole shares has lost."""
    program = CORPUS / "planted" / "budget_of_50_becomes_48.py"
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload=str(program), workers=4, oracle=True, out=str(tmp_path))
        )
    shown = CliRunner().invoke(main, ["advise", ran.directory], env={"COLUMNS": "400"}).output
    plain = json.loads(CliRunner().invoke(main, ["advise", "--json", ran.directory]).output)

    assert "Nothing to change" not in shown
    assert plain["differs"] in shown
    assert "8 compared values of budget differ from a single device" in plain["differs"]
    assert "`varsim check` shows where, and the rule that explains" in plain["differs"]


@pytest.mark.parametrize(
    ("count", "explained", "said"),
    [
        (1, 0, "; no rule explains it"),
        (4, 0, "; no rule explains them"),
        (4, 1, ", and the rule that explains 1 of them"),
        (4, 4, ", and the rule that explains them"),
    ],
)
def test_advice_names_a_rule_only_if_there_is_one(count: int, explained: int, said: str):
    assert said == _rules(count, explained)


def test_the_reads_of_one_replica_limit_what_adaptive_can_save(plain: Summary):
    """A replay with adaptive AUTO, which the limit can make needless, needs no fewer exchanges."""
    folder = Path(plain.directory)
    with open_history(folder) as history:
        replays = Replays(history)
    least = least_exchanges(replays.program)
    settings = replays.program.settings()
    changes = {
        number: Settings(VariableSynchronization.AUTO, one.aggregation)
        for number, one in settings.items()
    }
    searched, trial = replays.under(changes), replays.under(changes, searched=False)

    assert {"weight": (20, 19), "seen": (20, 1), "rarely": (20, 2)} == {
        one.name: least[one.variable] for one in searched.effects
    }
    for one in searched.effects:
        assert least[one.variable][1] <= one.cost_after.merges
    assert shown_by(searched) == shown_by(trial)
    assert () == trial.findings


def shown_by(result: WhatIf) -> list[tuple[object, ...]]:
    return [
        (one.changed, one.rounded, one.unknown, one.cost_after.messages, one.cost_after.size_bytes)
        for one in result.effects
    ]


def test_the_lines_of_the_advice_can_be_pasted_into_an_experiment(tmp_path: Path, plain: Summary):
    shown = CliRunner().invoke(main, ["advise", plain.directory], env={"COLUMNS": "80"})
    assert 0 == shown.exit_code
    assert max(map(len, shown.output.splitlines())) <= 80
    pasted = shown.output.partition("in an experiment\n")[2].partition("\n\n")[0]
    keys = yaml.safe_load(pasted)
    again = run(tmp_path, **keys)

    assert {"auto", "variables"} == keys.keys()
    assert {"seen": 120.0} == again.result
    assert sum(v.messages for v in again.variables) < 150  # 360 without the advice
    modes = {one.name: one.synchronization for one in again.variables}
    assert {"weight": "ON_WRITE", "seen": "ON_READ", "rarely": "AUTO"} == modes
    assert all(one.keeps for one in advice(again.directory).values())


SEPARATE = """
import varsim as tf
{settings}
def run(job: tf.Job):
    mean = tf.VariableAggregation.MEAN
    on_read = tf.VariableSynchronization.ON_READ
    with job.strategy.scope():
        own = tf.Variable(0.0, name="own", synchronization=on_read, aggregation=mean)
        logged = tf.Variable(0.0, name="logged", synchronization=on_read, aggregation=mean)

    def step():
        me = tf.distribute.get_replica_context().replica_id_in_sync_group
        own.assign_sub(0.1 * (own.read_value() - me))
        logged.assign_sub(0.1 * (logged.read_value() - me))

    for _ in range(5):
        job.strategy.run(step)
        logged.read_value()
"""


def test_advice_to_keep_on_read_names_copies_that_are_never_combined(tmp_path: Path):
    found = advice(run(tmp_path, SEPARATE).directory)

    assert all(one.keeps for one in found.values())
    assert (
        "Its synchronisation costs nothing. But the components differed after 5 of 5 steps in "
        "which each replica read and then wrote its own component, and were never combined: if "
        "they are to be one value, combine them, or choose ON_WRITE with an aggregation."
    ) in found["own"].proof
    assert "components differed" not in found["logged"].proof


SAME_BATCH = """
import varsim as tf
{settings}
def run(job: tf.Job):
    with job.strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)
        only_read_outside = tf.Variable(0.0, name="seen", aggregation=tf.VariableAggregation.SUM)

    def step():
        weight.assign_sub(0.1 * (weight.read_value() - 3.0))
        only_read_outside.assign_add(1.0)

    for _ in range(5):
        job.strategy.run(step)
    only_read_outside.read_value()
"""


def test_advice_that_needs_equal_writes_names_this_as_reason_and_risk(tmp_path: Path):
    found = advice(run(tmp_path, SAME_BATCH).directory)
    said = "all replicas wrote the same values in every step"

    assert {"ON_READ"} == {one.effect.after.synchronization.name for one in found.values()}
    assert found["weight"].proof.endswith(f"same value in the replay, because {said}.")
    assert found["weight"].risks.startswith(
        f"A{said[1:]}: if they should get different data, this advice does not hold. "
    )
    assert "the same values" not in found["seen"].proof + found["seen"].risks


NAMED = """
import varsim as tf
{settings}
def run(job: tf.Job):
    with job.strategy.scope():
        variables = [
            tf.Variable(0.0, name=name, aggregation=tf.VariableAggregation.SUM)
            for name in ("a: b", "yes", "w[0]", 'say "it"')
        ]

    def step():
        for variable in variables:
            variable.assign_add(2.0)

    for _ in range(3):
        job.strategy.run(step)
    return [float(variable.read_value()) for variable in variables]
"""


def test_the_lines_to_paste_are_valid_for_any_variable_name(tmp_path: Path):
    shown = CliRunner().invoke(main, ["advise", run(tmp_path, NAMED).directory]).output
    pasted = shown.partition("in an experiment\n")[2].partition("\n\n")[0]
    again = run(tmp_path, NAMED, **yaml.safe_load(pasted))

    modes = {one.name: one.synchronization for one in again.variables}
    assert dict.fromkeys(["a: b", "yes", "w[0]", 'say "it"'], "ON_READ") == modes


def test_variables_with_the_same_name_get_the_same_advice_or_none(tmp_path: Path):
    same = JOB.replace(
        'name="seen", aggregation=tf.VariableAggregation.SUM',
        'name="weight", aggregation=tf.VariableAggregation.SUM',
    )
    with open_history(Path(run(tmp_path, same).directory)) as history:
        advised = advise(Replays(history))

    assert [True, True, False] == [one.keeps for one in advised.advice]
    assert "rarely" in advised.experiment["variables"]


def test_pasted_lines_turn_adaptive_off_without_adaptive_variables(tmp_path: Path):
    """An experiment with `auto: adaptive` and without an adaptive variable would be refused."""
    with open_history(Path(run(tmp_path, auto="adaptive").directory)) as history:
        program = Replays(history).program
    on_read = {
        number: Settings(VariableSynchronization.ON_READ, settings.aggregation)
        for number, settings in program.settings().items()
    }
    keys = experiment_keys(program, on_read)

    assert "on_write" == keys["auto"]
    assert {"ON_READ"} == {one.synchronization for one in run(tmp_path, **keys).variables}
    assert {} == experiment_keys(program, {})


def test_the_advice_is_available_as_json(plain: Summary):
    said = json.loads(CliRunner().invoke(main, ["advise", plain.directory, "--json"]).stdout)
    assert ["weight", "seen", "rarely"] == [one["name"] for one in said["advice"]]
    assert {"auto": "adaptive"}.items() <= said["experiment"].items()
    assert [True, False, False] == [one["keep"] for one in said["advice"]]


@pytest.mark.thorough
def test_a_run_uses_the_advice_of_a_pilot_run(tmp_path: Path, plain: Summary):
    advised = run(tmp_path, auto="advised")

    assert plain.result == advised.result
    assert ["weight", "seen", "rarely"] == [one.partition(":")[0] for one in advised.advice]
    modes = {one.name: one.synchronization for one in advised.variables}
    assert {"weight": "ON_WRITE", "seen": "ON_READ", "rarely": "AUTO"} == modes
    assert (Path(advised.directory) / "pilot" / "history.db").exists()
    assert "advised" == advised.experiment["auto"]


@pytest.mark.parametrize(
    "keys", [{"variables": {"seen": {"synchronization": "auto"}}}, {"mode": "see*=auto"}]
)
@pytest.mark.thorough
def test_a_pilot_run_advises_only_on_auto_variables(tmp_path: Path, keys: dict[str, Any]):
    text = JOB.replace('name="seen",', 'name="seen", synchronization=NONE,')
    text = text.replace("{settings}", "NONE = tf.VariableSynchronization.NONE")
    advised = run(tmp_path, text, auto="advised", **keys)

    modes = {one.name: one.synchronization for one in advised.variables}
    assert {"weight": "ON_WRITE", "seen": "ON_READ", "rarely": "AUTO"} == modes
    assert "seen: ON_READ with SUM, which saves" in advised.advice[1]


@pytest.mark.thorough
def test_a_pilot_run_keeps_variables_that_replicas_read(tmp_path: Path):
    """In the pilot run replicas write equal values, so ON_READ would not change a read yet."""
    alike = JOB.replace("0.5 * me", "0.5")
    modes = {
        one.name: one.synchronization for one in run(tmp_path, alike, auto="advised").variables
    }
    assert "ON_READ" == modes["seen"]
    assert "ON_READ" != modes["rarely"]


def test_without_auto_variables_there_is_nothing_to_advise(tmp_path: Path):
    advised = run(tmp_path, auto="advised", mode="on_read")
    assert ["no variable is AUTO, so there is nothing to advise"] == advised.advice


def test_after_a_failure_no_advice_says_to_keep_settings(tmp_path: Path):
    write = "        weight.assign_sub"
    folder = run(tmp_path, JOB.replace(write, f"        raise OSError\n{write}")).directory
    assert [] == json.loads(CliRunner().invoke(main, ["advise", folder, "--json"]).stdout)["advice"]
    shown = " ".join(CliRunner().invoke(main, ["advise", folder]).stdout.split())
    assert "No advice: the run failed" in shown
    assert "Nothing to change" not in shown


def test_a_failed_pilot_run_is_reported(tmp_path: Path):
    failing = JOB.replace(
        "    for number", "    if job.steps:\n        raise OSError('x')\n    for number"
    )
    advised = run(tmp_path, failing, auto="advised")
    (said,) = advised.advice
    assert said.startswith("AUTO is ON_WRITE: the pilot run fails: OSError: x (")
    assert advised.status is RunStatus.DONE


def test_whatif_compares_settings_at_any_width(plain: Summary):
    """The comparison is a table if the console has 40 columns or more."""
    command = ["whatif", plain.directory, "--set", "w*=on_read", "--set", "seen=/mean"]
    for width in (32, 40, 60, 80):
        shown = CliRunner().invoke(main, command, env={"COLUMNS": str(width)})
        assert 0 == shown.exit_code
        assert max(map(len, shown.output.splitlines())) <= width
        assert (width >= 40) == ("merges  if alone  if alone" in shown.output)
    assert "→ ON_READ with MEAN" in shown.output
    assert "→ ON_WRITE with MEAN" in shown.output
    assert "seen: 1 of 1 read would give another value." in shown.output.replace("\n", " ")
    said = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    changes = {one["name"]: one["changed"] for one in said["variables"]}
    assert (1, 0) == (changes["seen"], changes["rarely"])


LAYERS = """
import varsim as tf

def run(job: tf.Job):
    with job.strategy.scope():
        layers = [tf.Variable(0.0, name=f"layer_{{i}}/bias", aggregation=tf.VariableAggregation.SUM)
                  for i in range(5)]

    def step():
        for layer in layers:
            layer.assign_add(1.0)

    for number in range(3):
        job.strategy.run(step)
    return {{"total": sum(float(layer.read_value()) for layer in layers)}}
"""


@pytest.mark.parametrize(
    ("command", "told", "each"),
    [
        (["advise"], "layer_*/bias (5 variables): ON_WRITE with SUM → ON_READ with SUM", "saves "),
        (["whatif", "--set", "*=on_read"], "layer_*/bias (5 variables): 1 read would", ": 1 read"),
    ],
)
def test_similar_variables_are_shown_once(tmp_path: Path, command: list[str], told: str, each: str):
    folder = run(tmp_path, LAYERS).directory
    once, all_ = (
        CliRunner().invoke(main, [*command, folder, *more]).output for more in ([], ["--all"])
    )

    assert told in once
    assert "Similar variables are shown once, with the figures of one of them; --all" in once
    assert (1, 5) == (once.count(each), all_.count(each))
    assert "layer_4/bias: " in all_
    assert "is alike" not in all_


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("seem=on_read", "there is no variable 'seem'; did you mean 'seen'?"),
        ("seen=on_red", "'on_red' is not a mode; did you mean 'on_read'?\n  modes: auto, none, "),
        ("seen=local_sgd", "'local_sgd': K is missing. Write local_sgd:K, where K is"),
        ("seen=/avg", "'avg' is not an aggregation"),
        ("seen", "expected VARIABLE=MODE"),
    ],
)
def test_a_wrong_change_of_settings_is_refused_with_the_reason(
    plain: Summary, change: str, problem: str
):
    result = CliRunner().invoke(main, ["whatif", plain.directory, "--set", change])
    assert 2 == result.exit_code
    assert problem in result.output


def test_a_run_without_a_record_is_refused(tmp_path: Path):
    for command in (["advise", str(tmp_path)], ["whatif", str(tmp_path), "--set", "v=none"]):
        result = CliRunner().invoke(main, command)
        assert 2 == result.exit_code
        assert "has no history.db" in result.output


UNREAD = """
import varsim as tf
{settings}
def run(job: tf.Job):
    with job.strategy.scope():
        weight = tf.Variable(0.0, name="weight", aggregation=tf.VariableAggregation.MEAN)

    def step():
        weight.assign_add(1.0)

    for _ in range(10):
        job.strategy.run(step)
"""


def test_the_advice_for_an_unread_variable_is_adaptive(tmp_path: Path):
    """ON_READ would also send nothing, but a later read could then have another value."""
    weight = advice(run(tmp_path, UNREAD).directory)["weight"]

    assert Settings(VariableSynchronization.AUTO, VariableAggregation.MEAN) == weight.effect.after
    assert "By its rules, adaptive gives every read the value of ON_WRITE" in weight.proof
    assert weight.risks.endswith(
        "If a worker is lost, the deferred writes of all replicas since the last exchange are "
        "lost, too."
    )
    assert weight.saves.startswith("100% of the messages (60 → 0)")


def test_equal_nans_do_not_prove_that_values_stay(tmp_path: Path):
    """A NaN hides that ON_READ would return another value."""
    text = UNREAD.replace("add(1.0)", "add(float('nan'))")
    folder = run(tmp_path, text + "    weight.read_value()\n").directory
    weight = advice(folder)["weight"]
    with open_history(Path(folder)) as history:
        on_read = Settings(VariableSynchronization.ON_READ, VariableAggregation.MEAN)
        (effect,) = Replays(history).under({weight.effect.variable: on_read}).effects

    assert (1, 1, 0) == (effect.nan, effect.unknown, effect.changed)
    assert not effect.harmless
    assert "AUTO" == weight.effect.after.synchronization.name
    assert "1 read cannot be checked, 1 of them because a NaN hides a" in weight.proof
    result = CliRunner().invoke(main, ["whatif", folder, "--set", "weight=on_read"])
    assert "1 read would have NaN as before" in " ".join(result.output.split())
    assert "same value" not in result.output


def test_a_wrong_replay_is_reported(tmp_path: Path):
    """The test changes the recorded value of the last read, so the replay reads another value."""
    folder = Path(run(tmp_path).directory)
    other = np.float32(99).tobytes()
    with closing(sqlite3.connect(folder / "history.db")) as connection:
        connection.execute(
            "UPDATE events SET value = ?, digest = ? WHERE event = "
            "(SELECT MAX(event) FROM events WHERE kind = 'read')",
            (other, zlib.crc32(other)),
        )
        connection.commit()
    with open_history(folder) as history:
        advised = advise(Replays(history))
    found = {one.effect.name: one for one in advised.advice}

    assert "seen: " in advised.doubts[0]
    assert 1 == found["seen"].effect.unknown
    assert found["seen"].keeps


def test_advice_does_not_say_that_a_right_quotient_differs(tmp_path: Path):
    """Total and count are both N times too large, and the mean is right."""
    program = CORPUS / "clean" / "mean_metric_of_means.py"
    with simulated_cluster():
        ran = run_experiment(
            Experiment(workload=str(program), workers=4, oracle=True, out=str(tmp_path))
        )
    plain = json.loads(CliRunner().invoke(main, ["advise", "--json", ran.directory]).output)

    assert plain["differs"] is None
